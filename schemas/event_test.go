package schemas_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// random makes valid values of the contract from a seed.
type random struct {
	*rand.Rand
	alphabet []string
}

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 1)), alphabet} }

func pick[T any](r random, from ...T) T { return from[r.IntN(len(from))] }

var alphabet = []string{
	"a", "Z", "0", "_", "-", " ", ".", "*", ">", "%", "\"", "\\", "/", "\n", "\r", "\t", "\b", "\x00", "\x1f", "\x7f", "<", "&",
	"ü", "€", "\u2028", "👩", "\uFFFD", "https://example.com/?a=b", "2026-03-12",
	"\xed\xa0\xbd", // half of a character; the last, so that it can be left out
}

func (r random) text(atLeast int) string {
	var b strings.Builder
	for range atLeast + r.IntN(6) {
		b.WriteString(pick(r, r.alphabet...))
	}
	// The halves of a pair may have met; only text in the form that is read back can be compared.
	quoted := schemas.AppendString(nil, b.String())
	return schemas.NewScanner(quoted).String()
}

func (r random) time() time.Time {
	first, last := time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	s := first.Unix() + r.Int64N(last.Unix()-first.Unix())
	return time.Unix(s, r.Int64N(1000)*1e6).UTC()
}

func (r random) properties() schemas.Properties {
	values := make(map[string]string)
	for range r.IntN(8) {
		values[r.text(0)] = r.text(0)
	}
	return schemas.MakeProperties(values)
}

func (r random) event() *schemas.Event {
	e := &schemas.Event{
		Portal: r.text(1), Object: r.text(1), ObjectTypeID: r.text(0), ID: r.text(1),
		Op: pick(r, schemas.OpSnapshot, schemas.OpCreated, schemas.OpUpdated, schemas.OpArchived, schemas.OpRestored,
			schemas.OpMerged, schemas.OpPurged),
		Origin:   pick(r, schemas.OriginBackfill, schemas.OriginPoll, schemas.OriginWebhook, schemas.OriginVerify),
		Archived: pick(r, true, false), UpdatedAt: r.time(), Properties: r.properties(), PreviousSeq: r.Uint64(),
	}
	if pick(r, true, false) {
		e.CreatedAt, e.ArchivedAt = r.time(), r.time()
	}
	e.Changed, e.Previous = schemas.Diff(r.properties(), e.Properties)
	switch e.Op {
	case schemas.OpArchived:
		e.Archived = true
	case schemas.OpRestored:
		e.Archived = false
	case schemas.OpMerged:
		e.MergedInto = r.text(1)
	case schemas.OpPurged:
		e.Properties, e.Previous = schemas.Properties("{}"), schemas.Properties("{}")
	}
	return e
}

func TestEventsDecodeToWhatWasEncoded(t *testing.T) {
	validator := newValidator(t)
	for seed := range uint64(2000) {
		e := newRandom(seed).event()
		m := e.Encode()
		got, err := schemas.DecodeEvent(m)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, m.Data)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("seed %d:\nencoded %+v\ndecoded %+v", seed, e, got)
		}
		if err := validator.body(m.Subject, m.Data); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, m.Data)
		}
		for name, values := range m.Header {
			if len(values) != 1 || strings.ContainsFunc(values[0], func(r rune) bool { return r <= ' ' || r >= 0x7F }) {
				t.Errorf("seed %d: header %s is %q", seed, name, values)
			}
		}
	}
}

func TestEventTimesAreCutToMilliseconds(t *testing.T) {
	e := newRandom(1).event()
	at := time.Date(2026, 3, 12, 11, 4, 17, 969_999_999, time.FixedZone("", 3600))
	e.UpdatedAt, e.CreatedAt = at, at
	m := e.Encode()
	got, err := schemas.DecodeEvent(m)
	if err != nil {
		t.Fatal(err)
	}
	want := time.Date(2026, 3, 12, 10, 4, 17, 969e6, time.UTC)
	if got.UpdatedAt != want || got.CreatedAt != want || m.Header[schemas.HeaderTime][0] != "2026-03-12T10:04:17.969Z" {
		t.Errorf("updated %s, created %s, header %s, want %s", got.UpdatedAt, got.CreatedAt, m.Header[schemas.HeaderTime], want)
	}
}

func TestEventTimesAreWrittenAsTheLayoutSays(t *testing.T) {
	e := newRandom(1).event()
	for seed := range uint64(1000) {
		e.UpdatedAt = newRandom(seed).time()
		if got, want := e.Encode().Header[schemas.HeaderTime][0], e.UpdatedAt.Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Errorf("%s written as %s", want, got)
		}
	}
}

func TestContentHashTellsStatesApart(t *testing.T) {
	type state struct {
		archived bool
		merged   string
		values   string
	}
	seen := make(map[string]state)
	for _, s := range []state{
		{false, "", `{}`}, {true, "", `{}`}, {false, "1", `{}`}, {true, "1", `{}`}, {true, "2", `{}`},
		{false, "", `{"a":"1"}`}, {true, "", `{"a":"1"}`}, {false, "", `{"a":"2"}`}, {false, "", `{"b":"1"}`},
		{false, "", `{"a":"1","b":"1"}`}, {false, "1\n{}", `{}`},
	} {
		h := schemas.ContentHash(s.archived, s.merged, schemas.Properties(s.values))
		if other, ok := seen[h]; ok {
			t.Errorf("%+v and %+v have the hash %s", s, other, h)
		}
		if len(h) != 32 || strings.Trim(h, "0123456789abcdef") != "" {
			t.Errorf("hash %q is not 32 hexadecimal digits", h)
		}
		seen[h] = s
	}
}

func TestContentHashIsDocumented(t *testing.T) {
	// printf 'archived\nmerged 7\n{"a":"1"}' | sha256sum | cut -c1-32
	if got, want := schemas.ContentHash(true, "7", schemas.Properties(`{"a":"1"}`)), "97cf25fe20072d596e345154dd559078"; got != want {
		t.Errorf("ContentHash = %s, want %s", got, want)
	}
}

func TestCEIDIsTheSameForTheSameChange(t *testing.T) {
	e := newRandom(1).event()
	first := e.Encode().Header[schemas.HeaderID][0]
	e.Origin, e.Changed, e.Previous = schemas.OriginVerify, nil, nil
	if again := e.Encode().Header[schemas.HeaderID][0]; again != first {
		t.Errorf("found in another way, the id is %s, not %s", again, first)
	}
	back := *e
	back.PreviousSeq, back.SameTime = 8, true
	if id := back.Encode().Header[schemas.HeaderID][0]; id == first {
		t.Error("when the same state comes back after another event, the id is the same")
	}
	if read, err := schemas.DecodeEvent(back.Encode()); err != nil || !read.SameTime || read.CEID() != back.CEID() {
		t.Errorf("decoded: %+v, %v", read, err)
	}
	e.UpdatedAt = e.UpdatedAt.Add(time.Millisecond)
	if later := e.Encode().Header[schemas.HeaderID][0]; later == first {
		t.Error("a millisecond later the id is the same")
	}
}

func TestDecodeEventSharesTheMessage(t *testing.T) {
	m := benchEvent(t, 367).Encode()
	e, err := schemas.DecodeEvent(m)
	if err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(100, func() { _, _ = schemas.DecodeEvent(m) }); allocs > 5 {
		t.Errorf("%v allocations", allocs)
	}
	// Appending to what is shared must not write into the message.
	before := string(m.Data)
	_ = append(e.Properties, "overwritten"...)
	if string(m.Data) != before {
		t.Error("append to the properties changed the message")
	}
}

func TestDecodeEventOfARepeatedMember(t *testing.T) {
	m := newRandom(1).event().Encode()
	m.Data = append(m.Data[:len(m.Data)-1], `,"changed":["a"],"changed":["b"]}`...)
	e, err := schemas.DecodeEvent(m)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(e.Changed, []string{"b"}) {
		t.Errorf("changed = %q, want the last", e.Changed)
	}
}
