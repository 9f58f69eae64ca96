package schemas_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// wireValues are what properties of contacts look like: mostly times, numbers, options and short text.
var wireValues = []string{
	`"2026-02-25T16:23:49.023Z"`, `"0"`, `"false"`, `"713492963559"`, `"lead;marketingqualifiedlead"`, `"1582675200000"`,
	`"Müller & Söhne Maschinenbau GmbH"`, `"OFFLINE"`, `"https://www.example.com/products/pumps?utm_source=newsletter&utm_medium=email"`,
	`"+49 351 4960 0"`, `"Europe/Berlin"`, `"Called on Monday.\nWants the \"large\" one."`,
}

// wireRecord returns a contact as HubSpot sends it: 45 properties with a value, spread over width names of HubSpot's
// average length, the others null.
func wireRecord(width int) []byte {
	const filled = 45
	var b strings.Builder
	b.WriteString(`{"id":"713492963559","properties":{`)
	for i := range width {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"hs_analytics_prop_%06d":`, i)
		if i*filled/width == (i+1)*filled/width {
			b.WriteString("null")
			continue
		}
		b.WriteString(wireValues[i%len(wireValues)])
	}
	b.WriteString(`},"createdAt":"2026-02-25T16:23:49.023Z","updatedAt":"2026-03-12T10:04:17.969Z","archived":false,`)
	b.WriteString(`"url":"https://app-eu1.hubspot.com/contacts/147893286/record/0-1/713492963559"}`)
	return []byte(b.String())
}

func wireProperties(width int) []byte {
	var r struct{ Properties json.RawMessage }
	if err := json.Unmarshal(wireRecord(width), &r); err != nil {
		panic(err)
	}
	return r.Properties
}

func benchEvent(tb testing.TB, width int) *schemas.Event {
	p, _, err := schemas.ParseProperties(wireProperties(width))
	if err != nil {
		tb.Fatal(err)
	}
	at := time.Date(2026, 3, 12, 10, 4, 17, 969e6, time.UTC)
	return &schemas.Event{
		Portal: "147893286", Object: "contacts", ObjectTypeID: "0-1", ID: "713492963559", Op: schemas.OpUpdated,
		Origin: schemas.OriginPoll, CreatedAt: at.Add(-time.Hour), UpdatedAt: at, Properties: p,
		Changed: []string{"hs_analytics_prop_000001", "lastmodifieddate"}, Previous: schemas.Properties(`{"lastmodifieddate":"2026-03-12T10:00:00.000Z"}`),
		PreviousSeq: 4711,
	}
}

// jsonEvent is the event that encoding/json makes, its properties untouched text.
type jsonEvent struct {
	Portal       string          `json:"portal"`
	Object       string          `json:"object"`
	ObjectTypeID string          `json:"object_type_id"`
	ID           string          `json:"id"`
	Op           string          `json:"op"`
	Archived     bool            `json:"archived"`
	CreatedAt    time.Time       `json:"created_at"`
	UpdatedAt    time.Time       `json:"updated_at"`
	Properties   json.RawMessage `json:"properties"`
	Changed      []string        `json:"changed"`
	Previous     json.RawMessage `json:"previous"`
	PreviousSeq  uint64          `json:"previous_seq"`
}

// compare times ours, and then the same work by encoding/json beside it: both in turns, a short while each, of which the
// best counts, so that a busy machine disturbs neither. It reports how many times longer encoding/json takes.
func compare(b *testing.B, bytes int, ours, theirs func() error) {
	b.ReportAllocs()
	b.SetBytes(int64(bytes))
	for b.Loop() {
		if err := ours(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	best := func(least time.Duration, work func() error) time.Duration {
		const n = 50
		start := time.Now()
		for range n {
			if err := work(); err != nil {
				b.Fatal(err)
			}
		}
		return min(least, time.Since(start)/n)
	}
	our, their := time.Hour, time.Hour
	for range 100 {
		our, their = best(our, ours), best(their, theirs)
	}
	b.ReportMetric(float64(our), "best-ns/op")
	b.ReportMetric(float64(their)/float64(our), "x-encoding/json")
}

var widths = []int{45, 367}

func BenchmarkParseProperties(b *testing.B) {
	for _, width := range widths {
		src := wireProperties(width)
		b.Run(fmt.Sprint("width=", width), func(b *testing.B) {
			compare(b, len(src), func() error {
				_, _, err := schemas.ParseProperties(src)
				return err
			}, func() error {
				var m map[string]json.RawMessage
				return json.Unmarshal(src, &m)
			})
		})
	}
}

// BenchmarkRecordToEvent is what the source does with every record of a page: parse, hash, encode.
func BenchmarkRecordToEvent(b *testing.B) {
	for _, width := range widths {
		src := wireRecord(width)
		b.Run(fmt.Sprint("width=", width), func(b *testing.B) {
			compare(b, len(src), func() error {
				e := schemas.Event{Portal: "147893286", Object: "contacts", ObjectTypeID: "0-1", Op: schemas.OpSnapshot, Origin: schemas.OriginBackfill}
				s := schemas.NewScanner(src)
				s.Object(func(key []byte) {
					switch string(key) {
					case "id":
						e.ID = s.String()
					case "properties":
						e.Properties = s.AppendProperties(make([]byte, 0, 2400))
					case "createdAt":
						e.CreatedAt = s.Time()
					case "updatedAt":
						e.UpdatedAt = s.Time()
					case "archived":
						e.Archived = s.Bool()
					default:
						s.Skip()
					}
				})
				e.Encode()
				return s.Err()
			}, func() error {
				var r struct {
					ID                   string
					Properties           json.RawMessage
					CreatedAt, UpdatedAt time.Time
					Archived             bool
				}
				if err := json.Unmarshal(src, &r); err != nil {
					return err
				}
				_, err := json.Marshal(jsonEvent{
					Portal: "147893286", Object: "contacts", ObjectTypeID: "0-1", ID: r.ID, Op: "snapshot",
					CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Properties: r.Properties, Previous: json.RawMessage("{}"),
				})
				return err
			})
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	e := benchEvent(b, 367)
	hash := schemas.ContentHash(e.Archived, e.MergedInto, e.Properties)
	for _, known := range []string{"", hash} {
		b.Run(fmt.Sprintf("hash=%t", known == ""), func(b *testing.B) {
			compare(b, len(e.Properties), func() error {
				e.Hash = known
				e.Encode()
				return nil
			}, func() error {
				_, err := json.Marshal(jsonEvent{
					Portal: e.Portal, Object: e.Object, ID: e.ID, Op: string(e.Op), CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
					Properties: json.RawMessage(e.Properties), Previous: json.RawMessage(e.Previous), Changed: e.Changed,
				})
				return err
			})
		})
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	m := benchEvent(b, 367).Encode()
	compare(b, len(m.Data), func() error {
		_, err := schemas.DecodeEvent(m)
		return err
	}, func() error {
		var e jsonEvent
		return json.Unmarshal(m.Data, &e)
	})
}

func BenchmarkDiff(b *testing.B) {
	old := benchEvent(b, 367).Properties
	values := old.Map()
	values["hs_analytics_prop_000008"] = "other"
	values["lastmodifieddate"] = "2026-03-12T10:04:17.969Z"
	new := schemas.MakeProperties(values)
	compare(b, len(old), func() error {
		schemas.Diff(old, new)
		return nil
	}, func() error {
		var o, n map[string]json.RawMessage
		if err := json.Unmarshal(old, &o); err != nil {
			return err
		}
		return json.Unmarshal(new, &n)
	})
}

func BenchmarkParseSubject(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schemas.ParseSubject("hubspot.147893286.contacts.713492963559"); err != nil {
			b.Fatal(err)
		}
	}
}
