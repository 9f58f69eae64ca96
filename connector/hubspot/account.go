package hubspot

import (
	"context"
	"errors"
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

// Account asks which portal the token belongs to. Its time zone also tells the budget when the daily quota starts anew.
func (c *Client) Account(ctx context.Context) (Account, error) {
	return Account{}, errors.ErrUnsupported
}
