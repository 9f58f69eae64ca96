package connector

import (
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
)

// TestBackfillPlanIsWhatTheBackfillThenCosts holds the plan against the requests that the simulator then counts: they are
// within a fifth of it, and five requests. (On a machine with nothing else to do it is 5 %; one whose answers come late lets
// the lanes meet elsewhere.)
func TestBackfillPlanIsWhatTheBackfillThenCosts(t *testing.T) {
	t.Parallel()
	objects := []string{"contacts", "companies", "deals", "tickets", "calls", "owners"}
	for _, test := range []struct {
		name   string
		portal simulator.Options
		config Config
		again  bool // after a backfill
	}{
		{name: "a portal", portal: simulator.Options{Contacts: 2000, Companies: 300, Deals: 500, Calls: 900, Owners: 7}},
		{name: "without associations", portal: simulator.Options{Contacts: 700}, config: Config{Associations: []string{"none"}}},
		{name: "nothing in it"},
		{name: "read before", portal: simulator.Options{Contacts: 600, Deals: 300}, again: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.config.Objects = objects
			b := setupHurry(t, test.portal)
			if test.again {
				must(t, b.hurried(test.config).Backfill(t.Context()))
			}
			before, had := b.sim.Stats().Requests, len(b.messages())
			cfg := test.config
			cfg.Client, cfg.JetStream = b.hurry(), b.js
			plan, err := PlanBackfill(t.Context(), cfg)
			must(t, err)
			equal(t, "messages in the log", len(b.messages()), had)
			equal(t, "requests that it took", plan.Asked, int64(b.sim.Stats().Requests-before))
			if most := int64(4*len(objects) + 15); plan.Asked > most {
				t.Errorf("the plan took %d requests, want %d at most", plan.Asked, most)
			}
			for _, o := range plan.Objects {
				p := test.portal
				want := map[string]int{"contacts": p.Contacts, "companies": p.Companies, "deals": p.Deals, "calls": p.Calls, "owners": p.Owners}
				equal(t, "records of "+o.Object, o.Records, int64(want[o.Object]))
			}
			before = b.sim.Stats().Requests
			must(t, b.hurried(test.config).Backfill(t.Context()))
			took := int64(b.sim.Stats().Requests - before)
			t.Logf("%d requests planned with %d, %d taken", plan.Requests, plan.Asked, took)
			if d := float64(plan.Requests - took); max(d, -d) > 0.2*float64(took)+5 {
				t.Errorf("%d requests planned, %d taken\n%+v\n%v", plan.Requests, took, plan.Objects, b.sim.Stats().ByRoute)
			}
		})
	}
}

// setupHurry starts a portal whose quotas and answers are those of a real one, ten times as fast.
func setupHurry(t testing.TB, o simulator.Options) *sourceBundle {
	t.Helper()
	o.NoOddities, o.IndexLag.Off = true, true
	o.BurstLimit, o.Interval, o.SearchInterval = 190, time.Second, 100*time.Millisecond
	o.Latencies = simulator.Latencies{
		List: 12 * time.Millisecond, Search: 25 * time.Millisecond, Batch: 20 * time.Millisecond, Association: 8 * time.Millisecond, Other: 5 * time.Millisecond,
	}
	b := &sourceBundle{logBundle: setupLog(t), sim: simulator.New(o)}
	var err error
	b.url, err = b.sim.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, b.sim.Close()) })
	return b
}

func (b *sourceBundle) hurry() *hubspot.Client {
	b.t.Helper()
	client, err := hubspot.New(hubspot.Config{
		BaseURL: b.url, Token: "pat-simulator", BurstLimit: 190, Interval: time.Second, SearchInterval: 100 * time.Millisecond,
	})
	must(b.t, err)
	return client
}

func (b *sourceBundle) hurried(cfg Config) *Source {
	b.t.Helper()
	cfg.Client, cfg.JetStream = b.hurry(), b.js
	s, err := New(b.t.Context(), cfg)
	must(b.t, err)
	return s
}

// TestLoadForecastTakesTheTimeThatTheQuotaAllows looks at sizes that no test can load.
func TestLoadForecastTakesTheTimeThatTheQuotaAllows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		records     []int64
		limit       int
		least, most time.Duration
		requests    float64 // per record, at most
	}{
		{"default portal, smallest plan", []int64{31_636, 1_193, 8_100}, 100, 20 * time.Second, 40 * time.Second, 1.0 / 120},
		{"default portal", []int64{31_636, 1_193, 8_100}, 190, 10 * time.Second, 25 * time.Second, 1.0 / 110},
		{"many", []int64{200_000}, 190, time.Minute, 2 * time.Minute, 1.0 / 120},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &loadForecast{quota: quota{
				limit: test.limit, interval: 10 * time.Second, searchLimit: 5, searchInterval: time.Second, searchCounts: true,
			}}
			total, requests := int64(0), int64(0)
			for _, n := range test.records {
				plan := newObjectPlan(idRanges{everything}, -1, 0)
				f.objects = append(f.objects, &objectForecast{plan: plan, perList: 1, ids: newEvenIDs(n, idRanges{everything})})
				total += n
			}
			took, err := f.run(t.Context())
			must(t, err)
			for _, o := range f.objects {
				requests += o.requests
				if !o.plan.done() || o.done == 0 || o.done > took {
					t.Errorf("an object type is done after %s of %s: %v", o.done, took, o.plan.done())
				}
			}
			t.Logf("%s, %d requests", took, requests)
			if took < test.least || took > test.most || float64(requests) > test.requests*float64(total) {
				t.Errorf("%d records in %s with %d requests", total, took, requests)
			}
		})
	}
}

// TestBackfillPlanWritesNothing plans where there is no stream and no log at all, and for an interrupted read.
func TestBackfillPlanWritesNothing(t *testing.T) {
	t.Parallel()
	b := &sourceBundle{logBundle: setupLog(t), sim: simulator.New(simulator.Options{Contacts: 900, Latency: -1, NoOddities: true, IndexLag: simulator.Lag{Off: true}})}
	url, err := b.sim.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, b.sim.Close()) })
	client, err := hubspot.New(hubspot.Config{BaseURL: url, Token: "pat-simulator"})
	must(t, err)
	for _, cfg := range []Config{
		{Client: client, JetStream: b.js, Stream: "ELSEWHERE", Objects: []string{"contacts"}},
		{Client: client, Objects: []string{"contacts"}},
	} {
		plan, err := PlanBackfill(t.Context(), cfg)
		must(t, err)
		equal(t, "records", plan.Records, 900)
		if plan.Requests < 8 || plan.Seconds <= 0 || plan.Burst == 0 || plan.Daily.Limit == 0 {
			t.Errorf("the plan is %+v", plan)
		}
	}
	for info := range b.js.ListStreams(t.Context()).Info() {
		if info.Config.Name == "ELSEWHERE" {
			t.Error("a plan made a stream")
		}
	}
}
