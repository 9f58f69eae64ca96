package hubspot

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Account is what the token belongs to.
type Account struct {
	PortalID            int64
	AccountType         string // STANDARD, SANDBOX, ...
	TimeZone            string // the daily quota starts anew at midnight of this zone
	UTCOffset           time.Duration
	CompanyCurrency     string
	UIDomain            string // "app.hubspot.com"
	DataHostingLocation string // "na1", "eu1", ...
}

type accountBody struct {
	PortalID            text    `json:"portalId"`
	AccountType         string  `json:"accountType"`
	TimeZone            string  `json:"timeZone"`
	UTCOffset           float64 `json:"utcOffsetMilliseconds"`
	CompanyCurrency     string  `json:"companyCurrency"`
	UIDomain            string  `json:"uiDomain"`
	DataHostingLocation string  `json:"dataHostingLocation"`
}

// Account asks which portal the token belongs to. Its time zone also tells the budget when the daily quota starts anew.
func (c *Client) Account(ctx context.Context) (account Account, err error) {
	err = c.do(ctx, &request{
		kind: kindAccount, what: "read account", method: http.MethodGet, path: pathAccount,
		read: func(body []byte) error {
			var b accountBody
			if err := decode(body, &b); err != nil {
				return err
			}
			portal, err := strconv.ParseInt(string(b.PortalID), 10, 64)
			if err != nil || portal <= 0 {
				return errors.New("answer has no portal id")
			}
			account = Account{
				PortalID: portal, AccountType: b.AccountType, TimeZone: b.TimeZone,
				UTCOffset:       time.Duration(b.UTCOffset) * time.Millisecond,
				CompanyCurrency: b.CompanyCurrency, UIDomain: b.UIDomain, DataHostingLocation: b.DataHostingLocation,
			}
			return nil
		},
	})
	if err != nil {
		return Account{}, err
	}
	c.budget.setZone(account.location())
	return account, nil
}

// location returns the account's time zone; where the machine does not know it by name, its offset of today.
func (a Account) location() *time.Location {
	if zone, err := time.LoadLocation(a.TimeZone); err == nil && a.TimeZone != "" {
		return zone
	}
	return time.FixedZone(a.TimeZone, int(a.UTCOffset/time.Second))
}
