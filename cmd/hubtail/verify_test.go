package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/internal/proof"
	"github.com/hubtail/hubtail/schemas"
)

// vandal makes differences that no source and no sink makes.
type vandal struct {
	*stack
	conn   *pgx.Conn
	portal string
	log    jetstream.Stream
	ids    []string // of contacts that nothing was done to
	want   map[difference.Hop]map[difference.Kind]int64
}

func (v *vandal) next() string {
	id := v.ids[0]
	v.ids = v.ids[1:]
	return id
}

func (v *vandal) planted(hop difference.Hop, kind difference.Kind, n int) {
	if v.want[hop] == nil {
		v.want[hop] = map[difference.Kind]int64{}
	}
	v.want[hop][kind] += int64(n)
}

// last returns the last event of a contact.
func (v *vandal) last(id string) *schemas.Event {
	v.t.Helper()
	m, err := v.log.GetLastMsgForSubject(context.Background(), schemas.RecordSubject(v.portal, "contacts", id))
	if err != nil {
		v.t.Fatal(err)
	}
	e, err := schemas.DecodeEvent(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		v.t.Fatal(err)
	}
	e.Hash = "" // of what it becomes
	return e
}

// publish makes an event the last one of its record, around the source.
func (v *vandal) publish(kind difference.Kind, e *schemas.Event) {
	v.t.Helper()
	m := e.Encode()
	if _, err := v.js.PublishMsg(context.Background(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}); err != nil {
		v.t.Fatal(err)
	}
	v.planted(difference.HubSpotToLog, kind, 1)
}

// falsifyLog makes one difference of each of seven kinds between HubSpot and the log. archived and loser are records that
// HubSpot has no longer and the log never had.
func (v *vandal) falsifyLog(archived, loser string, i int) {
	v.t.Helper()
	ghost := v.last(v.ids[0])
	ghost.UpdatedAt = ghost.CreatedAt.AddDate(-20, 0, 0) // no newer than any record is
	for kind, id := range map[string]string{"archived": archived, "merged": loser, "gone": fmt.Sprint(9_000_000_000 + i)} {
		ghost.ID = id
		v.publish(map[string]difference.Kind{"archived": difference.Ghost, "merged": difference.Merged, "gone": difference.Ghost}[kind], ghost)
	}
	stale := v.last(v.next())
	stale.UpdatedAt = stale.UpdatedAt.Add(-time.Hour)
	v.publish(difference.Stale, stale)

	wrong := v.last(v.next())
	values := wrong.Properties.Map()
	values["lastname"] = "Wrong"
	wrong.Properties = schemas.MakeProperties(values)
	v.publish(difference.Value, wrong)

	ended := v.last(v.next())
	ended.Op, ended.Archived, ended.ArchivedAt = schemas.OpArchived, true, ended.UpdatedAt
	v.publish(difference.Archived, ended)

	missing := schemas.RecordSubject(v.portal, "contacts", v.next())
	if err := v.log.Purge(context.Background(), jetstream.WithPurgeSubject(missing)); err != nil {
		v.t.Fatal(err)
	}
	v.planted(difference.HubSpotToLog, difference.Missing, 1)
}

// falsifyTables makes n differences of each of seven kinds between the log and the tables.
func (v *vandal) falsifyTables(n int) {
	v.t.Helper()
	for _, p := range []struct {
		kind difference.Kind
		sql  string
	}{
		{difference.Missing, `delete from hubspot.contacts where id = any($1)`},
		{difference.Ghost, `insert into hubspot.contacts (id, _seq) select 800000000000 + id, 3 from unnest($1::bigint[]) id`},
		{difference.Stale, `update hubspot.contacts set _seq = 1, lastname = 'Old' where id = any($1)`},
		{difference.Value, `update hubspot.contacts set lastname = 'Wrong' where id = any($1)`},
		{difference.Value, `update hubspot.contacts set _extra = '{"nosuch": "x"}' where id = any($1)`},
		{difference.Value, `update hubspot.contacts set _archived = true where id = any($1)`},
		{difference.Link, `insert into hubspot.links select 'contacts', 800000000000 + id, 'companies', 5, 1, 'HUBSPOT_DEFINED' from unnest($1::bigint[]) id`},
	} {
		var ids []int64
		for range n {
			var id int64
			if _, err := fmt.Sscan(v.next(), &id); err != nil {
				v.t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if _, err := v.conn.Exec(context.Background(), p.sql, ids); err != nil {
			v.t.Fatal(err)
		}
		v.planted(difference.LogToTables, p.kind, n)
	}
}

// changeAll changes contacts as people do until stop is called, and says how many changes it made.
func changeAll(t testing.TB, s *simulator.Simulator, ids []string) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	changes := 0
	g.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			changes++
			var err error
			switch at := changes % len(ids); {
			case changes%50 == 0:
				_, err = s.UpdateMany("contacts", ids[:min(50, len(ids))], map[string]string{"city": fmt.Sprint("Bulk ", changes)}, time.Time{})
			case changes%10 == 0:
				_, err = s.Create("contacts", map[string]string{"lastname": fmt.Sprint("New ", changes)})
			default:
				err = s.Update("contacts", ids[at], map[string]string{"lastname": fmt.Sprint("Name ", changes)})
			}
			if err != nil {
				t.Error(err)
			}
			<-tick.C
		}
	})
	return sync.OnceValue(func() int { cancel(); g.Wait(); return changes })
}

// verify runs the command and reads its JSON.
func (s *stack) verify(code int, args ...string) verification {
	s.t.Helper()
	r := s.run(nil, append([]string{"verify", "--json", "--patience", "1s", "--objects", "contacts"}, args...)...)
	if r.code != code {
		s.t.Errorf("exit code %d, want %d: %s%s", r.code, code, r.stdout, r.stderr)
	}
	var v verification
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
		s.t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	return v
}

func (v *vandal) requireFound(r verification, want map[difference.Hop]map[difference.Kind]int64) {
	v.t.Helper()
	for _, report := range r.Reports {
		if w := want[report.Hop]; len(report.Kinds)+len(w) > 0 && !maps.Equal(report.Kinds, w) {
			v.t.Errorf("%s: found %v, planted %v: %v", report.Hop, report.Kinds, w, report.Examples)
		}
	}
	if len(r.Reports) != 2 {
		v.t.Errorf("%d reports, want one per hop", len(r.Reports))
	}
}

// TestVerifyFindsAThousandDifferencesOfFourteenKinds plants them under live changes, with a source and a sink running.
func TestVerifyFindsAThousandDifferencesOfFourteenKinds(t *testing.T) {
	t.Parallel()
	const n = 72 // of each kind
	s := newStack(t, simulator.Options{Contacts: 4_500, NoOddities: true, Latency: -1, BurstLimit: 100_000, SearchLimit: 1_000, DailyLimit: 10_000_000,
		IndexLag: simulator.Lag{Off: true}})
	s.env = []string{"HUBTAIL_OBJECTS=contacts", "HUBTAIL_BURST_LIMIT=100000", "HUBTAIL_VERIFY_INTERVAL=0"}
	ids := s.simulator.IDs("contacts", 0, 4_500, 1)
	var archived, losers []string
	for range n {
		archived, losers = append(archived, ids[0]), append(losers, ids[1])
		if err := s.simulator.Archive("contacts", ids[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := s.simulator.Merge("contacts", ids[2], ids[1]); err != nil {
			t.Fatal(err)
		}
		ids = ids[3:]
	}
	s.simulator.Advance(time.Minute) // what was archived is older than the source's first look
	processes := []*process{s.start("source"), s.start("sink")}
	conn := s.connect()
	began := s.simulator.Now()
	s.eventually(2*time.Minute, "the first load", func() bool { return s.completeThrough(conn, []string{"contacts"}, began) }, processes...)

	log, err := s.js.Stream(context.Background(), "HUBSPOT")
	if err != nil {
		t.Fatal(err)
	}
	s.eventually(runBound, "the recycle bin is read: a first walk would find planted ones", func() bool { return binWalked(log, "4711", "contacts") }, processes...)
	v := &vandal{stack: s, conn: conn, portal: "4711", log: log, ids: ids[:2_000], want: map[difference.Hop]map[difference.Kind]int64{}}
	for i := range n {
		v.falsifyLog(archived[i], losers[i], i)
	}
	s.eventually(time.Minute, "the sink applies what was planted", func() bool { return s.applied(conn) }, processes...)
	v.falsifyTables(n)
	stop := changeAll(t, s.simulator, ids[2_000:])
	defer stop()

	// What is missing in the log has a row all the same.
	found := map[difference.Hop]map[difference.Kind]int64{
		difference.HubSpotToLog: v.want[difference.HubSpotToLog], difference.LogToTables: maps.Clone(v.want[difference.LogToTables]),
	}
	found[difference.LogToTables][difference.Ghost] += n
	r := s.verify(exitUnhealthy)
	v.requireFound(r, found)
	planted := int64(0)
	for _, kinds := range v.want {
		for _, n := range kinds {
			planted += n
		}
	}
	if planted < 1_000 || r.Differences != planted+n {
		t.Errorf("%d differences found of %d planted", r.Differences, planted)
	}

	repaired := s.verify(exitDone, "--repair")
	v.requireFound(repaired, v.want)
	if repaired.Remaining != 0 {
		t.Errorf("one pass leaves %d differences", repaired.Remaining)
	}
	clean := s.verify(exitDone)
	v.requireFound(clean, nil)
	changes := stop()
	for name, r := range map[string]verification{"with a thousand differences": repaired, "with none": clean} {
		per := float64(r.Requests) / float64(r.Reports[0].Compared) * 10_000
		t.Logf("%s: %d requests for %d records: %.1f per 10,000; %.1f s; %d changes meanwhile, in all", name, r.Requests, r.Reports[0].Compared, per, r.Seconds, changes)
		if name == "with none" && per > 110 {
			t.Errorf("%.1f requests per 10,000 records, want 110 at most", per)
		}
	}

	// The tables equal HubSpot, and everything is signed off.
	ended := s.simulator.Now()
	s.eventually(2*time.Minute, "the last changes", func() bool { return s.completeThrough(conn, []string{"contacts"}, ended) && s.applied(conn) }, processes...)
	s.requireLiveEqual(conn, "contacts")
	var logs, differences, failed int64
	err = conn.QueryRow(context.Background(), `select count(*), sum(records_updated), sum(records_failed) from hubspot.sync_logs where sync_type = 'verify'`).
		Scan(&logs, &differences, &failed)
	if err != nil || logs != 3 || differences != 2*planted+n || failed != planted+n {
		t.Errorf("sync_logs has %d runs, %d differences, %d left (%v)", logs, differences, failed, err)
	}
}

// binWalked reports whether the source has walked over the whole recycle bin.
func binWalked(log jetstream.Stream, portal, object string) bool {
	m, err := log.GetLastMsgForSubject(context.Background(), schemas.ControlSubject(schemas.KindCursor, portal, object))
	if err != nil {
		return false
	}
	c, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	cursor, is := c.(*schemas.Cursor)
	return err == nil && is && cursor.ArchivedWalk != nil && !cursor.ArchivedWalk.Running()
}

// requireLiveEqual compares the rows that live with the records that do: the others are what was planted.
func (s *stack) requireLiveEqual(conn *pgx.Conn, object string) {
	s.t.Helper()
	live := func(yield func(proof.Record, error) bool) {
		for r, err := range proof.Truth(context.Background(), s.hubspot, object) {
			if (err != nil || !r.Archived && !r.Purged && r.MergedInto == "") && !yield(r, err) {
				return
			}
		}
	}
	r, err := proof.Compare(context.Background(), conn, "hubspot", object, live)
	if err != nil {
		s.t.Fatal(err)
	}
	var ended int
	if err := conn.QueryRow(context.Background(), `select count(*) from hubspot.`+object+` where _archived`).Scan(&ended); err != nil {
		s.t.Fatal(err)
	}
	if r.Missing > 0 || r.Different > 0 || r.Extra != ended || r.Source == 0 {
		s.t.Errorf("%d missing, %d different, %d superfluous with %d ended\n%s", r.Missing, r.Different, r.Extra, ended, strings.Join(r.Examples, "\n"))
	}
}

// applied reports whether the tables have everything that is in the log.
func (s *stack) applied(conn *pgx.Conn) bool {
	var at uint64
	err := conn.QueryRow(context.Background(), `select coalesce(max(seq), 0) from hubspot.positions`).Scan(&at)
	return err == nil && at >= s.lastSeq()
}

func TestVerifyWorksWithoutADatabaseAndWithoutAToken(t *testing.T) {
	t.Parallel()
	s := newStack(t, simulator.Options{Contacts: 50, Latency: -1, IndexLag: simulator.Lag{Off: true}})
	s.env = []string{"HUBTAIL_OBJECTS=contacts"}
	s.must(nil, "backfill")
	for _, test := range []struct {
		name, hop, skipped string
		env                []string
	}{
		{"no database", "HubSpot > log", "not compared with the tables: no database given", []string{"DATABASE_URL="}},
		{"no token", "log > tables", "not compared with HubSpot: no token given", []string{"HUBSPOT_ACCESS_TOKEN="}},
	} {
		r := s.must(test.env, "verify")
		if !strings.Contains(r.stdout, test.hop) || !strings.Contains(r.stdout, test.skipped) || strings.Count(r.stdout, " > ") != 1 ||
			!strings.Contains(r.stdout, "0 differences, 0 repaired") {
			t.Errorf("%s:\n%s%s", test.name, r.stdout, r.stderr)
		}
	}
	before := s.simulator.Stats().ByRoute["list contacts"]
	var plans []connector.VerifyPlan
	if text := s.must(nil, "verify", "--dry-run", "--json").stdout; json.Unmarshal([]byte(text), &plans) != nil || len(plans) == 0 || plans[0].Requests == 0 {
		t.Errorf("the plan as JSON:\n%s", text)
	}
	r := s.must(nil, "verify", "--dry-run")
	if !strings.Contains(r.stdout, "contacts  50 ") || s.simulator.Stats().ByRoute["list contacts"] != before {
		t.Errorf("the plan is\n%s%s", r.stdout, r.stderr)
	}
	s.run([]string{"DATABASE_URL=", "HUBSPOT_ACCESS_TOKEN="}, "verify").complaint(t, exitUsage, "HUBSPOT_ACCESS_TOKEN", "DATABASE_URL")
}

func TestVerifyOfADifferenceSaysWhichAndHowToRepairIt(t *testing.T) {
	t.Parallel()
	s := newStack(t, simulator.Options{Contacts: 50, Latency: -1, IndexLag: simulator.Lag{Off: true}})
	s.env = []string{"HUBTAIL_OBJECTS=contacts"}
	s.must(nil, "backfill")
	id := s.simulator.IDs("contacts", 0, 1, 1)[0]
	if _, err := s.connect().Exec(context.Background(), `update hubspot.contacts set lastname = 'Wrong' where id::text = $1`, id); err != nil {
		t.Fatal(err)
	}
	r := s.run(nil, "verify")
	r.complaint(t, exitUnhealthy, "1 difference", "--repair")
	if !strings.Contains(r.stdout, "value      "+id+"  lastname is \"Wrong\"") {
		t.Errorf("it is not said which:\n%s", r.stdout)
	}
	s.run([]string{"HUBSPOT_ACCESS_TOKEN="}, "verify").complaint(t, exitUnhealthy, "1 difference") // without HubSpot: it does not count
	s.must(nil, "sync")
	s.showsVerified(t, exitUnhealthy, `\d+s ago, 1 left\n(.*\n)+! the last comparison of contacts left 1 differences`)
	if r := s.must(nil, "verify", "--repair"); !strings.Contains(r.stdout, "1 differences, 1 repaired") {
		t.Errorf("after the repair:\n%s", r.stdout)
	}
	s.must(nil, "sync")
	s.showsVerified(t, exitDone, `\d+s ago\n`)
	var fetched string
	err := s.connect().QueryRow(context.Background(), `select string_agg(records_fetched::text, ' ' order by sync_started_at) from hubspot.sync_logs where sync_type = 'verify'`).Scan(&fetched)
	if err != nil || fetched != "50 0 50" {
		t.Errorf("sync_logs has read %q from HubSpot: %v", fetched, err)
	}
}

// showsVerified fails the test unless status says of contacts when they were verified, by the log, the tables or both.
func (s *stack) showsVerified(t *testing.T, code int, want string) {
	t.Helper()
	for _, env := range [][]string{nil, {"DATABASE_URL="}, {"NATS_URL="}} {
		if r := s.run(env, "status"); r.code != code || !regexp.MustCompile(`(?m)^contacts .* `+want).MatchString(r.stdout) {
			t.Errorf("%q: exit code %d\n%s", env, r.code, r.stdout)
		}
	}
}

// TestVerifyAppliesAnEmbeddedLogItself has no other sink that could.
func TestVerifyAppliesAnEmbeddedLogItself(t *testing.T) {
	t.Parallel()
	s := newStack(t, simulator.Options{Contacts: 50, Latency: -1, IndexLag: simulator.Lag{Off: true}})
	data := t.TempDir()
	s.env = []string{"HUBTAIL_OBJECTS=contacts", "NATS_URL=", "HUBTAIL_DATA_DIR=" + data}
	s.must(nil, "backfill")
	if _, err := s.connect().Exec(context.Background(), `delete from hubspot.contacts`); err != nil {
		t.Fatal(err)
	}
	s.must(nil, "verify", "--repair")
	var rows, runs int
	err := s.connect().QueryRow(context.Background(), `select (select count(*) from hubspot.contacts), (select count(*) from hubspot.sync_logs where sync_type = 'verify')`).Scan(&rows, &runs)
	if err != nil || rows != 50 || runs != 1 {
		t.Errorf("%d rows, %d runs (%v)", rows, runs, err)
	}
}
