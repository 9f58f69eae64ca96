package sink_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// reshaped waits until nothing is left to do about columns.
func (r *rig) reshaped() {
	r.t.Helper()
	eventually(r.t, "reshaped", func() bool {
		return r.value(`select (select count(*) from hubspot.objects where reshape or refill) + (select count(*) from hubspot.properties where fill or next_name is not null)`) == "0"
	})
}

// equalToTheLog compares the tables with the log.
func (r *rig) equalToTheLog(s *running) {
	r.t.Helper()
	reports, err := s.Verify(r.t.Context(), sink.VerifyOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, report := range reports {
		if report.Differences() > 0 || report.Pending > 0 {
			r.t.Errorf("%s: %d differences, %d pending: %v", report.Object, report.Differences(), report.Pending, report.Examples)
		}
	}
}

// rawValues are what HubSpot may hold, whatever a property's type says.
var rawValues = []string{
	"1e3", "007", "12.50", "-0", "1,5", "0.10", "1600000000000", "1709164800000", "1600000000000.0", "2024-02-29", "2024-02-30",
	"2026-02-25T16:23:49.023Z", "2026-02-25T16:23:49Z", "2026-02-25T18:23:49.123456+02:00", "true", "false", "TRUE", "yes", "plain text", "a\x00b", " 5 ", "🎉",
}

func TestEveryChangeOfTypeKeepsEveryRawValue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	types := []string{"string", "number", "bool", "date", "datetime"}
	sqlTypes := map[string]string{"string": "text", "number": "numeric", "bool": "boolean", "date": "date", "datetime": "timestamp with time zone"}
	var before, after []string
	for _, from := range types {
		for _, to := range types {
			before, after = append(before, from+"_"+to, from), append(after, from+"_"+to, to)
		}
	}
	r.publish(definitions(t, "contacts", 0, before...))
	var last uint64
	for id, raw := range rawValues {
		values := props{}
		for i := 0; i < len(before); i += 2 {
			values[before[i]] = raw
		}
		last = r.publish(event("contacts", int64(id), 0, values))
	}
	r.applied(last)
	for i, pairs := range [][]string{after, before, after} { // there, back, and there again
		last = r.publish(definitions(t, "contacts", 0, pairs...))
		r.applied(last)
		r.reshaped()
		r.equalToTheLog(s)
		for j := 0; j < len(pairs); j += 2 {
			r.want(sqlTypes[pairs[j+1]], `select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = $1`, pairs[j])
		}
		if t.Failed() {
			t.Fatalf("after change %d", i)
		}
	}
}

func TestLiveWritesGoOnWhileAColumnChangesItsType(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string", "amount", "string"))
	const rows = 4_000
	var page []sink.Message
	for id := range rows {
		amount := fmt.Sprint(id)
		if id%100 == 0 {
			amount = "many"
		}
		page = append(page, event("contacts", int64(id), 0, props{"email": "a@x", "amount": amount}))
	}
	for part := range slices.Chunk(page, 1_000) {
		r.publishAll(part)
	}
	r.applied(rows + 1)
	// On a busy machine one change may be over before a row is written.
	for attempt := 1; ; attempt++ {
		typ, sqlType := "number", "numeric"
		if attempt%2 == 0 {
			typ, sqlType = "string", "text"
		}
		took, held, written := r.writeDuring(rows, typ, sqlType)
		t.Logf("the change took %s, the table was locked for %s of it, %d rows were written meanwhile", took, held, written)
		if written > 0 && held < took/2 {
			break
		}
		if attempt == 10 || t.Failed() {
			t.Fatal("rows could not be written while a column changed its type")
		}
	}
	r.reshaped()
	r.equalToTheLog(s)
}

// writeDuring changes the type of a column and writes and reads rows meanwhile. It returns how long that took, how long the
// table was locked for everybody at most, and how many rows were written before the change was done. A reader sees a value of
// every row at any time.
func (r *rig) writeDuring(rows int, typ, sqlType string) (took, held time.Duration, written int) {
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for id := 0; ; id = (id + 7919) % rows {
			select {
			case <-stop:
				return
			default:
			}
			var value *string
			err := r.pool.QueryRow(r.t.Context(), `select coalesce(amount::text, _extra->>'amount') from hubspot.contacts where id = $1`, pgx.QueryExecModeExec, id).Scan(&value)
			if err != nil || value == nil {
				r.t.Errorf("row %d: value %v, error %v", id, value, err)
				return
			}
		}
	})
	group.Go(func() { held = r.longestLock(stop) })
	began := time.Now()
	r.publish(definitions(r.t, "contacts", 0, "email", "string", "amount", typ))
	for i := 0; r.value(`select column_type from hubspot.properties where name = 'amount'`) != sqlType; i++ {
		if time.Since(began) > time.Minute {
			r.t.Error("the column keeps its type")
			break
		}
		last := r.publish(event("contacts", int64(i*37%rows), 0, props{"email": fmt.Sprint("live ", i), "amount": fmt.Sprint(i)}))
		r.applied(last)
		if r.value(`select column_type from hubspot.properties where name = 'amount'`) != sqlType {
			written++
		}
	}
	took = time.Since(began)
	close(stop)
	group.Wait()
	return took, held, written
}

// longestLock watches until stop is closed. It returns how long the contacts were locked for everybody at a time, at most.
func (r *rig) longestLock(stop <-chan struct{}) (held time.Duration) {
	var since time.Time
	for {
		select {
		case <-stop:
			return held
		default:
		}
		var locked bool
		if err := r.pool.QueryRow(r.t.Context(), `select exists (select from pg_locks where relation = 'hubspot.contacts'::regclass
			and mode = 'AccessExclusiveLock' and granted)`).Scan(&locked); err != nil {
			r.t.Error(err)
			return held
		}
		switch {
		case !locked:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		default:
			held = max(held, time.Since(since))
		}
	}
}

func TestALongReaderHoldsUpNoWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "email", "string", "n", "string"))
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "a@x", "n": "1e3"})))
	reader, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback(t.Context()) //nolint:errcheck // a no-op in the end
	if _, err := reader.Exec(t.Context(), `select * from hubspot.contacts`); err != nil {
		t.Fatal(err)
	}
	last := r.publish(definitions(t, "contacts", 0, "email", "string", "n", "number", "fresh", "string"),
		event("contacts", 2, 0, props{"email": "b@x", "n": "7", "fresh": "f"}))
	r.applied(last)
	r.want(`7 {"fresh": "f"}`, `select concat(n, ' ', _extra) from hubspot.contacts where id = 2`)
	r.want("0", `select count(*) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'fresh'`)
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.reshaped()
	r.want("1000 7 f", `select string_agg(n::text, ' ' order by id) || ' ' || max(fresh) from hubspot.contacts`)
	r.equalToTheLog(s)
}

func TestWhatKeepsAColumnsTypeIsNamedAndItsGoingNoticed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.publish(definitions(t, "contacts", 0, "a", "string", "b", "string", "c", "string"))
	r.applied(r.publish(event("contacts", 1, 0, props{"a": "5", "b": "6", "c": "7"})))
	r.exec(`create view public.report as select a from hubspot.contacts`)
	r.exec(`create index mine on hubspot.contacts (b)`)
	last := r.publish(definitions(t, "contacts", 0, "a", "number", "b", "number", "c", "number"))
	r.applied(last)
	r.reshaped()
	r.want("text text numeric", `select string_agg(column_type, ' ' order by name) from hubspot.properties`)
	r.want("true true", `select concat((select note like '%view report%restart the sink%' from hubspot.properties where name = 'a')::text, ' ',
		(select note like '%index%mine%' from hubspot.properties where name = 'b')::text)`)
	r.want("1", `select count(*) from pg_indexes where indexname = 'mine'`)
	r.applied(r.publish(event("contacts", 2, 0, props{"a": "many", "b": "1e3", "c": "8"})))
	r.want("many 1e3 8", `select concat_ws(' ', a, b, c) from hubspot.contacts where id = 2`)
	_ = s.stop()
	r.exec(`drop view public.report`)
	s = r.start()
	eventually(t, "the type follows", func() bool {
		return r.value(`select column_type from hubspot.properties where name = 'a'`) == "numeric"
	})
	r.reshaped()
	r.want("0", `select count(*) from hubspot.properties where name = 'a' and note is not null`)
	r.want(`5 {"a": "many"}`, `select string_agg(coalesce(a::text, _extra::text), ' ' order by id) from hubspot.contacts`)
	r.equalToTheLog(s)
}

func TestColumnsRunOutWithoutALoss(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"), event("contacts", 1, 2, props{"email": "5", "late": "l"}))
	// Postgres rule: the number of a dropped column is not used again.
	b.exec(`do $$ begin for i in 1..1485 loop
		execute 'alter table hubspot.contacts add column burnt integer'; execute 'alter table hubspot.contacts drop column burnt'; end loop; end $$`)
	var many []string
	values := props{}
	for i := range 10 {
		many = append(many, fmt.Sprint("late", i), "string")
		values[fmt.Sprint("late", i)] = "l"
	}
	b.apply(definitions(t, "contacts", 3, append(many, "email", "string")...), event("contacts", 2, 4, values))
	b.apply(definitions(t, "contacts", 5, append(many, "email", "number")...))
	b.want("10", `select count(*) from (select jsonb_object_keys(_extra) from hubspot.contacts where id = 2
		union all select j.key from hubspot.contacts c, jsonb_each(to_jsonb(c)) j where id = 2 and key like 'late%' and value <> 'null') v`)
	b.want("true", `select count(*) > 0 from hubspot.properties where column_name is null and note like '%used up%hubtail rebuild contacts%'`)
	b.want("text", `select column_type from hubspot.properties where name = 'email' and note like '%used up%'`)
}

func TestWhatHubSpotRenamesOrMakesAnewLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "plan", "string", "email", "string"), event("contacts", 1, 2, props{"plan": "gold", "email": "a@x"}))
	// Another internal name: HubSpot has another property, and the first one is gone.
	b.apply(definitions(t, "contacts", 3, "tier", "string", "email", "string"), event("contacts", 1, 4, props{"tier": "gold", "email": "a@x"}))
	b.want("gold", `select tier from hubspot.contacts`)
	b.want("true", `select archived from hubspot.properties where name = 'plan'`)
	// Deleted, and made again with another type. What was changed while it was gone stays as it was.
	b.apply(event("contacts", 2, 5, props{"plan": "7"}))
	b.apply(definitions(t, "contacts", 6, "plan", "number", "email", "string"), event("contacts", 3, 7, props{"plan": "8"}))
	b.want("7 8", `select string_agg(plan::text, ' ' order by id) from hubspot.contacts`)
	b.want("false", `select archived from hubspot.properties where name = 'plan'`)
	// Options are the catalogue's alone.
	option := func(seq uint64, value string) sink.Message {
		return control(t, seq, &schemas.PropertyDefinitions{Portal: portal, Object: "contacts",
			Properties: []schemas.Property{{Name: "plan", Type: "enumeration", Label: "P", Options: []schemas.Option{{Value: value, Label: "L"}}}}})
	}
	b.apply(option(8, "x"))
	b.want("text x", `select column_type || ' ' || (options->0->>'value') from hubspot.properties where name = 'plan'`)
	generation := b.value(`select generation from hubspot.objects`)
	b.apply(option(9, "y"))
	b.want(generation+" y", `select concat(o.generation, ' ', options->0->>'value') from hubspot.properties p join hubspot.objects o using (object) where name = 'plan'`)
}

// TestARandomDriftEndsInTheModelsState lets definitions change at random while records change, connections break and sinks are
// killed, and compares with the log, whose last events are the model. HUBTAIL_DRIFT_SEED chooses another run.
func TestARandomDriftEndsInTheModelsState(t *testing.T) {
	t.Parallel()
	seed := uint64(20261123)
	if text := os.Getenv("HUBTAIL_DRIFT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t)
	start := func(consumer string) *running {
		victim := openPool(t, r.url+"&application_name=victim")
		return r.start(func(c *sink.Config) { c.Pool, c.Consumer = victim, consumer })
	}
	consumers := []string{sink.DefaultConsumer, "other"} // two that write all, to the same tables
	sinks := []*running{start(consumers[0]), start(consumers[1])}
	types := []string{"string", "number", "bool", "date", "datetime", "enumeration"}
	names := []string{"a", "b", "c", "A", "id", `quo"te`, strings.Repeat("long", 20) + "1", strings.Repeat("long", 20) + "2", "select", "ü"}
	wanted := map[string]string{}
	var last uint64
	for range 8 {
		var pairs []string
		for _, name := range names {
			if random.IntN(4) > 0 {
				wanted[name] = types[random.IntN(len(types))]
				pairs = append(pairs, name, wanted[name])
			}
		}
		r.publish(definitions(t, "contacts", 0, pairs...))
		var page []sink.Message
		for range 150 {
			values := props{}
			for _, name := range names {
				if random.IntN(3) > 0 {
					values[name] = rawValues[random.IntN(len(rawValues))]
				}
			}
			page = append(page, event("contacts", random.Int64N(1_500), 0, values))
		}
		last = r.publishAll(page)
		switch random.IntN(3) {
		case 0: // in the middle of whatever they do
			r.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'victim'`)
		case 1:
			i := random.IntN(len(sinks))
			_ = sinks[i].stop()
			sinks[i] = start(consumers[i])
		}
	}
	r.applied(last)
	r.reshaped()
	r.equalToTheLog(r.start()) // over connections that nobody kills
	// One that HubSpot's list had for so short a time that no column was made meanwhile has its values in _extra.
	r.want("null", `select string_agg(name || coalesce(': ' || note, ''), ', ') from hubspot.properties where note is not null or column_name is null and not archived`)
	r.want("0", `select count(*) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and not attisdropped and attname like '\_next\_%'`)
	sqlTypes := map[string]string{"string": "text", "enumeration": "text", "number": "numeric", "bool": "boolean", "date": "date", "datetime": "timestamptz"}
	for name, typ := range wanted {
		if r.value(`select archived from hubspot.properties where name = $1`, name) == "false" {
			r.want(sqlTypes[typ], `select column_type from hubspot.properties where name = $1`, name)
		}
	}
}

func TestColumnsThatPostgresRefusesStopNothing(t *testing.T) {
	t.Parallel()
	for name, forbidden := range map[string]string{"swap": `sql_drop`, "alter": `ddl_command_end when tag in ('ALTER TABLE')`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.start()
			r.publish(definitions(t, "contacts", 0, "email", "string", "n", "string"))
			r.applied(r.publish(event("contacts", 1, 0, props{"email": "a@x", "n": "5"})))
			r.exec(`create function public.no() returns event_trigger language plpgsql as $$ begin raise exception 'no change without a ticket'; end $$`)
			r.exec(`create event trigger no on ` + forbidden + ` execute function public.no()`)
			last := r.publish(definitions(t, "contacts", 0, "email", "string", "n", "number"), event("contacts", 2, 0, props{"n": "1e3"}))
			r.applied(last)
			eventually(t, "the refusal is noted", func() bool {
				return strings.Contains(r.value(`select note from hubspot.properties where name = 'n'`), "ticket")
			})
			r.reshaped()
			r.want("text", `select column_type from hubspot.properties where name = 'n'`)
			r.want("1e3", `select n from hubspot.contacts where id = 2`)
			r.exec(`drop event trigger no`)
			_ = s.stop()
			s = r.start()
			eventually(t, "the type follows", func() bool {
				return r.value(`select column_type from hubspot.properties where name = 'n'`) == "numeric"
			})
			r.reshaped()
			r.want("0", `select count(*) from hubspot.properties where note is not null`)
			r.want("0", `select count(*) from hubspot.dead_letters`)
			r.equalToTheLog(s)
		})
	}
}
