package simulator

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// FaultKind is what goes wrong with an answer.
type FaultKind string

const (
	FaultStatus    FaultKind = "status"    // an error answer in JSON with Status (0 = 500); 423 and 477 have HubSpot's shape
	FaultHTML      FaultKind = "html"      // an HTML page of the edge with Status (0 = 502)
	FaultLimit     FaultKind = "limit"     // 429 with Policy ("" = TEN_SECONDLY_ROLLING), though the limit is not reached
	FaultHang      FaultKind = "hang"      // no answer for Delay (0 = 100 s), then 524
	FaultReset     FaultKind = "reset"     // the connection breaks before the answer
	FaultSlow      FaultKind = "slow"      // the body drips, for Delay (0 = 30 s) in all
	FaultCut       FaultKind = "cut"       // the body ends in the middle, with a matching length
	FaultLength    FaultKind = "length"    // the body ends before its announced length
	FaultMalformed FaultKind = "malformed" // one record of the page is not as it should be
	FaultLoop      FaultKind = "loop"      // paging names the cursor that was asked for
	FaultSkip      FaultKind = "skip"      // paging names a cursor too far ahead
	FaultNoPaging  FaultKind = "nopaging"  // paging is absent although there is more
)

// Fault makes matching requests go wrong.
type Fault struct {
	Kind       FaultKind     `json:"kind"`
	Endpoint   string        `json:"endpoint"` // list, get, search, batch, associations, properties, owners, pipelines, schemas, account, write; "" = any
	Object     string        `json:"object"`   // plural name; "" = any
	Status     int           `json:"status"`
	Policy     string        `json:"policy"`
	RetryAfter int           `json:"retryAfter"` // seconds; 0 = no such header
	Delay      time.Duration `json:"delay"`      // ns
	Rate       float64       `json:"rate"`       // chance per request; 0 = every request
	Count      int           `json:"count"`      // how often; 0 = until ClearFaults
}

// fault is what happens to one request.
type fault struct {
	Fault
	seed uint64
}

// faults holds the faults that are switched on.
type faults struct {
	mu   sync.Mutex // guards all below
	rng  *rand.Rand
	list []*Fault
}

func newFaults(seed int64) *faults { return &faults{rng: rand.New(rand.NewPCG(uint64(seed), 13))} }

// Inject switches a fault on.
func (s *Simulator) Inject(f Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, &f)
}

// ClearFaults switches all faults off.
func (s *Simulator) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

// pick draws the fault of a request.
func (f *faults) pick(endpoint kind, object string) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, candidate := range f.list {
		if (candidate.Endpoint != "" && candidate.Endpoint != string(endpoint)) || (candidate.Object != "" && candidate.Object != object) {
			continue
		}
		if candidate.Rate > 0 && f.rng.Float64() >= candidate.Rate {
			continue
		}
		if candidate.Count == 1 {
			f.list = append(f.list[:i:i], f.list[i+1:]...)
		} else if candidate.Count > 1 {
			candidate.Count--
		}
		return fault{*candidate, f.rng.Uint64()}
	}
	return fault{}
}

// inject draws the request's fault and gives the answer if the fault replaces it.
func (c *call) inject() bool {
	object := ""
	if len(c.values) > 0 {
		if t, ok := c.portal.table(c.values[0]); ok {
			object = t.object.Name
		}
	}
	c.fault = c.faults.pick(c.route.kind, object)
	if c.fault.RetryAfter > 0 {
		c.header.Set("Retry-After", strconv.Itoa(c.fault.RetryAfter))
	}
	switch c.fault.Kind {
	case FaultStatus:
		c.fail(orDefault(c.fault.Status, 500), "", statusMessage(c.fault.Status))
	case FaultHTML:
		c.header.Set("Content-Type", "text/html; charset=UTF-8")
		c.status = orDefault(c.fault.Status, http.StatusBadGateway)
		c.body = append(c.body, "<!DOCTYPE html>\n<html><head><title>api.hubapi.com | "+strconv.Itoa(c.status)+"</title></head><body>cloudflare</body></html>"...)
	case FaultLimit:
		c.refuse(orDefault(c.fault.Policy, policyBurst))
	case FaultHang:
		c.header.Set("Content-Type", "text/html; charset=UTF-8")
		c.status, c.body = 524, append(c.body, "<html><body>524: A timeout occurred</body></html>"...)
	default:
		return false
	}
	return true
}

func statusMessage(status int) string {
	switch status {
	case http.StatusLocked:
		return "The resource is currently locked. Please retry."
	case 477:
		return "This account is being migrated between hosting locations."
	}
	return "internal error"
}

// malformed says whether row i of a page shall be broken.
func (f *fault) malformed(i int) bool { return f.Kind == FaultMalformed && i == int(f.seed%7) }

// mangle replaces the record that starts at n by something that is not one.
func (f *fault) mangle(body []byte, n int, r *record) []byte {
	id := formatID(r.id)
	switch f.seed / 7 % 4 {
	case 0:
		return append(body[:n], `{"properties":{"email":"nobody@example.com"},"createdAt":"2024-01-01T00:00:00Z","archived":false}`...)
	case 1:
		return append(body[:n], `{"id":"`+id+`","properties":null,"createdAt":"2024-01-01T00:00:00Z","updatedAt":"2024-01-01T00:00:00Z","archived":false}`...)
	case 2:
		return append(body[:n], `["`+id+`"]`...)
	}
	return append(body[:n], `{"id":"`+id+`","properties":{"email":{"nested":true}},"createdAt":"soon","updatedAt":17,"archived":"no"}`...)
}
