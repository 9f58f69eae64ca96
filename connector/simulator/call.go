package simulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// call is one request to the API and the answer being made.
type call struct {
	*Simulator
	request *http.Request
	number  uint64 // of the request; seeds what differs between requests
	now     time.Time
	app     *app
	route   *route
	values  []string // of the route's wildcards
	table   *table   // object type of the path, if the route has one
	fault   fault    // what shall go wrong

	query url.Values // of the address, once parsed

	header  http.Header
	status  int
	body    []byte
	records int // that the answer holds; batch reads take longer with more
}

// params returns the query of the address. It can be long: it names properties.
func (c *call) params() url.Values {
	if c.query == nil {
		c.query = c.request.URL.Query()
	}
	return c.query
}

// correlation returns the request's correlation id.
func (c *call) correlation() string {
	return string(appendUUID(nil, mix(uint64(c.opts.Seed)^c.number*0x9e3779b97f4a7c15)))
}

// reply sets a JSON answer.
func (c *call) reply(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		c.fail(http.StatusInternalServerError, "", err.Error())
		return
	}
	c.status, c.body = status, body
}

// envelope is HubSpot's error body.
type envelope struct {
	Status        string         `json:"status"`
	Message       string         `json:"message"`
	ErrorType     string         `json:"errorType,omitempty"`
	CorrelationID string         `json:"correlationId"`
	PolicyName    string         `json:"policyName,omitempty"`
	GroupName     string         `json:"groupName,omitempty"`
	RequestID     string         `json:"requestId,omitempty"`
	Context       map[string]any `json:"context,omitempty"`
	Category      string         `json:"category,omitempty"`
	SubCategory   string         `json:"subCategory,omitempty"`
	Errors        []any          `json:"errors,omitempty"`
}

// fail sets an error answer.
func (c *call) fail(status int, category, message string) {
	c.reply(status, envelope{Status: "error", Message: message, CorrelationID: c.correlation(), Category: category})
}

// invalid answers 400 with VALIDATION_ERROR.
func (c *call) invalid(message string) { c.fail(http.StatusBadRequest, "VALIDATION_ERROR", message) }

// limited sets the headers of the rate limits and, if the request was refused, the 429; it says whether it was.
// HubSpot rule: search answers carry no rate-limit headers; OAuth apps have no daily limit.
func (c *call) limited(v verdict, search bool) bool {
	if !search {
		h := c.header
		if !c.app.oauth {
			h.Set("X-HubSpot-RateLimit-Daily", strconv.Itoa(c.opts.DailyLimit))
			h.Set("X-HubSpot-RateLimit-Daily-Remaining", strconv.Itoa(max(v.dailyRemaining, 0)))
		}
		h.Set("X-HubSpot-RateLimit-Interval-Milliseconds", strconv.FormatInt(c.opts.Interval.Milliseconds(), 10))
		h.Set("X-HubSpot-RateLimit-Max", strconv.Itoa(v.limit))
		h.Set("X-HubSpot-RateLimit-Remaining", strconv.Itoa(v.remaining))
		h.Set("X-HubSpot-RateLimit-Secondly", strconv.Itoa(max(v.limit/10, 1)))
		h.Set("X-HubSpot-RateLimit-Secondly-Remaining", strconv.Itoa(min(v.remaining, max(v.limit/10, 1))))
	}
	if v.policy == "" {
		return false
	}
	if c.opts.RetryAfter {
		c.header.Set("Retry-After", strconv.Itoa(int((v.wait+time.Second-1)/time.Second)))
	}
	c.refuse(v.policy)
	return true
}

// refuse answers 429 for a policy.
func (c *call) refuse(policy string) {
	e := envelope{Status: "error", ErrorType: "RATE_LIMIT", CorrelationID: c.correlation(), PolicyName: policy}
	switch policy {
	case policySearch:
		e.Message, e.RequestID = "You have reached your secondly limit.", c.correlation()
		if c.opts.NoPolicyName {
			e.PolicyName = ""
		}
	case policyDaily:
		e.Message, e.RequestID = "You have reached your daily limit.", c.correlation()
	default:
		e.Message = "You have reached your ten_secondly_rolling limit."
		e.GroupName = "publicapi:private_app-api-calls-ten-secondly:1512050:" + formatID(c.opts.PortalID)
	}
	c.reply(http.StatusTooManyRequests, e)
	c.stats.refused(policy)
}

// readJSON decodes the request's body. HubSpot rule: it must be declared as JSON.
func (c *call) readJSON(v any) bool {
	if ct := c.request.Header.Get("Content-Type"); len(ct) < 16 || ct[:16] != "application/json" {
		c.fail(http.StatusUnsupportedMediaType, "VALIDATION_ERROR", "HTTP 415 Unsupported Media Type")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(nil, c.request.Body, 10<<20))
	if err := d.Decode(v); err != nil {
		c.invalid("Invalid input JSON on line 1, column 1: " + err.Error())
		return false
	}
	return true
}

// flag reads a boolean query parameter.
func (c *call) flag(name string) (value, ok bool) {
	switch c.params().Get(name) {
	case "", "false":
		return false, true
	case "true":
		return true, true
	}
	c.invalid("invalid boolean value for " + name)
	return false, false
}

// limit reads the limit parameter.
func (c *call) limit(fallback, most int) (int, bool) {
	s := c.params().Get("limit")
	if s == "" {
		return fallback, true
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		c.invalid("limit must be a positive number: " + s)
		return 0, false
	}
	if n > most {
		c.invalid("limit must be less than or equal to " + strconv.Itoa(most))
		return 0, false
	}
	return n, true
}
