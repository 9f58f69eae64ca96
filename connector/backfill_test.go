package connector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
	"github.com/hubtail/hubtail/schemas"
)

// loaded fails unless the log holds every live record of the types exactly once, and the cursors and runs say so.
func (b *sourceBundle) loaded(objects ...string) {
	b.t.Helper()
	times := map[string]map[string]int{}
	cursors := map[string]*schemas.Cursor{}
	runs := map[string][]*schemas.Run{}
	for _, m := range b.messages() {
		switch object := m.subject.Object; m.subject.Kind {
		case schemas.KindRecord:
			if times[object] == nil {
				times[object] = map[string]int{}
			}
			times[object][m.subject.ID]++
		case schemas.KindCursor:
			c, err := schemas.DecodeControl(m.msg)
			must(b.t, err)
			cursors[object] = c.(*schemas.Cursor)
		case schemas.KindRun:
			c, err := schemas.DecodeControl(m.msg)
			must(b.t, err)
			if run := c.(*schemas.Run); run.SyncType == "full" {
				runs[object] = append(runs[object], run)
			}
		}
	}
	for _, object := range objects {
		n := 0
		for r := range b.sim.Truth(object) {
			if n++; times[object][r.ID] != 1 {
				b.t.Errorf("%s %s is in the log %d times", object, r.ID, times[object][r.ID])
			}
		}
		equal(b.t, object+" in the log", len(times[object]), n)
		c := cursors[object]
		if c == nil || c.Backfill != nil || c.BackfilledAt.IsZero() {
			b.t.Errorf("cursor of %s does not say that all is read: %+v", object, c)
		}
		if len(runs[object]) != 1 {
			b.t.Errorf("%d full runs of %s, want 1", len(runs[object]), object)
			continue
		}
		run := runs[object][0]
		equal(b.t, object+" status", run.Status, "success")
		equal(b.t, object+" fetched", run.Fetched, int64(n))
		equal(b.t, object+" created", run.Created, int64(n))
	}
}

func TestBackfillReadsEveryRecordOnce(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 2345, Deals: 201, Calls: 1}, Config{Objects: []string{"contacts", "deals", "calls", "tickets"}})
	must(t, b.source.Backfill(t.Context()))
	b.loaded("contacts", "deals", "calls", "tickets")
	if n := b.requests("list calls"); n > 0 {
		t.Errorf("%d list pages of a type that one search reads", n)
	}
	if n := b.requests("list tickets"); n != 1 {
		t.Errorf("%d list pages confirm that a type is empty, want 1", n)
	}
}

func TestBackfillOfAnObjectThatIsInTheLogAppendsNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 700, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"contacts"}})
	must(t, b.source.Backfill(t.Context()))
	must(t, b.source.Backfill(t.Context()))
	equal(t, "events", b.count(schemas.KindRecord), 700)
	runs := b.runs("contacts")
	last := runs[len(runs)-1]
	for _, r := range runs {
		if r.SyncType == "full" {
			last = r
		}
	}
	equal(t, "unchanged", last.Unchanged, 700)
	equal(t, "created", last.Created, 0)
}

func TestBackfillMissesNothingThatComesAndGoesMeanwhile(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 3000, IndexLag: simulator.Lag{Off: true}}, Config{Objects: []string{"contacts"}})
	ids := b.sim.IDs("contacts", 0, 3000, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 0; ctx.Err() == nil && i < len(ids)/3; i++ {
			if err := b.sim.Archive("contacts", ids[i*3]); err != nil {
				t.Error(err)
			}
			if err := b.sim.Update("contacts", ids[len(ids)-1-i*3], map[string]string{"city": fmt.Sprint(i)}); err != nil && !errors.Is(err, simulator.ErrNotFound) {
				t.Error(err)
			}
			if _, err := b.sim.Create("contacts", map[string]string{"email": fmt.Sprintf("n%d@example.com", i)}); err != nil {
				t.Error(err)
			}
		}
	})
	err := b.source.Backfill(t.Context())
	cancel()
	changing.Wait()
	must(t, err)
	b.sync()
	b.nothingLost("contacts", b.sim.Now().Add(time.Hour))
	b.noDuplicatesOf("contacts")
}

func TestBackfillSurvivesWhatHubSpotAnswers(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]simulator.Fault{
		"errors":           {{Kind: simulator.FaultStatus, Rate: 0.1}, {Kind: simulator.FaultHTML, Rate: 0.05}},
		"broken answers":   {{Kind: simulator.FaultReset, Rate: 0.05}, {Kind: simulator.FaultCut, Rate: 0.05}, {Kind: simulator.FaultLength, Rate: 0.05}},
		"paging that lies": {{Kind: simulator.FaultNoPaging, Rate: 0.3}, {Kind: simulator.FaultSkip, Endpoint: "list", Rate: 0.3}, {Kind: simulator.FaultLoop, Endpoint: "list", Rate: 0.03}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupSource(t, simulator.Options{Contacts: 4000, Deals: 300}, Config{Objects: []string{"contacts", "deals"}})
			for _, f := range faults {
				for _, endpoint := range []string{"list", "search"} {
					if f.Endpoint == "" || f.Endpoint == endpoint {
						f := f
						f.Endpoint = endpoint
						b.sim.Inject(f)
					}
				}
			}
			must(t, b.source.Backfill(t.Context()))
			b.loaded("contacts", "deals")
		})
	}
}

func TestMalformedRecordsAreDeadLettersAndTheOthersArrive(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 3000}, Config{Objects: []string{"contacts"}})
	for _, endpoint := range []string{"list", "search", "batch"} { // always, or else it can be that all heal when they are read again
		b.sim.Inject(simulator.Fault{Kind: simulator.FaultMalformed, Endpoint: endpoint, Rate: 1})
	}
	must(t, b.source.Backfill(t.Context()))
	run := b.runs("contacts")[0]
	equal(t, "status", run.Status, "partial")
	// What has no id is counted again when a page overlaps the one before, and shares a dead letter with its likes.
	if n := int64(len(b.states("contacts"))) + run.Failed + run.Unchanged; n < 3000 || n != run.Fetched {
		t.Errorf("%d records and malformed ones, %d fetched, of 3000", n, run.Fetched)
	}
	if dead := int64(b.count(schemas.KindDeadLetter)); dead == 0 || dead > run.Failed {
		t.Errorf("%d dead letters of %d failed records", dead, run.Failed)
	}
}

func TestPagesWithUnreadableIDsAreReadAgain(t *testing.T) {
	t.Parallel()
	for seed := range int64(4) { // what is wrong with a record, the seed decides: its id in half the cases
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			b := setupSource(t, simulator.Options{Contacts: 3000, Seed: seed + 1}, Config{Objects: []string{"contacts"}})
			for _, endpoint := range []string{"list", "search"} {
				b.sim.Inject(simulator.Fault{Kind: simulator.FaultMalformed, Endpoint: endpoint, Count: readTries - 1})
			}
			must(t, b.source.Backfill(t.Context()))
			known := map[string]bool{}
			for _, m := range b.messages() {
				if k := m.subject.Kind; k == schemas.KindRecord || k == schemas.KindDeadLetter {
					known[m.subject.ID] = true
				}
				if m.subject.Kind == schemas.KindDeadLetter && strings.HasPrefix(m.subject.ID, "unknown-") {
					t.Errorf("%s was given up", m.subject.ID)
				}
			}
			for _, id := range b.sim.IDs("contacts", 0, 3000, 1) {
				if !known[id] {
					t.Errorf("record %s was not read", id)
				}
			}
		})
	}
}

func TestAListAloneEndsWhereTheRecordsEnd(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 2500}, Config{Objects: []string{"contacts"}})
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 400, Endpoint: "search"})
	b.sim.Inject(simulator.Fault{Kind: simulator.FaultNoPaging, Endpoint: "list", Rate: 0.3})
	f := b.follower("contacts")
	must(t, f.begin(t.Context()))
	b.source.backfill(t.Context(), []*follower{f}, func(_ *follower, err error) { must(t, err) })
	b.loaded("contacts")
}

func TestFailedTypeDoesNotStopTheOthersAndGoesOnLater(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 900, Deals: 1500}, Config{Objects: []string{"contacts", "deals"}})
	forbid := func(endpoint string, n int) {
		b.sim.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Endpoint: endpoint, Object: "deals", Count: n})
	}
	forbid("list", 2) // the recycle bin is read first
	err := b.source.Backfill(t.Context())
	if !errors.Is(err, hubspot.ErrForbidden) || !strings.Contains(err.Error(), "deals") {
		t.Fatalf("got %v", err)
	}
	b.loaded("contacts")
	before := b.follower("deals").log.Cursor().Backfill
	if before == nil || len(before.Ranges) == 0 {
		t.Fatalf("deals say %+v, want what remains", before)
	}
	must(t, b.source.Backfill(t.Context(), "deals"))
	equal(t, "events", b.count(schemas.KindRecord), 2400)
	for _, run := range b.runs("deals") {
		if run.SyncType == "full" && run.Status == "success" {
			equal(t, "run", run.RunID, before.RunID)
			equal(t, "fetched", run.Fetched, 1500)
			return
		}
	}
	t.Error("no successful full run")
}

func TestStoppedBackfillGoesOn(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 5000, Deals: 300}, Config{Objects: []string{"contacts", "deals"}})
	for stops := 0; ; stops++ {
		source := b.newSource(Config{Objects: []string{"contacts", "deals"}})
		ctx, cancel := context.WithCancel(t.Context())
		before := b.requests("list contacts")
		done := make(chan error, 1)
		go func() { done <- source.Sync(ctx) }()
		eventually(t, "some pages, or the end", func() bool {
			return b.requests("list contacts") >= before+4 || len(done) > 0
		})
		cancel()
		err := <-done
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if stops == 200 {
			t.Fatal("stopping throws work away")
		}
	}
	b.loaded("contacts", "deals")
}

// The environment of TestBackfillChild: the simulator's address and the directory of the embedded NATS server.
const (
	backfillURLEnv = "HUBTAIL_TEST_BACKFILL_URL"
	backfillDirEnv = "HUBTAIL_TEST_BACKFILL_DIR"
)

// TestBackfillChild is the process that TestKilledBackfillLosesAndRepeatsNothing kills: NATS server and source in one.
func TestBackfillChild(t *testing.T) {
	url := os.Getenv(backfillURLEnv)
	if url == "" {
		return
	}
	server, err := localnats.Start(localnats.Options{StoreDir: os.Getenv(backfillDirEnv)})
	must(t, err)
	nc, err := server.Connect()
	must(t, err)
	client, err := hubspot.New(hubspot.Config{BaseURL: url, Token: "pat-simulator", BurstLimit: 100_000, SearchLimit: 100_000})
	must(t, err)
	source, err := New(t.Context(), Config{Client: client, JetStream: jetStream(t, nc), Objects: []string{"contacts", "deals"}})
	must(t, err)
	fmt.Println("begin")
	must(t, source.Backfill(t.Context()))
	fmt.Println("end")
	os.Exit(0)
}

func TestKilledBackfillLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	seed := time.Now().UnixNano()
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	t.Logf("seed %d", seed)
	sim := simulator.New(simulator.Options{
		Contacts: 8000, Deals: 1100, NoOddities: true, Latency: 5 * time.Millisecond,
		BurstLimit: 100_000, SearchLimit: 100_000, DailyLimit: 10_000_000,
	})
	url, err := sim.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, sim.Close()) })
	dir := t.TempDir()

	kills, ended := 0, false
	for !ended {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBackfillChild$")
		cmd.Env = append(os.Environ(), backfillURLEnv+"="+url, backfillDirEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for lines.Scan() && lines.Text() != "begin" {
			t.Log(lines.Text())
		}
		if kills < 6 {
			time.Sleep(time.Duration(rng.IntN(120)) * time.Millisecond) // the moment of the crash, not a wait for anything
			must(t, cmd.Process.Kill())
			kills++
		}
		for lines.Scan() {
			ended = ended || lines.Text() == "end"
		}
		if err := cmd.Wait(); err != nil && kills == 6 && !ended && cmd.ProcessState.Exited() {
			t.Fatalf("child: %v", err)
		}
	}

	server, err := localnats.Start(localnats.Options{StoreDir: dir})
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	nc, err := server.Connect()
	must(t, err)
	t.Cleanup(nc.Close)
	b := &sourceBundle{logBundle: &logBundle{t: t, server: server, js: jetStream(t, nc)}, sim: sim}
	b.loaded("contacts", "deals")
	b.noDuplicatesOf("contacts")
	pages := (8000 + 1100) / listPage
	t.Logf("%d kills, %d list pages and %d searches; without kills at most about %d pages", kills,
		b.requests("list contacts")+b.requests("list deals"), b.requests("search contacts")+b.requests("search deals"), pages)
}
