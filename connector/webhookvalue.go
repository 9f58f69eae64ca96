package connector

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"time"
)

// The values of webhook events. HubSpot documents their types and does not always keep to them (numbers come as text, lists
// of one as the one), so they are taken as what they mean. What means nothing is absent, and no error: the rest of the event,
// and the other events, count all the same.

// webhookID is an id, a positive number, as text; "" if it is absent or something else.
type webhookID string

func (id *webhookID) UnmarshalJSON(data []byte) error {
	*id = ""
	if n, ok := webhookInteger(data); ok && n > 0 {
		*id = webhookID(strconv.FormatInt(n, 10))
	}
	return nil
}

// webhookIDs is a list of ids, or one.
type webhookIDs []webhookID

func (ids *webhookIDs) UnmarshalJSON(data []byte) error {
	var list []webhookID
	if json.Unmarshal(data, &list) != nil {
		list = make([]webhookID, 1)
		_ = list[0].UnmarshalJSON(data) // never fails
	}
	*ids = list
	return nil
}

// webhookMillis is a time in milliseconds since 1970; 0 if it is absent or something else.
type webhookMillis int64

func (m *webhookMillis) UnmarshalJSON(data []byte) error {
	*m = 0
	if n, ok := webhookInteger(data); ok {
		*m = webhookMillis(n)
	} else if at, err := time.Parse(time.RFC3339, string(bytes.Trim(data, `"`))); err == nil {
		*m = webhookMillis(at.UnixMilli())
	}
	return nil
}

// webhookText is a text; "" if it is absent or something else.
type webhookText string

func (s *webhookText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = ""
	}
	*s = webhookText(text)
	return nil
}

// decimal is a number that is not too long to be worked with: 7, 7.0, 1.79e12.
var decimal = regexp.MustCompile(`^[0-9]{1,30}(\.[0-9]{1,30})?([eE]\+?[0-9]{1,2})?$`)

// webhookInteger reads an integer that is not negative, a number or a text, in whatever way it is written.
func webhookInteger(data []byte) (int64, bool) {
	digits := bytes.Trim(data, `"`)
	if !decimal.Match(digits) {
		return 0, false
	}
	n, ok := new(big.Rat).SetString(string(digits))
	if !ok || !n.IsInt() || n.Cmp(new(big.Rat).SetInt64(math.MaxInt64)) > 0 {
		return 0, false
	}
	return n.Num().Int64(), true
}
