package hubspot_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// BenchmarkPage is the way from a list answer to encoded events with their content hash, beside encoding/json with
// RawMessage, in the same run: "x-faster" is the ratio to the same events, whose properties are ascending and without nulls
// (a map of RawMessage values), "x-faster-passed-on" the ratio to passing the properties on as they came, nulls and all.
func BenchmarkPage(b *testing.B) {
	for _, c := range []struct {
		name          string
		values, nulls int
	}{{"2KB", 43, 0}, {"wide", 45, 322}} {
		body := pageJSON(100, c.values, c.nulls)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			var own, raw, canonical time.Duration
			for b.Loop() {
				start := cpuTime(b)
				n := eventsByHand(body)
				own += cpuTime(b) - start
				b.StopTimer()
				start = cpuTime(b)
				n += eventsByJSON(b, body, false)
				raw += cpuTime(b) - start
				start = cpuTime(b)
				n += eventsByJSON(b, body, true)
				canonical += cpuTime(b) - start
				b.StartTimer()
				if n != 300 {
					b.Fatalf("%d events, want 100 from each", n)
				}
			}
			b.ReportMetric(float64(own)/float64(100*b.N), "cpu-ns/record")
			b.ReportMetric(float64(canonical)/float64(own), "x-faster")
			b.ReportMetric(float64(raw)/float64(own), "x-faster-passed-on")
		})
	}
}

// cpuTime is what the process has used of the processors, garbage collection included and other programs not.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func eventsByHand(body []byte) (n int) {
	page, err := hubspot.ReadPage(contacts, body)
	if err != nil {
		return 0
	}
	for _, r := range page.Records {
		e := schemas.Event{
			Portal: "147893286", Object: "contacts", ObjectTypeID: "0-1", ID: r.ID, Op: schemas.OpSnapshot, Origin: schemas.OriginBackfill,
			CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Archived: r.Archived, Properties: r.Properties,
		}
		if m := e.Encode(); len(m.Data) > 0 {
			n++
		}
	}
	return n
}

type plainRecord struct {
	ID         string          `json:"id"`
	Properties json.RawMessage `json:"properties"`
	CreatedAt  time.Time       `json:"createdAt"`
	UpdatedAt  time.Time       `json:"updatedAt"`
	Archived   bool            `json:"archived"`
}

type plainEvent struct {
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

func eventsByJSON(b *testing.B, body []byte, canonical bool) (n int) {
	var page struct {
		Results []plainRecord `json:"results"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		b.Fatal(err)
	}
	for _, r := range page.Results {
		if canonical {
			var values map[string]json.RawMessage
			if err := json.Unmarshal(r.Properties, &values); err != nil {
				b.Fatal(err)
			}
			maps.DeleteFunc(values, func(_ string, v json.RawMessage) bool { return string(v) == "null" || string(v) == `""` })
			var err error
			if r.Properties, err = json.Marshal(values); err != nil {
				b.Fatal(err)
			}
		}
		sum := sha256.Sum256(r.Properties)
		hash := hex.EncodeToString(sum[:16])
		data, err := json.Marshal(plainEvent{
			Portal: "147893286", Object: "contacts", ObjectTypeID: "0-1", ID: r.ID, Op: "snapshot",
			CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Archived: r.Archived, Properties: r.Properties,
			Changed: []string{}, Previous: json.RawMessage("{}"),
		})
		if err != nil {
			b.Fatal(err)
		}
		m := schemas.Message{
			Subject: schemas.RecordSubject("147893286", "contacts", r.ID),
			Header: map[string][]string{
				schemas.HeaderID: {"contacts:" + r.ID + ":" + hash}, schemas.HeaderSpecVersion: {"1.0"}, schemas.HeaderSource: {"hubspot/147893286"},
				schemas.HeaderType: {"hubspot.contacts.snapshot"}, schemas.HeaderSubject: {r.ID}, schemas.HeaderTime: {r.UpdatedAt.Format(time.RFC3339Nano)},
				schemas.HeaderDataSchema: {schemas.SchemaURI("event")}, schemas.HeaderContentType: {"application/json"},
				schemas.HeaderHash: {hash}, schemas.HeaderOrigin: {"backfill"},
			},
			Data: data,
		}
		if len(m.Data) > 0 {
			n++
		}
	}
	return n
}
