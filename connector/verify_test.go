package connector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// plantation puts differences into the log that no source would make: it publishes around Append.
type plantation struct {
	*sourceBundle
	object string
	states map[string]*schemas.Event
	want   map[difference.Kind]int64
}

func (b *sourceBundle) plantation(object string) *plantation {
	b.t.Helper()
	return &plantation{b, object, b.states(object), map[difference.Kind]int64{}}
}

// publish makes an event the last one of its record.
func (p *plantation) publish(kind difference.Kind, e schemas.Event) {
	p.t.Helper()
	e.Hash = "" // of what is planted
	_, err := p.js.PublishMsg(p.t.Context(), newMsg(e.Encode()))
	must(p.t, err)
	p.want[kind]++
}

// drop takes a record out of the log.
func (p *plantation) drop(id string) {
	p.t.Helper()
	purge(p.t, p.logBundle, schemas.RecordSubject(p.source.portal, p.object, id))
	p.want[difference.Missing]++
}

func purge(t testing.TB, b *logBundle, subject string) {
	t.Helper()
	stream, err := b.js.Stream(t.Context(), "HUBSPOT")
	must(t, err)
	must(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)))
}

func with(p schemas.Properties, name, value string) schemas.Properties {
	m := p.Map()
	m[name] = value
	return schemas.MakeProperties(m)
}

// plant makes n differences of every kind there is between HubSpot and the log, in disjoint records of ids.
func (p *plantation) plant(ids []string, n int) {
	p.t.Helper()
	next := func() *schemas.Event {
		e := *p.states[ids[0]]
		ids = ids[1:]
		return &e
	}
	var archived, losers []*schemas.Event
	for range n {
		a := next()
		must(p.t, p.sim.Archive(p.object, a.ID))
		one, other := next(), next() // both lose: the result has an id of its own
		_, err := p.sim.Merge(p.object, one.ID, other.ID)
		must(p.t, err)
		archived, losers = append(archived, a), append(losers, one, other)
	}
	// The watermark passes them, and the log has what the source knows of them. Then it forgets.
	now := p.sim.Now()
	p.sim.Advance(time.Hour)
	for p.follower(p.object).log.Cursor().CompleteThrough.Before(now) {
		p.sync()
	}
	for i := range n {
		p.publish(difference.Ghost, *archived[i])
		p.publish(difference.Merged, *losers[2*i])
		p.publish(difference.Merged, *losers[2*i+1])
		p.drop(next().ID)

		stale := next()
		stale.UpdatedAt, stale.Properties = stale.UpdatedAt.Add(-time.Hour), with(stale.Properties, "lastname", "Before")
		p.publish(difference.Stale, *stale)

		wrong := next()
		wrong.Properties = with(wrong.Properties, "lastname", "Wrong")
		p.publish(difference.Value, *wrong)

		gone := next()
		gone.ID = fmt.Sprint(9_000_000_000 + i)
		p.publish(difference.Ghost, *gone)

		ended := next()
		ended.Op, ended.Archived, ended.ArchivedAt = schemas.OpArchived, true, ended.UpdatedAt
		p.publish(difference.Archived, *ended)
	}
}

// perPlanting is how many records plant takes for each of n.
const perPlanting = 8

// disturb changes the given records and creates new ones as people do, and has the source follow, until stop is called.
func (b *sourceBundle) disturb(object string, ids []string) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var g sync.WaitGroup
	g.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := ids[i%len(ids)]
			switch {
			case i%10 == 0:
				_, err := b.sim.Create(object, map[string]string{"lastname": fmt.Sprint("New ", i)})
				must(b.t, err)
			case i%7 == 0 && i < len(ids):
				_ = b.sim.Archive(object, ids[len(ids)-1-i])
			default:
				_ = b.sim.Update(object, id, map[string]string{"lastname": fmt.Sprint("Name ", i)})
			}
			_ = pause(ctx, 0, 2*time.Millisecond)
		}
	})
	g.Go(func() {
		for ctx.Err() == nil {
			if _, err := b.follower(object).poll(ctx); err != nil && ctx.Err() == nil {
				b.t.Error(err)
				return
			}
			_ = pause(ctx, 10*time.Millisecond, 20*time.Millisecond)
		}
	})
	return sync.OnceFunc(func() { cancel(); g.Wait() })
}

func verifyOne(t testing.TB, s *Source, o VerifyOptions, object string) *difference.Report {
	t.Helper()
	if o.Patience == 0 {
		o.Patience = -1
	}
	reports, err := s.Verify(t.Context(), o, object)
	must(t, err)
	if len(reports) != 1 {
		t.Fatalf("%d reports of %s", len(reports), object)
	}
	return reports[0]
}

// wantKinds compares what was found with what was planted.
func wantKinds(t testing.TB, r *difference.Report, want map[difference.Kind]int64) {
	t.Helper()
	if !maps.Equal(r.Kinds, want) && r.Differences()+int64(len(want)) > 0 {
		t.Errorf("%s: found %v, planted %v; note %q, examples %v", r.Object, r.Kinds, want, r.Note, r.Examples)
	}
}

func TestVerifyFindsAndRepairsEveryKindOfDifference(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 900, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"contacts"}})
	b.sync()
	ids := b.sim.IDs("contacts", 0, 900, 1)
	p := b.plantation("contacts")
	p.plant(ids[:15*perPlanting], 15)
	watcher := b.newSource(Config{Objects: []string{"contacts"}})

	stop := b.disturb("contacts", ids[400:])
	defer stop()
	report := verifyOne(t, watcher, VerifyOptions{}, "contacts")
	wantKinds(t, report, p.want)
	equal(t, "repaired without being asked to", report.Repaired, 0)
	repair := verifyOne(t, watcher, VerifyOptions{Repair: true, Patience: 50 * time.Millisecond}, "contacts")
	wantKinds(t, repair, p.want)
	equal(t, "left", repair.Remaining(), 0)
	wantKinds(t, verifyOne(t, watcher, VerifyOptions{}, "contacts"), nil)
	stop()
	b.poll("contacts")
	b.nothingLost("contacts", b.sim.Now())
}

func TestVerifyOfAnEqualPortalCostsTheListAlone(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 2000, Deals: 100, Owners: 3}, Config{Objects: []string{"contacts", "deals", "owners"}})
	b.sync()
	watcher := b.newSource(Config{Objects: []string{"contacts", "deals", "owners"}})
	before := b.sim.Stats().Requests
	reports, err := watcher.Verify(t.Context(), VerifyOptions{})
	must(t, err)
	asked := int64(b.sim.Stats().Requests - before)
	var calls, compared int64
	for _, r := range reports {
		wantKinds(t, r, nil)
		calls, compared = calls+r.APICalls, compared+r.Compared
	}
	equal(t, "records", compared, 2103)
	equal(t, "requests in the reports", calls, asked)
	// Pages of live records, the recycle bins, definitions, owners.
	if most := int64(20 + 1 + 2 + 2 + 4); calls > most {
		t.Errorf("%d requests for %d records, want at most %d", calls, compared, most)
	}
	objects := make([]string, len(reports))
	for i, r := range reports {
		objects[i] = r.Object
	}
	equalSlices(t, "objects", objects, []string{"contacts", "deals", "owners"})
}

func TestVerifyOfManyPropertiesComparesTimesUnlessAskedForAll(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 300, Properties: 1500}, Config{Objects: []string{"contacts"}})
	b.sync()
	p := b.plantation("contacts")
	wrong := *p.states[b.sim.IDs("contacts", 5, 1, 1)[0]]
	wrong.Properties = with(wrong.Properties, "lastname", "Wrong")
	p.publish(difference.Value, wrong)
	report := verifyOne(t, b.source, VerifyOptions{}, "contacts")
	wantKinds(t, report, nil)
	equal(t, "only times compared", report.StampsOnly, true)
	equal(t, "requests", report.APICalls, 3+1+1) // pages, recycle bin, definitions
	report = verifyOne(t, b.source, VerifyOptions{Full: true}, "contacts")
	wantKinds(t, report, p.want)
	equal(t, "only times compared", report.StampsOnly, false)
}

func TestVerifyBesideALeaderTakesNoLead(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 200}, Config{Objects: []string{"contacts"}})
	b.sync()
	ids := b.sim.IDs("contacts", 0, 10, 1)
	p := b.plantation("contacts")
	for _, id := range ids {
		p.drop(id)
	}
	cursor := b.follower("contacts").log.Cursor()
	report := verifyOne(t, b.newSource(Config{Objects: []string{"contacts"}}), VerifyOptions{Repair: true}, "contacts")
	wantKinds(t, report, p.want)
	equal(t, "left", report.Remaining(), 0)
	states := b.states("contacts")
	for _, id := range ids {
		e := states[id]
		equal(t, "op", e.Op, schemas.OpSnapshot)
		equal(t, "origin", e.Origin, schemas.OriginVerify)
	}
	now, err := b.follower("contacts").log.Peek(t.Context())
	must(t, err)
	equal(t, "instance of the cursor", now.Instance, cursor.Instance)
	// The leader goes on as if nothing had been.
	must(t, b.sim.Update("contacts", ids[0], map[string]string{"lastname": "Later"}))
	b.sim.FlushIndex()
	equal(t, "news", b.poll("contacts"), 1)
}

func TestVerifyFindsOtherLinksAndDefinitions(t *testing.T) {
	t.Parallel()
	cfg := Config{Objects: []string{"contacts", "companies"}}
	b := setupSource(t, simulator.Options{Contacts: 60, Companies: 30, IndexLag: simulator.Lag{Off: true}}, cfg)
	ids, companies := b.sim.IDs("contacts", 0, 20, 1), b.sim.IDs("companies", 0, 20, 1)
	for i, id := range ids {
		must(t, b.sim.Link("contacts", id, "companies", companies[i]))
	}
	b.sync()
	links := VerifyOptions{Links: true}
	wantKinds(t, verifyOne(t, b.newSource(cfg), links, "contacts"), nil)

	// Link-only changes that nobody tells of, and a property that is new.
	for i, id := range ids[:4] {
		must(t, b.sim.Link("contacts", id, "companies", companies[i+10]))
	}
	must(t, b.sim.Unlink("contacts", ids[5], "companies", companies[5]))
	must(t, b.sim.DefineProperty("contacts", simulator.Property{Name: "shoe_size", Type: "number", Label: "Shoe size"}))
	must(t, b.sim.Recalculate("contacts", b.sim.IDs("contacts", 30, 1, 1)[0], map[string]string{"shoe_size": "43"}))
	want := map[difference.Kind]int64{difference.Link: 5, difference.Definition: 1, difference.Value: 1}
	wantKinds(t, verifyOne(t, b.newSource(cfg), links, "contacts"), want)
	links.Repair, links.Patience = true, time.Millisecond
	repair := verifyOne(t, b.newSource(cfg), links, "contacts")
	wantKinds(t, repair, want)
	equal(t, "left", repair.Remaining(), 0)
	wantKinds(t, verifyOne(t, b.newSource(cfg), links, "contacts"), nil)
}

func TestVerifySaysWhatWasNeverRead(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 20}, Config{Objects: []string{"contacts"}})
	report := verifyOne(t, b.source, VerifyOptions{Repair: true}, "contacts")
	if report.Note == "" || report.Differences() != 0 || report.Compared != 0 {
		t.Errorf("an object type that was never read is reported as %+v", report)
	}
}

func TestARepairRefusedByANewerEventLooksAgain(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	mustAppend(t, l, polled(record(1, day, "v", "old")), nil)
	// Between our look and our publish, somebody appends what is newer than our repair.
	other := b.open("theirs")
	repair := page{Origin: schemas.OriginVerify, Primary: true, Records: records(1, 1, day.Add(time.Minute))}
	d := l.newDraft(repair)
	must(t, l.lookup(t.Context(), d.open(), false))
	must(t, l.judge(t.Context(), d))
	mustAppend(t, other, polled(record(1, day.Add(time.Hour), "v", "new")), nil)
	refusal, err := l.publishEntries(t.Context(), l.encode(d))
	must(t, err)
	if refusal == nil {
		t.Fatal("a repair overwrote an event that it had not seen")
	}
	counts, err := l.amend(t.Context(), repair)
	must(t, err)
	equal(t, "unchanged", counts.Unchanged, 1)
	events := b.events("1")
	value, _ := events[len(events)-1].Properties.Get("v")
	equal(t, "value", value, "new")
}

func TestARepairWhoseAnswerIsLostIsNotDoubled(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	repair := page{Origin: schemas.OriginVerify, Primary: true, Records: records(1, 150, day)}
	d := l.newDraft(repair)
	must(t, l.lookup(t.Context(), d.open(), false))
	must(t, l.judge(t.Context(), d))
	_, err := l.publishEntries(t.Context(), l.encode(d))
	must(t, err)
	for _, e := range d.entries {
		e.done = false // as if no answer had come
	}
	must(t, l.amendDraft(t.Context(), d))
	b.noDuplicates()
	equal(t, "events", b.count(schemas.KindRecord), 150)
}

func TestTheIndexOfTheLogHoldsEveryRecordOnce(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	l := b.open("ours")
	empty, err := l.index(t.Context())
	must(t, err)
	equal(t, "records of an empty log", len(empty), 0)
	mustAppend(t, l, polled(records(1, 300, day)...), nil)
	mustAppend(t, l, polled(record(7, day.Add(time.Hour), "v", "1")), nil)
	mustAppend(t, l, page{Origin: schemas.OriginPoll, Endings: []ending{{ID: "9", Op: schemas.OpMerged, MergedInto: "7", At: day}}}, nil)
	index, err := l.index(t.Context())
	must(t, err)
	equal(t, "records", len(index), 300)
	equal(t, "live", index.live(), 299)
	equal(t, "time of 7", index.find(7).millis(), day.Add(time.Hour).UnixMilli())
	if !slices.IsSortedFunc(index, func(a, b logged) int { return int(a.id - b.id) }) || index.find(301) != nil {
		t.Error("the index is not in order, or knows what is not there")
	}
}
