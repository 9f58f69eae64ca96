package hubspot_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// BenchmarkPage is the way from a list answer to encoded events with their content hash, beside the same done by
// encoding/json with the properties as RawMessage, in the same run: "x-faster" is the ratio.
func BenchmarkPage(b *testing.B) {
	for _, c := range []struct {
		name          string
		values, nulls int
	}{{"2KB", 43, 0}, {"wide", 45, 322}} {
		body := pageJSON(100, c.values, c.nulls)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if eventsByHand(body) != 100 {
					b.Fatal("not 100 events")
				}
			}
			own := float64(b.Elapsed()) / float64(b.N)
			b.ReportMetric(own/100, "ns/record")
			b.StopTimer()
			plain := timePerCall(func() {
				if eventsByJSON(b, body) != 100 {
					b.Fatal("not 100 events")
				}
			})
			b.ReportMetric(float64(plain)/own, "x-faster")
		})
	}
}

// timePerCall runs f for half a second.
func timePerCall(f func()) time.Duration {
	start, n := time.Now(), 0
	for ; time.Since(start) < 500*time.Millisecond; n++ {
		f()
	}
	return time.Since(start) / time.Duration(n)
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

// eventsByJSON leaves the nulls in, which is less work than taking them out.
func eventsByJSON(b *testing.B, body []byte) (n int) {
	var page struct {
		Results []plainRecord `json:"results"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		b.Fatal(err)
	}
	for _, r := range page.Results {
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
