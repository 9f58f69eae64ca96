package schemas_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hubtail/hubtail/schemas"
)

func (r random) links() *schemas.Links {
	l := &schemas.Links{Portal: r.text(1), From: r.text(1), ID: r.text(1), To: r.text(1)}
	for range r.IntN(5) {
		l.Links = append(l.Links, schemas.Link{ID: r.text(1), Category: r.text(0), TypeID: r.IntN(5), Label: r.text(0)})
	}
	return l
}

func (r random) definitions() *schemas.PropertyDefinitions {
	p := &schemas.PropertyDefinitions{Portal: r.text(1), Object: r.text(1), ObjectTypeID: r.text(0)}
	for range r.IntN(5) {
		p.Properties = append(p.Properties, schemas.Property{
			Name: r.text(1), Label: r.text(0), Type: r.text(1), FieldType: r.text(0), Description: r.text(0), GroupName: r.text(0),
			Options: pick(r, nil, []schemas.Option{{Value: r.text(0), Label: r.text(0), Hidden: true}}), Calculated: pick(r, true, false),
			Hidden: pick(r, true, false), HasUniqueValue: pick(r, true, false), HubSpotDefined: pick(r, true, false), Archived: pick(r, true, false),
		})
	}
	return p
}

func (r random) pipelines() *schemas.Pipelines {
	p := &schemas.Pipelines{Portal: r.text(1), Object: r.text(1)}
	for range r.IntN(4) {
		p.Pipelines = append(p.Pipelines, schemas.Pipeline{
			ID: r.text(1), Label: r.text(0), DisplayOrder: r.IntN(9), CreatedAt: pick(r, time.Time{}, r.time()),
			Stages: pick(r, nil, []schemas.Stage{{ID: r.text(1), Metadata: map[string]string{r.text(0): r.text(0)}, UpdatedAt: r.time()}}),
		})
	}
	return p
}

func (r random) cursor() *schemas.Cursor {
	c := &schemas.Cursor{
		Portal: r.text(1), Object: r.text(1), Instance: r.text(0), At: r.time(), BackfilledAt: pick(r, time.Time{}, r.time()),
		PolledTo: pick(r, time.Time{}, r.time()), CompleteThrough: pick(r, time.Time{}, r.time()),
	}
	if pick(r, true, false) {
		remaining := r.IntN(1e6)
		c.Quota = &schemas.Quota{Requests: r.Int64(), DailyLimit: r.IntN(1e6), Remaining: &remaining, Breaker: "closed", ParkedUntil: pick(r, time.Time{}, r.time())}
	}
	if pick(r, true, false) {
		c.Links = &schemas.LinkProgress{
			Seq: uint64(r.IntN(1e9)), To: []string{r.text(1), r.text(1)}, Refused: pick(r, nil, map[string]string{r.text(1): r.text(0)}),
			Sweep: pick(r, nil, &schemas.Sweep{Turn: r.Int64(), StartedAt: r.time(), DoneAt: pick(r, time.Time{}, r.time()), Seq: 3, End: 7, Done: 1, Total: 2}),
		}
	}
	if pick(r, true, false) {
		c.Backfill = &schemas.Backfill{RunID: r.text(0), StartedAt: r.time(), Total: r.Int64(), Counts: schemas.Counts{Fetched: r.Int64()}}
		end := int64(0)
		for range r.IntN(4) {
			begin := end + r.Int64N(1e6)
			end = begin + 1 + r.Int64N(1e6)
			c.Backfill.Ranges = append(c.Backfill.Ranges, schemas.Range{From: begin, To: end})
		}
	}
	return c
}

func (r random) control() schemas.Control {
	switch r.IntN(6) {
	case 0:
		return r.links()
	case 1:
		return r.definitions()
	case 2:
		return r.pipelines()
	case 3:
		return r.cursor()
	case 4:
		return &schemas.Run{
			RunID: r.text(0), Portal: r.text(1), Object: r.text(1), SyncType: r.text(0), Status: pick(r, "success", "partial", "failed"),
			StartedAt: r.time(), CompletedAt: r.time(), Counts: schemas.Counts{Updated: r.Int64(), Failed: 1}, Error: r.text(0),
		}
	}
	return &schemas.DeadLetter{Portal: r.text(1), Object: r.text(1), ID: r.text(1), At: r.time(), Reason: r.text(1), Record: r.text(0)}
}

func TestControlsDecodeToWhatWasEncoded(t *testing.T) {
	validator := newValidator(t)
	for seed := range uint64(2000) {
		r := newRandom(seed)
		r.alphabet = alphabet[:len(alphabet)-1] // half characters do not survive encoding/json
		c := r.control()
		m, err := schemas.EncodeControl(c)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := schemas.DecodeControl(m)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, m.Data)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("seed %d:\nencoded %+v\ndecoded %+v", seed, c, got)
		}
		if err := validator.body(m.Subject, m.Data); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, m.Data)
		}
	}
}

func TestEqualLinksHaveEqualBytes(t *testing.T) {
	a := schemas.Link{ID: "1", Category: "HUBSPOT_DEFINED", TypeID: 1}
	b := schemas.Link{ID: "1", Category: "HUBSPOT_DEFINED", TypeID: 279}
	c := schemas.Link{ID: "2", Category: "HUBSPOT_DEFINED", TypeID: 1}
	encode := func(links ...schemas.Link) string {
		m, err := schemas.EncodeControl(&schemas.Links{Portal: "1", From: "contacts", ID: "1", To: "companies", Links: links})
		if err != nil {
			t.Fatal(err)
		}
		return string(m.Data)
	}
	if first, again := encode(a, b, c), encode(c, b, a, c); first != again {
		t.Errorf("%s\n%s", first, again)
	}
}

func TestListsAreNeverNull(t *testing.T) {
	for _, c := range []schemas.Control{
		&schemas.Links{Portal: "1", From: "a", ID: "1", To: "b"},
		&schemas.PropertyDefinitions{Portal: "1", Object: "a"},
		&schemas.Pipelines{Portal: "1", Object: "a", Pipelines: []schemas.Pipeline{{ID: "1"}}},
		&schemas.Cursor{Portal: "1", Object: "a", Backfill: &schemas.Backfill{}},
	} {
		m, err := schemas.EncodeControl(c)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(m.Data, []byte("null")) {
			t.Errorf("%s", m.Data)
		}
	}
}

func TestControlTimesAreCutToMilliseconds(t *testing.T) {
	at := time.Date(2026, 3, 12, 11, 4, 17, 969_999_999, time.FixedZone("", 3600))
	c := &schemas.Cursor{Portal: "1", Object: "a", At: at, PolledTo: at, CompleteThrough: at}
	m, err := schemas.EncodeControl(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(m.Data, []byte(`"2026-03-12T10:04:17.969Z"`)); n != 3 {
		t.Errorf("%s", m.Data)
	}
	if got, err := schemas.DecodeControl(m); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("decoded %+v, %v, kept %+v", got, err, c)
	}
}

func TestDeadLetterRecordIsCut(t *testing.T) {
	d := &schemas.DeadLetter{Portal: "1", Object: "a", ID: "1", Reason: "too large", Record: "x" + strings.Repeat("€", 64<<10)}
	if _, err := schemas.EncodeControl(d); err != nil {
		t.Fatal(err)
	}
	if n := len(d.Record); n > 64<<10 || n < 64<<10-3 || !utf8.ValidString(d.Record) {
		t.Errorf("cut to %d bytes", n)
	}
}

func TestEncodeControlRefusesWhatDecodeControlWould(t *testing.T) {
	for name, c := range map[string]schemas.Control{
		"no portal":      &schemas.Cursor{Object: "a"},
		"no object":      &schemas.Run{Portal: "1", Status: "success"},
		"no status":      &schemas.Run{Portal: "1", Object: "a"},
		"no link id":     &schemas.Links{Portal: "1", From: "a", ID: "1", To: "b", Links: []schemas.Link{{}}},
		"no record":      &schemas.Links{Portal: "1", From: "a", To: "b"},
		"no name":        &schemas.PropertyDefinitions{Portal: "1", Object: "a", Properties: []schemas.Property{{Type: "string"}}},
		"no stage id":    &schemas.Pipelines{Portal: "1", Object: "a", Pipelines: []schemas.Pipeline{{ID: "1", Stages: []schemas.Stage{{}}}}},
		"empty range":    &schemas.Cursor{Portal: "1", Object: "a", Backfill: &schemas.Backfill{Ranges: []schemas.Range{{From: 5, To: 5}}}},
		"negative range": &schemas.Cursor{Portal: "1", Object: "a", Backfill: &schemas.Backfill{Ranges: []schemas.Range{{From: -5, To: 5}}}},
		"no reason":      &schemas.DeadLetter{Portal: "1", Object: "a", ID: "1"},
		"year 10000":     &schemas.Cursor{Portal: "1", Object: "a", At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if m, err := schemas.EncodeControl(c); err == nil {
			t.Errorf("%s: encoded %s", name, m.Data)
		}
	}
}
