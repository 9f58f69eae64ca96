package connector

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

func TestAQuietCycleCostsOneRequest(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 500, Calls: 500}, Config{Objects: []string{"contacts", "calls"}})
	b.sync()
	b.sim.Advance(time.Hour)
	b.poll("contacts")
	before := b.sim.Stats().Requests
	for range 5 {
		equal(t, "news", b.poll("contacts"), 0)
		equal(t, "news", b.poll("calls"), 0)
		b.sim.Advance(12 * time.Second)
	}
	equal(t, "requests of ten cycles", b.sim.Stats().Requests-before, 10)

	_, err := b.sim.UpdateMany("contacts", b.sim.IDs("contacts", 0, 100, 3), map[string]string{"city": "Oslo"}, time.Time{})
	must(t, err)
	b.sim.FlushIndex()
	before = b.sim.Stats().Requests
	equal(t, "news", b.poll("contacts"), 100)
	if n := b.sim.Stats().Requests - before; n > 2 {
		t.Errorf("100 changes cost %d requests", n)
	}
	before = b.sim.Stats().Requests
	equal(t, "news", b.poll("contacts"), 0)
	equal(t, "requests", b.sim.Stats().Requests-before, 1)
}

func TestIdlePortalStaysWithinAFifthOfTheQuota(t *testing.T) {
	t.Parallel()
	cfg := Config{}.withDefaults()
	const day, daily = 24 * time.Hour, 250_000
	times := func(every time.Duration) int { return int(day / every) }
	sizes := map[string]int64{"contacts": 31_636, "companies": 2400, "deals": 1193, "tickets": 1800, "calls": 8100}
	types, withPipelines := len(sizes), 2
	lanes := map[string]int{
		"polls":                          types * times(cfg.PollInterval), // one search; the settle lane is part of it
		"definitions, pipelines, owners": (types + withPipelines + 2) * times(cfg.DefinitionsInterval),
		"recycle bins, at most":          int(walkShare * daily),
		"links, at most":                 int(sweepShare * daily),
	}
	var records, pages int64
	for _, n := range sizes {
		records, pages = records+n, pages+rereadRequests(n)
	}
	lanes["calculated values"] = int(pages * int64(day) / int64(rereadTurn(cfg.RereadTurn, pages, daily)))
	lanes["verify"] = int(110 * records / 10_000 * int64(day) / int64(cfg.VerifyInterval))
	total := 0
	for _, lane := range slices.Sorted(maps.Keys(lanes)) {
		total += lanes[lane]
		t.Logf("%6d requests a day, %5.2f %%: %s", lanes[lane], float64(lanes[lane])*100/daily, lane)
	}
	t.Logf("%6d requests a day, %5.2f %%: in all", total, float64(total)*100/daily)
	if total > daily/5 {
		t.Errorf("%d requests a day", total)
	}
	if longest := cfg.PollInterval + cfg.PollInterval/12; longest > 13*time.Second {
		t.Errorf("a change can wait %s for its poll", longest)
	}
}

func TestIndexLagLosesNothingBeforeTheWatermark(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Calls: 300, IndexLag: simulator.Lag{Min: 100 * time.Millisecond, Max: 55 * time.Second, Tail: -1},
	}, Config{Objects: []string{"calls"}})
	b.sync()
	ids := b.sim.IDs("calls", 0, 300, 1)
	for i := range 60 {
		for j := range 5 {
			must(t, b.sim.Update("calls", ids[(i*37+j*11)%len(ids)], map[string]string{"hs_call_title": fmt.Sprint(i, j)}))
		}
		if i%10 == 0 {
			_, err := b.sim.CreateMany("calls", 3)
			must(t, err)
		}
		b.sim.Advance(5 * time.Second)
		b.poll("calls")
		b.nothingLost("calls", b.follower("calls").log.Cursor().CompleteThrough)
	}
	end := b.sim.Now()
	for range 20 {
		b.sim.Advance(12 * time.Second)
		b.poll("calls")
	}
	if w := b.follower("calls").log.Cursor().CompleteThrough; w.Before(end) {
		t.Errorf("the watermark stays at %s", w)
	}
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestChangesThatTheIndexShowsFarTooLateArriveAllTheSame(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Calls: 300, IndexLag: simulator.Lag{Min: 2 * time.Minute, Max: 10 * time.Minute, Tail: -1, OldValues: true, Flicker: 0.2},
	}, Config{Objects: []string{"calls"}})
	b.sync()
	for i, id := range b.sim.IDs("calls", 0, 300, 7) {
		must(t, b.sim.Update("calls", id, map[string]string{"hs_call_title": "late " + strconv.Itoa(i)}))
		b.sim.Advance(time.Second)
	}
	for range 80 {
		b.sim.Advance(12 * time.Second)
		b.poll("calls")
	}
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestTwelveThousandChangesInOneMillisecondAreAllFound(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 12_500}, Config{Objects: []string{"calls"}})
	b.sync()
	b.sim.Advance(time.Hour)
	b.poll("calls")
	_, err := b.sim.UpdateMany("calls", b.sim.IDs("calls", 0, 12_000, 1), map[string]string{"hs_call_title": "bulk"}, time.Time{})
	must(t, err)
	b.sim.FlushIndex()
	before := b.requests("search calls")
	equal(t, "news", b.poll("calls"), 12_000)
	if n := b.requests("search calls") - before; n > 75 { // some look at the newest changes in between
		t.Errorf("%d requests for 60 pages", n)
	}
	b.nothingLost("calls", b.sim.Now().Add(time.Second))
	b.noDuplicates()
	equal(t, "429s", len(b.sim.Stats().Limited), 0)
}

func TestChangesWhilePagingLoseNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Calls: 3000, IndexLag: simulator.Lag{Min: time.Millisecond, Max: 20 * time.Millisecond, Tail: -1},
	}, Config{Objects: []string{"calls"}, Settle: 500 * time.Millisecond, Overlap: 300 * time.Millisecond})
	b.sync()
	_, err := b.sim.UpdateMany("calls", b.sim.IDs("calls", 0, 3000, 1), map[string]string{"hs_call_title": "bulk"}, time.Time{})
	must(t, err)
	ids := b.sim.IDs("calls", 0, 3000, 1)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := b.sim.Update("calls", ids[(i*997)%len(ids)], map[string]string{"hs_call_title": strconv.Itoa(i)}); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond) // a thousand changes a second, while pages are read
		}
	})
	for range 6 {
		b.poll("calls")
	}
	close(stop)
	writer.Wait()
	b.sim.Advance(time.Second)
	b.poll("calls")
	b.sim.Advance(time.Minute)
	b.poll("calls")
	b.nothingLost("calls", b.sim.Now())
	b.noDuplicates()
}

func TestNewPropertyIsReadForAllRecords(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 250}, Config{Objects: []string{"calls"}})
	b.sync()
	must(t, b.sim.DefineProperty("calls", simulator.Property{Name: "fresh", Type: "string"}))
	ids := b.sim.IDs("calls", 0, 220, 1)
	_, err := b.sim.UpdateMany("calls", ids, map[string]string{"fresh": "yes"}, time.Time{})
	must(t, err)
	b.sim.FlushIndex()
	b.sim.Advance(time.Minute)
	b.poll("calls") // reads them without the property that it does not know yet
	must(t, b.follower("calls").prepare(t.Context()))
	b.nothingLost("calls", b.sim.Now())
	equal(t, "definitions", b.count(schemas.KindProperties), 2)
	must(t, b.follower("calls").prepare(t.Context()))
	equal(t, "definitions when nothing changed", b.count(schemas.KindProperties), 2)
}
