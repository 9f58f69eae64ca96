package simulator_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// receiver takes webhooks.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex // guards all below
	batches [][]map[string]any
	headers []http.Header
	bodies  [][]byte
	refuse  int // how many requests get a 500
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		var batch []map[string]any
		if err := json.Unmarshal(body, &batch); err != nil {
			t.Errorf("body: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.refuse > 0 {
			r.refuse--
			w.WriteHeader(500)
			return
		}
		r.batches, r.headers, r.bodies = append(r.batches, batch), append(r.headers, req.Header), append(r.bodies, body)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) events() []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.batches...)
}

// settled waits until everything is delivered.
func settled(t *testing.T, p *portal) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); p.Stats().Webhooks.Pending > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("webhooks are stuck: %+v", p.Stats().Webhooks)
		}
		time.Sleep(2 * time.Millisecond) // polling a condition
	}
}

func quick(url string) simulator.Webhooks {
	return simulator.Webhooks{URL: url, Delay: -1, Jitter: -1, Duplicates: -1, RetryDelay: time.Millisecond}
}

func TestWebhooksAreSigned(t *testing.T) {
	t.Parallel()
	r := receive(t)
	p := open(t, simulator.Options{Contacts: 3, ClientSecret: "s3cret", Webhooks: quick(r.URL + "/hook?tenant=a%3Ab")})
	ok(t, p.Update("contacts", p.IDs("contacts", 0, 1, 1)[0], map[string]string{"city": "Zürich"}))
	settled(t, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	h, body := r.headers[0], r.bodies[0]
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte("POST" + r.URL + "/hook?tenant=a:b" + string(body) + h.Get("X-HubSpot-Request-Timestamp")))
	if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); h.Get("X-HubSpot-Signature-v3") != want {
		t.Errorf("v3 signature %s, want %s", h.Get("X-HubSpot-Signature-v3"), want)
	}
	sum := sha256.Sum256([]byte("s3cret" + string(body)))
	if h.Get("X-HubSpot-Signature") != hex.EncodeToString(sum[:]) || h.Get("X-HubSpot-Signature-Version") != "v1" {
		t.Errorf("v1 signature %v", h)
	}
}

func TestWebhooksOfEveryKind(t *testing.T) {
	t.Parallel()
	r := receive(t)
	p := open(t, simulator.Options{Contacts: 10, Companies: 2, Calls: 2, Webhooks: quick(r.URL)})
	ids := p.IDs("contacts", 0, 10, 1)
	must[string](t)(p.Create("contacts", map[string]string{"email": "x@y.example"}))
	ok(t, p.Update("contacts", ids[0], map[string]string{"city": "Rome", "lastmodifieddate": "x"}))
	ok(t, p.Archive("contacts", ids[1]))
	ok(t, p.Restore("contacts", ids[1]))
	winner := must[string](t)(p.Merge("contacts", ids[2], ids[3]))
	ok(t, p.Purge("contacts", ids[4]))
	ok(t, p.Link("contacts", ids[5], "companies", p.IDs("companies", 1, 1, 1)[0]))
	ok(t, p.Update("calls", p.IDs("calls", 0, 1, 1)[0], map[string]string{"hs_call_title": "Hi"}))
	ok(t, p.Recalculate("contacts", ids[6], map[string]string{"custom_calculated": "1"}))
	settled(t, p)
	seen := map[string]map[string]any{}
	for _, e := range r.events() {
		seen[e["subscriptionType"].(string)] = e
		for _, name := range []string{"eventId", "subscriptionId", "portalId", "appId", "occurredAt", "attemptNumber"} {
			if e[name] == nil {
				t.Errorf("%v has no %s", e, name)
			}
		}
		if n := e["propertyName"]; n == "lastmodifieddate" || n == "custom_calculated" {
			t.Errorf("an event for %s", n)
		}
	}
	for _, kind := range []string{"contact.creation", "contact.propertyChange", "contact.deletion", "contact.restore", "contact.merge", "contact.privacyDeletion", "contact.associationChange", "company.associationChange", "object.propertyChange"} {
		if seen[kind] == nil {
			t.Errorf("no %s", kind)
		}
	}
	m := seen["contact.merge"]
	if m["newObjectId"] != float64(number(t, winner)) || m["primaryObjectId"] != float64(number(t, ids[2])) || len(m["mergedObjectIds"].([]any)) != 1 {
		t.Errorf("merge %v", m)
	}
	if a := seen["contact.associationChange"]; a["associationType"] != "CONTACT_TO_COMPANY" || a["associationRemoved"] != false || a["fromObjectId"] == nil {
		t.Errorf("association %v", a)
	}
	if seen["object.propertyChange"]["objectTypeId"] != "0-48" || seen["contact.creation"]["changeFlag"] != "NEW" {
		t.Errorf("object event %v", seen["object.propertyChange"])
	}
}

func TestWebhookSubscriptionsFilter(t *testing.T) {
	t.Parallel()
	r := receive(t)
	w := quick(r.URL)
	w.Subscriptions = []simulator.Subscription{{Type: "contact.propertyChange", Property: "city"}, {Type: "object.creation", Object: "calls"}, {Type: "object.propertyChange", Object: "0-1", Property: "city"}}
	p := open(t, simulator.Options{Contacts: 2, Webhooks: w})
	ok(t, p.Update("contacts", p.IDs("contacts", 0, 1, 1)[0], map[string]string{"city": "Rome", "zip": "1"}))
	must[string](t)(p.Create("calls", map[string]string{"hs_call_title": "x"}))
	must[string](t)(p.Create("deals", nil))
	settled(t, p)
	var kinds []string
	for _, e := range r.events() {
		kinds = append(kinds, e["subscriptionType"].(string))
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{"contact.propertyChange", "object.creation", "object.propertyChange"}) {
		t.Fatalf("%v", kinds)
	}
}

func TestWebhooksRetryUntilAccepted(t *testing.T) {
	t.Parallel()
	r := receive(t)
	r.refuse = 3
	p := open(t, simulator.Options{Contacts: 1, Webhooks: quick(r.URL)})
	ok(t, p.Archive("contacts", p.IDs("contacts", 0, 1, 1)[0]))
	settled(t, p)
	if e := r.events(); len(e) != 1 || e[0]["attemptNumber"] != 3.0 {
		t.Fatalf("%v", e)
	}
	if s := p.Stats().Webhooks; s.Requests != 4 || s.Failed != 3 || s.Delivered != 1 {
		t.Fatalf("%+v", s)
	}
	t.Run("and are given up after ten retries", func(t *testing.T) {
		r.mu.Lock()
		r.refuse = 1000
		r.mu.Unlock()
		must[string](t)(p.Create("contacts", nil))
		settled(t, p)
		if s := p.Stats().Webhooks; s.Given != 1 || s.Requests != 4+11 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestWebhooksComeInBatchesTwiceAndShuffled(t *testing.T) {
	t.Parallel()
	r := receive(t)
	w := quick(r.URL)
	w.Duplicates, w.Delay, w.Jitter = 0.2, 20*time.Millisecond, 20*time.Millisecond
	p := open(t, simulator.Options{Webhooks: w})
	ids := must[[]string](t)(p.CreateMany("contacts", 1000))
	settled(t, p)
	got := map[string]int{}
	var order []int64
	for _, e := range r.events() {
		got[jsonText(e["objectId"])]++
		order = append(order, int64(e["objectId"].(float64)))
	}
	if len(got) != len(ids) || len(order) < 1100 || slices.IsSorted(order) {
		t.Fatalf("%d records in %d events", len(got), len(order))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.batches {
		if len(b) > 100 {
			t.Fatalf("a batch of %d", len(b))
		}
	}
	if len(r.batches) > 60 {
		t.Fatalf("%d batches for %d events", len(r.batches), len(order))
	}
}

func jsonText(v any) string { raw, _ := json.Marshal(v); return string(raw) }
