package sink_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// teller writes records' events as a source does: each names the one before it.
type teller struct {
	*rig
	last map[string]*schemas.Event
	seq  map[string]uint64
}

func newTeller(r *rig) *teller {
	return &teller{rig: r, last: map[string]*schemas.Event{}, seq: map[string]uint64{}}
}

// tell publishes an event; nil values are those that the record had. A purged one's history goes first.
func (w *teller) tell(id int64, o schemas.Op, values props, change ...func(*schemas.Event)) uint64 {
	w.t.Helper()
	subject := schemas.RecordSubject(portal, "contacts", strconv.FormatInt(id, 10))
	last := w.last[subject]
	m := event("contacts", id, 0, values, append([]func(*schemas.Event){op(o), func(e *schemas.Event) {
		e.UpdatedAt = e.UpdatedAt.Add(time.Duration(len(w.seq)) * time.Second)
		if e.PreviousSeq = w.seq[subject]; last != nil {
			if values == nil {
				e.Properties = last.Properties
			}
			e.Changed, e.Previous = schemas.Diff(last.Properties, e.Properties)
		}
		if o == schemas.OpPurged {
			e.Archived, e.Properties, e.Previous, e.Changed, e.PreviousSeq = true, nil, nil, nil, 0
			if err := w.stream.Purge(w.t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
				w.t.Fatal(err)
			}
		}
		w.last[subject] = e
	}}, change...)...)
	w.seq[subject] = w.publish(m)
	return w.seq[subject]
}

// dated are the tables, each with a query of its rows as text, without when they were written. A value counts the same in
// its column and in _extra: columns of properties that came later are no difference.
var dated = map[string]string{
	"contacts":        `select jsonb_strip_nulls(to_jsonb(t) - '_synced_at' - '_extra' || coalesce(_extra, '{}')) from %[1]s.contacts t`,
	"links":           `select to_jsonb(t) from %[1]s.links t`,
	"link_sets":       `select to_jsonb(t) - '_synced_at' from %[1]s.link_sets t`,
	"pipelines":       `select to_jsonb(t) from %[1]s.pipelines t`,
	"pipeline_stages": `select to_jsonb(t) from %[1]s.pipeline_stages t`,
	"erased":          `select to_jsonb(t) - 'erased_at' from %[1]s.erased t`,
	"sync_logs":       `select to_jsonb(t) from %[1]s.sync_logs t`,
	"properties":      `select jsonb_build_object('name', name, 'type', type, 'label', label, 'archived', archived) from %[1]s.properties`,
}

// snapshot returns the rows of the tables, ordered.
func (b *bundle) snapshot(schema string) map[string][]string {
	b.t.Helper()
	all := map[string][]string{}
	for table, query := range dated {
		rows, err := b.pool.Query(b.t.Context(), "select x::text from ("+fmt.Sprintf(query, schema)+") as s(x)")
		if err != nil {
			b.t.Fatal(err)
		}
		if all[table], err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			b.t.Fatalf("%s: %v", table, err)
		}
		slices.Sort(all[table])
	}
	return all
}

func (r *rig) newSink() *sink.Sink {
	r.t.Helper()
	s, err := sink.New(r.t.Context(), sink.Config{Pool: r.pool, JetStream: r.js, Schema: schema, Logger: testLogger(r.t)})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) consumers() []string {
	r.t.Helper()
	var names []string
	list := r.stream.ListConsumers(r.t.Context())
	for c := range list.Info() {
		if c.Config.Durable != "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// TestTablesAsOfEveryMomentAreWhatTheyWere changes records, links, definitions and pipelines at random, keeps what the live
// tables had at some moments, and builds those moments again from the log.
func TestTablesAsOfEveryMomentAreWhatTheyWere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := newTeller(r)
	r.start()
	rng := rand.New(rand.NewPCG(5, 3))
	const records = 40
	r.publish(definitions(t, "contacts", 0, "email", "string", "amount", "number"))
	kept := map[uint64]map[string][]string{}
	gone := map[int64]bool{}
	state := map[int64]schemas.Op{}
	for step := range 240 {
		id := int64(rng.IntN(records) + 1)
		values := props{"email": fmt.Sprintf("s%d@x", step), "amount": strconv.Itoa(step), "later": fmt.Sprint("l", step%3)}
		if step%7 == 0 {
			values["amount"] = "about " + values["amount"]
		}
		var last uint64
		switch before := state[id]; {
		case gone[id]:
			continue
		case step%9 == 4:
			last = r.publish(linkSet(t, id, int64(step), int64(step%5)))
		case before == "":
			state[id], last = schemas.OpCreated, w.tell(id, schemas.OpCreated, values)
		case before == schemas.OpMerged:
			continue
		case before == schemas.OpArchived:
			state[id], last = schemas.OpRestored, w.tell(id, schemas.OpRestored, values)
		case step%11 == 3:
			state[id], last = schemas.OpArchived, w.tell(id, schemas.OpArchived, nil)
		case step%31 == 5:
			state[id], last = schemas.OpMerged, w.tell(id, schemas.OpMerged, nil, func(e *schemas.Event) { e.MergedInto = "1" })
		case step%40 == 17:
			gone[id], last = true, w.tell(id, schemas.OpPurged, nil)
		default:
			last = w.tell(id, schemas.OpUpdated, values)
		}
		switch step {
		case 90:
			last = r.publish(definitions(t, "contacts", 0, "email", "string", "amount", "number", "later", "string"))
		case 50, 130:
			last = r.publish(control(t, 0, &schemas.Pipelines{Portal: portal, Object: "contacts", Pipelines: []schemas.Pipeline{
				{ID: "p", Label: fmt.Sprint("P", step), Stages: []schemas.Stage{{ID: "s", Label: fmt.Sprint("S", step)}}},
			}}))
		case 70, 150, 200:
			last = r.publish(control(t, 0, &schemas.Run{RunID: fmt.Sprint("run", step), Portal: portal, Object: "contacts", SyncType: "full", Status: "success",
				StartedAt: time.UnixMilli(int64(step)), CompletedAt: time.UnixMilli(int64(step) + 5)}))
		}
		if step%29 == 28 {
			r.applied(last)
			kept[last] = r.snapshot(schema)
		}
	}
	if len(kept) < 5 || len(gone) < 2 {
		t.Fatalf("%d moments, %d erased: this tests too little", len(kept), len(gone))
	}
	before := r.consumers()
	s := r.newSink()
	for _, seq := range slices.Sorted(maps.Keys(kept)) {
		result, err := s.BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: seq}}) // each replaces the one before
		if err != nil {
			t.Fatal(err)
		}
		want, got := forgetErased(kept[seq], gone), forgetErased(r.snapshot("past"), gone)
		for table := range dated {
			if !slices.Equal(want[table], got[table]) {
				t.Errorf("at %d, %s:\n%s\nwant\n%s", seq, table, strings.Join(got[table], "\n"), strings.Join(want[table], "\n"))
			}
		}
		// Whoever was erased is a tombstone at all times.
		r.want(strconv.Itoa(len(gone)), `select count(*) from past.contacts where _purged and _archived and _extra is null and email is null`)
		r.want("0", `select count(*) from past.dead_letters`)
		r.want(strconv.FormatUint(seq, 10), `select seq from past.positions`)
		if result.Messages == 0 || len(result.Missing)+len(result.Replaced) > 0 {
			t.Errorf("%+v", result)
		}
	}
	if after := r.consumers(); !slices.Equal(before, after) {
		t.Errorf("durable consumers are %v, before %v", after, before)
	}
}

// forgetErased leaves out what is about erased records, which is not what it was.
func forgetErased(tables map[string][]string, gone map[int64]bool) map[string][]string {
	left := map[string][]string{}
	for table, rows := range tables {
		if table == "erased" {
			continue
		}
		for _, row := range rows {
			about := false
			for id := range gone {
				for _, key := range []string{`"id": %d,`, `"from_id": %d,`} {
					about = about || (table == "contacts" || strings.HasPrefix(table, "link")) && strings.Contains(row, fmt.Sprintf(key, id))
				}
			}
			if !about {
				left[table] = append(left[table], row)
			}
		}
	}
	return left
}

func TestTablesAsOfAMomentThatIsNoLongerKeptAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := newTeller(r)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	w.tell(1, schemas.OpCreated, props{"email": "first@x"})
	then := w.tell(2, schemas.OpCreated, props{"email": "second@x"})
	var reaches uint64
	for i := range 20 { // the log keeps 16
		if seq := w.tell(2, schemas.OpUpdated, props{"email": fmt.Sprint(i, "@x")}); i == 20-16 {
			reaches = seq
		}
	}
	r.start()
	r.applied(r.publish(linkSet(t, 1, 5)))
	s := r.newSink()
	o := sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: then}}
	_, err := s.BuildAsOf(t.Context(), o)
	var missing *history.NotCoveredError
	if !errors.As(err, &missing) || len(missing.Gaps) != 1 || missing.Gaps[0].ID != "2" || missing.Seq != reaches {
		t.Fatalf("%v, want that contacts 2 is kept from %d on", err, reaches)
	}
	r.want("true 0", `select concat_ws(' ', (to_regnamespace('past') is null)::text, (select count(*) from hubspot.copies))`)

	o.Partial = true
	result, err := s.BuildAsOf(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Missing) != 1 || result.Missing[0].ID != "2" {
		t.Errorf("%+v", result)
	}
	r.want("1 first@x", `select string_agg(concat_ws(' ', id, email), ',') from past.contacts`)
	o.Partial, o.At.Seq = false, reaches
	if _, err = s.BuildAsOf(t.Context(), o); err != nil {
		t.Errorf("at %d, from which on all is kept: %v", reaches, err)
	}
	r.want("4@x", `select email from past.contacts where id = 2`)
	r.want("0", `select count(*) from past.links`)
}

func TestTablesAsOfAMomentTakeNoSchemaOfOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := newTeller(r)
	r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	then := w.tell(1, schemas.OpCreated, props{"email": "first@x"})
	r.applied(then)
	r.exec(`create schema other; create table other.mine (x int); create schema blank`)
	s := r.newSink()
	build := func(schema string) error {
		_, err := s.BuildAsOf(t.Context(), sink.AsOfOptions{Schema: schema, At: history.Moment{Seq: then}})
		return err
	}
	if err := sink.RegisterCopy(t.Context(), r.pool, schema, sink.Copy{Schema: "old", Kind: sink.CopyOld, Stream: "HUBSPOT"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"other", schema, "old"} {
		if err := build(name); !errors.Is(err, sink.ErrNotAsOf) {
			t.Errorf("into %s: %v", name, err)
		}
	}
	r.want("0", `select count(*) from other.mine`)
	r.want("1", `select count(*) from hubspot.contacts`)
	if err := build("blank"); err != nil {
		t.Errorf("into an empty schema: %v", err)
	}
	// What a run left that died is taken over: it is registered.
	r.exec(`update hubspot.copies set installation = null where schema_name = 'blank'`)
	r.exec(`truncate blank.positions, blank.objects cascade`)
	if err := build("blank"); err != nil {
		t.Errorf("into what a crash left: %v", err)
	}
	r.want("as_of "+strconv.FormatUint(then, 10)+" ''", `select concat_ws(' ', kind, as_of_seq, quote_literal(phase)) from hubspot.copies where schema_name = 'blank'`)
	r.exec(`delete from hubspot.copies where schema_name = 'blank'; truncate blank.positions, blank.objects cascade`)
	if err := build("blank"); !errors.Is(err, sink.ErrNotAsOf) {
		t.Errorf("into migrated tables that are not registered: %v", err)
	}
}

func TestOfTwoBuildsOfOneSchemaTheLaterOneIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := newTeller(r)
	r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	first := w.tell(1, schemas.OpCreated, props{"email": "first@x"})
	w.tell(1, schemas.OpUpdated, props{"email": "later@x"})
	second := w.tell(2, schemas.OpCreated, props{"email": "second@x"})
	r.applied(second)
	s := r.newSink()
	o := sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: second}}
	nested := false
	o.Progress = func(int64, int64) { // in the middle of one, another
		if nested {
			return
		}
		nested = true
		if _, err := s.BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: first}}); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.BuildAsOf(t.Context(), o); !errors.Is(err, sink.ErrMoved) || !nested {
		t.Errorf("the build that was overtaken: %v", err)
	}
	r.want("1 first@x", `select string_agg(concat_ws(' ', id, email), ',' order by id) from past.contacts`)
	r.want(strconv.FormatUint(first, 10)+" ''", `select concat_ws(' ', as_of_seq, quote_literal(phase)) from hubspot.copies`)
}

// TestTablesAsOfAMomentKeepErasedWhatAnEarlierStreamErased has a log that knows the record and not its deletion, which only the
// live table erased has.
func TestTablesAsOfAMomentKeepErasedWhatAnEarlierStreamErased(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	for id := range int64(150) { // as many go in by COPY
		r.publish(event("contacts", id+1, 1, props{"email": private}))
	}
	last := r.publish(linkSet(t, 1, 5), linkSet(t, 2, 7))
	r.applied(last)
	r.exec(`insert into hubspot.erased (object, record_id, _seq) values ('contacts', 1, 9000), ('companies', 7, 9001)`)
	if _, err := r.newSink().BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: last}}); err != nil {
		t.Fatal(err)
	}
	r.want("t null", `select concat_ws(' ', _purged, coalesce(email, 'null')) from past.contacts where id = 1`)
	r.want("149 0", `select concat_ws(' ', (select count(*) from past.contacts where email is not null), (select count(*) from past.links))`)
}

func TestTablesAsOfAMomentAreClosedAndErasedLikeTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`do $$ begin
		if not exists (select from pg_roles where rolname = 'anon') then create role anon nologin; end if;
	exception when duplicate_object or unique_violation then null; end $$`)
	r.exec(`alter default privileges grant all on tables to anon`)
	w := newTeller(r)
	r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	w.tell(1, schemas.OpCreated, props{"email": "first@x"})
	r.publish(linkSet(t, 1, 5))
	then := w.tell(2, schemas.OpCreated, props{"email": "second@x"})
	r.applied(then)
	result, err := r.newSink().BuildAsOf(t.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: then}})
	if err != nil || result.Written != 2 {
		t.Fatalf("%+v %v", result, err)
	}
	r.want("0", `select count(*) from pg_class where relnamespace = 'past'::regnamespace and relkind = 'r' and not relrowsecurity`)
	r.want("0", `select count(*) from pg_class where relnamespace = 'past'::regnamespace and relkind = 'r' and has_table_privilege('anon', oid, 'select')`)
	r.want("false", `select has_schema_privilege('anon', 'past', 'usage')`)
	// The live sink erases there, too.
	r.want("1 1", `select concat_ws(' ', (select count(*) from past.links), (select count(*) from past.contacts where email = 'first@x'))`)
	r.applied(w.tell(1, schemas.OpPurged, nil))
	eventually(t, "the erasure of the copy", func() bool {
		return r.value(`select concat_ws(' ', (select count(*) from past.links), (select count(*) from past.contacts where email is not null), (select count(*) from past.contacts where _purged))`) == "0 1 1"
	})
}
