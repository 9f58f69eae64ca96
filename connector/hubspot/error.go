package hubspot

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Sentinels for errors.Is. Only ErrUnavailable, ErrRateLimited and ErrDailyLimit are worth another try later; the client has
// retried those before it returned them.
var (
	// ErrUnauthorized says that the token is wrong, expired or revoked.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden says that the token lacks a scope; the error's text and Error.Scopes name it.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound says that HubSpot does not know the object type or record.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that HubSpot refused the request itself.
	ErrInvalid = errors.New("invalid request")
	// ErrMalformed says that HubSpot's answer could not be read: no JSON, cut, not UTF-8, without results.
	ErrMalformed = errors.New("malformed answer")
	// ErrRateLimited says that HubSpot kept answering 429 until the client gave up.
	ErrRateLimited = errors.New("rate limited")
	// ErrDailyLimit says that the daily quota is used up. The client waits for midnight by itself, so callers meet it only
	// when their context ends first.
	ErrDailyLimit = errors.New("daily limit reached")
	// ErrUnclaimed says that a request's Claim found nothing to read any more.
	ErrUnclaimed = errors.New("nothing to read")
	// ErrUnavailable says that HubSpot did not answer usefully until the client gave up.
	ErrUnavailable = errors.New("hubspot unavailable")
)

// Error is an answer of HubSpot that says no. Every field but Status may be empty: HubSpot leaves out any of them.
type Error struct {
	Status        int
	Category      string
	SubCategory   string
	PolicyName    string // of a 429: TEN_SECONDLY_ROLLING, SECONDLY, DAILY
	Message       string
	CorrelationID string
	RetryAfter    time.Duration
	Scopes        []string // of a 403: one of these is missing
}

// Error says what HubSpot answered and what to do about it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "hubspot answered %d", e.Status)
	for _, s := range []string{e.Category, e.SubCategory, e.PolicyName} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if len(e.Scopes) > 0 {
		b.WriteString(" [" + strings.Join(e.Scopes, ", ") + "]")
	}
	if advice := e.advice(); advice != "" {
		b.WriteString("; " + advice)
	}
	if e.CorrelationID != "" {
		b.WriteString(" (correlation id " + e.CorrelationID + ")")
	}
	return b.String()
}

// Is makes errors.Is work with the sentinels.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrUnauthorized:
		return e.Status == 401 || e.Status == 530 || e.Category == "BAD_REFRESH_TOKEN"
	case ErrForbidden:
		return e.Status == 403
	case ErrNotFound:
		return e.Status == 404 || e.Status == 400 && strings.Contains(e.Message, "Unable to infer object type")
	case ErrInvalid:
		return e.Status == 400 || e.Status == 409 || e.Status == 414
	case ErrRateLimited:
		return e.Status == 429
	case ErrDailyLimit:
		return e.Status == 429 && e.denial(false) == deniedDaily
	case ErrUnavailable:
		return e.Status == 408 || e.Status == 423 || e.Status == 477 || e.Status >= 500 && e.Status != 530
	}
	return false
}

// advice says what the user can do, "" if the answer itself says it.
func (e *Error) advice() string {
	switch e.Status {
	case 401:
		return "check the token: it may be mistyped, rotated or of another app"
	case 403:
		if len(e.Scopes) > 0 {
			return "grant one of these scopes to the app in HubSpot and use its new token"
		}
		return "grant the app the read scope of this object type in HubSpot and use its new token"
	case 414:
		return "lower the longest URL of the client"
	case 477:
		return "wait until HubSpot has moved the account"
	case 522, 525, 526:
		return "HubSpot asks to contact its support about this status"
	case 530:
		return "the token does not look like a HubSpot token: check for missing or extra characters"
	}
	if e.Category == "BAD_REFRESH_TOKEN" {
		return "the app was uninstalled or its refresh token replaced: connect the app to the account again"
	}
	if e.Status >= 300 && e.Status < 400 {
		return "the base URL redirects elsewhere: check it, the token is only sent to the host that was configured"
	}
	return ""
}

// denial says which quota a 429 is about. HubSpot rule: policyName can be missing, the message then still tells.
func (e *Error) denial(search bool) denial {
	if e.Status != http.StatusTooManyRequests {
		return notDenied
	}
	text := strings.ToLower(e.PolicyName + " " + e.Message)
	switch {
	case strings.Contains(text, "daily"):
		return deniedDaily
	case strings.Contains(text, "ten_secondly"), strings.Contains(text, "ten secondly"):
		return deniedWindow
	case search && strings.Contains(text, "secondly"), search && e.PolicyName == "":
		return deniedSearch
	}
	return deniedWindow
}

// readError makes an error of an answer. The body may be anything: JSON of several shapes, or a page of HTML.
func readError(status int, h http.Header, body []byte, now time.Time) *Error {
	e := &Error{Status: status, RetryAfter: retryAfter(h.Get("Retry-After"), now), CorrelationID: truncate(oneLine(h.Get("X-HubSpot-Correlation-Id")), 100)}
	var envelope map[string]json.RawMessage
	if json.Unmarshal(body, &envelope) != nil {
		e.Message = http.StatusText(status)
		return e
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(envelope[name], &s) // every field is optional and may be of any type
		return s
	}
	e.Message, e.Category, e.SubCategory, e.PolicyName = text("message"), text("category"), text("subCategory"), text("policyName")
	if e.Category == "" {
		e.Category = text("errorType")
	}
	if s := text("status"); e.Category == "" && s != "error" {
		e.Category = s // the token endpoint
	}
	if id := text("correlationId"); id != "" {
		e.CorrelationID = id
	}
	e.Scopes = scopes(envelope)
	e.Message = truncate(oneLine(e.Message), 1000)
	for _, s := range []*string{&e.Category, &e.SubCategory, &e.PolicyName, &e.CorrelationID} {
		*s = truncate(oneLine(*s), 100)
	}
	for i, s := range e.Scopes {
		e.Scopes[i] = truncate(oneLine(s), 100)
	}
	return e
}

// scopes collects the scopes named in the context of a 403 and of its single errors.
func scopes(envelope map[string]json.RawMessage) []string {
	type contextual struct {
		Context map[string]json.RawMessage `json:"context"`
	}
	var parts []contextual
	_ = json.Unmarshal(envelope["errors"], &parts)
	var own contextual
	_ = json.Unmarshal(envelope["context"], &own.Context)
	var all []string
	for _, part := range append(parts, own) {
		for _, name := range []string{"requiredGranularScopes", "requiredScopes"} {
			var names []string
			_ = json.Unmarshal(part.Context[name], &names)
			all = append(all, names...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// retryAfter reads the header: seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 7*24*3600) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// oneLine replaces what a terminal would obey instead of showing: an error's text ends up on one, and who sent it is not
// always HubSpot.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
