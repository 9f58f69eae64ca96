package hubspot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

func TestPage(t *testing.T) {
	t.Run("records", func(t *testing.T) {
		p, err := hubspot.ReadPage(contacts, []byte(`{"results":[
			{"id":"713492963559","properties":{"company":"Žluť GmbH \u2013 \"x\"","createdate":"2026-02-25T16:23:49.023Z","email":"t@example.com","fax":"","jobtitle":null,"lastmodifieddate":"2026-03-12T10:04:17.969Z"},
			 "createdAt":"2026-02-25T16:23:49.023Z","updatedAt":"2026-03-12T10:04:17.969Z","archived":false,"url":"https://app-eu1.hubspot.com/contacts/1/record/0-1/713492963559"},
			{"archived":true,"archivedAt":"2026-03-13T00:00:00Z","updatedAt":1773309857969,"createdAt":"2026-02-25T17:23:49+01:00","properties":{"b":"2","a":"1"},"id":12,"new":{"x":[1,{}]}}],
			"paging":{"next":{"after":"713492963560","link":"https://api.hubapi.com/"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Records) != 2 || len(p.Rejected) != 0 || p.Next != "713492963560" {
			t.Fatalf("page is %+v", p)
		}
		first, second := p.Records[0], p.Records[1]
		want := map[string]string{"company": "Žluť GmbH – \"x\"", "createdate": "2026-02-25T16:23:49.023Z", "email": "t@example.com", "lastmodifieddate": "2026-03-12T10:04:17.969Z"}
		if got := first.Properties; !got.Equal(schemas.MakeProperties(want)) {
			t.Errorf("properties are %s", got)
		}
		if first.ID != "713492963559" || first.Archived || !first.ArchivedAt.IsZero() || first.UpdatedAt != time.Date(2026, 3, 12, 10, 4, 17, 969e6, time.UTC) {
			t.Errorf("record is %+v", first)
		}
		if second.ID != "12" || !second.Archived || second.ArchivedAt.IsZero() || second.UpdatedAt != first.UpdatedAt || second.CreatedAt != first.CreatedAt.Truncate(time.Second) {
			t.Errorf("record is %+v", second)
		}
		if string(second.Properties) != `{"a":"1","b":"2"}` {
			t.Errorf("properties are %s", second.Properties)
		}
	})
	t.Run("updatedAt missing comes from the property that mirrors it", func(t *testing.T) {
		p, err := hubspot.ReadPage(contacts, []byte(`{"results":[{"id":"1","properties":{"lastmodifieddate":"1773309857969.0","hs_lastmodifieddate":"2020-01-01T00:00:00Z"}}]}`))
		if err != nil || len(p.Records) != 1 || p.Records[0].UpdatedAt.UnixMilli() != 1773309857969 {
			t.Fatalf("%+v, %v", p, err)
		}
	})
	t.Run("empty", func(t *testing.T) {
		for _, body := range []string{`{"results":[]}`, ` {"paging":null,"results":[ ]} `, `{"results":[],"paging":{"next":null}}`} {
			if p, err := hubspot.ReadPage(contacts, []byte(body)); err != nil || len(p.Records)+len(p.Rejected) != 0 || p.Next != "" {
				t.Errorf("%s: %+v, %v", body, p, err)
			}
		}
	})
}

// A page that cannot be read is an error, never an empty page.
func TestPageUnreadableIsAnError(t *testing.T) {
	whole := `{"results":[` + recordJSON(1) + `,` + recordJSON(2) + `],"paging":{"next":{"after":"3"}}}`
	for n := range len(whole) {
		if _, err := hubspot.ReadPage(contacts, []byte(whole[:n])); err == nil {
			t.Fatalf("cut after %d bytes it is read as a page", n)
		}
	}
	for name, body := range map[string]string{
		"html":           "<!DOCTYPE html><html><body>Just a moment...</body></html>",
		"null":           "null",
		"array":          "[]",
		"no results":     `{"status":"error","message":"x"}`,
		"results null":   `{"results":null}`,
		"results object": `{"results":{}}`,
		"trailing":       whole + "}",
		"trailing NUL":   whole + "\x00",
		"invalid UTF-8":  strings.Replace(whole, "example", "ex\xffmple", 1),
		"bad escape":     strings.Replace(whole, "example", `ex\qmple`, 1),
		"control":        strings.Replace(whole, "example", "ex\nmple", 1),
		"comma":          strings.Replace(whole, "},{", "}{", 1),
		"paging":         `{"results":[],"paging":"x"}`,
	} {
		if p, err := hubspot.ReadPage(contacts, []byte(body)); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		}
	}
}

// A record that cannot be read does not take the others with it.
func TestPageMalformedRecordIsRejectedAlone(t *testing.T) {
	for name, bad := range map[string]string{
		"id missing":          `{"properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"id text":             `{"id":"x1","properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"id null":             `{"id":null,"properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"id object":           `{"id":{},"properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"id fraction":         `{"id":1.5,"properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"id negative":         `{"id":"-1","properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"id too large":        `{"id":"9223372036854775808","properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"id zero":             `{"id":"0","properties":{},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"properties missing":  `{"id":"7","updatedAt":"2026-01-01T00:00:00Z"}`,
		"properties array":    `{"id":"7","properties":[],"updatedAt":"2026-01-01T00:00:00Z"}`,
		"properties null":     `{"id":"7","properties":null,"updatedAt":"2026-01-01T00:00:00Z"}`,
		"property object":     `{"id":"7","properties":{"a":{"b":1}},"updatedAt":"2026-01-01T00:00:00Z"}`,
		"updatedAt missing":   `{"id":"7","properties":{}}`,
		"updatedAt text":      `{"id":"7","properties":{},"updatedAt":"yesterday"}`,
		"updatedAt object":    `{"id":"7","properties":{},"updatedAt":{}}`,
		"updatedAt month 13":  `{"id":"7","properties":{},"updatedAt":"2026-13-01T00:00:00Z"}`,
		"updatedAt year":      `{"id":"7","properties":{},"updatedAt":999999999999999999}`,
		"archived text":       `{"id":"7","properties":{},"updatedAt":"2026-01-01T00:00:00Z","archived":"yes"}`,
		"not an object":       `"x"`,
		"null":                `null`,
		"larger than we keep": `{"id":"y","properties":{"a":"` + strings.Repeat("x", 100_000) + `"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			p, err := hubspot.ReadPage(contacts, []byte(`{"results":[`+recordJSON(1)+`,`+bad+`,`+recordJSON(2)+`],"paging":{"next":{"after":"3"}}}`))
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Records) != 2 || p.Records[0].ID != "1" || p.Records[1].ID != "2" || p.Next != "3" {
				t.Errorf("page is %+v", p)
			}
			if e, _ := p.Records[1].Properties.Get("email"); e != "2@example.com" {
				t.Errorf("email of the record behind is %q", e)
			}
			if len(p.Rejected) != 1 || p.Rejected[0].Reason == "" || !strings.HasPrefix(bad, p.Rejected[0].Raw) || len(p.Rejected[0].Raw) > 64<<10 {
				t.Errorf("rejected is %+v", p.Rejected)
			}
		})
	}
}

// Member order, unknown members and white space make no difference.
func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"results":[` + recordJSON(1) + `],"paging":{"next":{"after":"3"}}}`))
	f.Add([]byte(`{"results":[{"id":"1","properties":{"a":null,"b":"\ud83d\ude00","c":"\ud800"},"updatedAt":"2026-01-01T00:00:00Z"},{"id":1,"properties":[]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := hubspot.ReadPage(contacts, body)
		if err != nil {
			return
		}
		for _, r := range p.Records {
			if r.ID == "" || r.UpdatedAt.IsZero() {
				t.Fatalf("record is %+v", r)
			}
			// Whatever is read can be written to the log and read there.
			e := schemas.Event{Portal: "1", Object: "contacts", ID: r.ID, Op: schemas.OpUpdated, Origin: schemas.OriginPoll, Archived: r.Archived, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, ArchivedAt: r.ArchivedAt, Properties: r.Properties}
			back, err := schemas.DecodeEvent(e.Encode())
			if err != nil {
				t.Fatalf("%v: %+v", err, r)
			}
			if !back.Properties.Equal(r.Properties) || !back.UpdatedAt.Equal(r.UpdatedAt) {
				t.Fatalf("%s became %s", r.Properties, back.Properties)
			}
		}
	})
}

// pageJSON is a page of n records with values of about 2.1 KB in all, and as many nulls as asked for.
func pageJSON(n, values, nulls int) []byte {
	var b strings.Builder
	b.WriteString(`{"results":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		id := 700000000000 + i*7919
		fmt.Fprintf(&b, `{"id":"%d","properties":{"createdate":"2026-02-25T16:23:49.023Z","hs_object_id":"%d","lastmodifieddate":"2026-03-12T10:04:17.%03dZ"`, id, id, i%1000)
		for k := range values + nulls {
			if nulls > 0 && k%(1+nulls/max(values, 1)) != 0 {
				fmt.Fprintf(&b, `,"property_%04d":null`, k)
			} else {
				fmt.Fprintf(&b, `,"property_%04d":"value %d of record %d"`, k, k, i)
			}
		}
		b.WriteString(`},"createdAt":"2026-02-25T16:23:49.023Z","updatedAt":"2026-03-12T10:04:17.969Z","archived":false,"url":"https://app-eu1.hubspot.com/contacts/147893286/record/0-1/` + fmt.Sprint(id) + `"}`)
	}
	b.WriteString(`],"paging":{"next":{"after":"1","link":"x"}}}`)
	return []byte(b.String())
}
