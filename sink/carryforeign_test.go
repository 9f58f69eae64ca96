package sink_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/sink"
)

func TestAForeignKeyIsCheckedThoughTheRebuildWasKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(10))
	r.exec(`create table public.orders (id int, contact bigint constraint fk references hubspot.contacts (id)); insert into public.orders values (1, 5);
		comment on constraint fk on public.orders is 'ours'; alter table public.orders add constraint later foreign key (id) references hubspot.deals (id) not valid`)
	const state = `select string_agg(concat_ws(' ', conname, convalidated, obj_description(oid, 'pg_constraint')), ', ' order by conname) from pg_constraint where conrelid = 'public.orders'::regclass and contype = 'f'`
	for _, next := range []string{"sink", "rebuild", "rollback"} {
		killed, kill := context.WithCancel(t.Context())
		defer kill()
		s := r.newTables()
		sink.AfterRebuildStep(s, func(phase string) {
			if phase == "swapping" {
				kill()
			}
		})
		if _, err := s.Rebuild(killed, sink.RebuildOptions{}); err == nil || !strings.Contains(err.Error(), "still to be checked") {
			t.Fatalf("%s: not killed: %v", next, err)
		}
		r.want("fk f hubtail: to be validated after a rebuild\nours, later f", state)
		switch next {
		case "sink":
			run := r.start()
			within(t, 2*time.Minute, "check of the key", func() bool { return r.value(state) == "fk t ours, later f" })
			if err := run.stop(); err != nil {
				t.Fatal(err)
			}
		case "rebuild":
			r.rebuild(r.newTables(), sink.RebuildOptions{})
		default:
			if _, err := r.newTables().Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		r.want("fk t ours, later f", state)
	}
}

func TestTablesThatAForeignKeyWouldNotHoldForAreNotSwappedIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(10))
	r.exec(`insert into hubspot.contacts (id, _seq) values (999, 0)`) // of no event
	r.exec(`create table public.orders (id int, contact bigint constraint fk references hubspot.contacts (id)); insert into public.orders values (1, 5), (2, 999), (3, null)`)
	s := r.newTables()
	was := r.value(`select 'hubspot.contacts'::regclass::oid`)
	_, err := s.Rebuild(t.Context(), sink.RebuildOptions{})
	if err == nil || !strings.Contains(err.Error(), "1 rows of orders refer to records") && !strings.Contains(err.Error(), "1 rows of public.orders refer to records") {
		t.Errorf("%v", err)
	}
	r.want(was, `select 'hubspot.contacts'::regclass::oid`)
	result := r.rebuild(s, sink.RebuildOptions{Force: true})
	if len(result.Lost) != 1 || !strings.Contains(result.Lost[0], "foreign key fk of public.orders") {
		t.Errorf("lost %q", result.Lost)
	}
	r.want("false", `select convalidated from pg_constraint where conname = 'fk'`)
	r.exec(`delete from public.orders where contact = 999`)
	r.rebuild(s, sink.RebuildOptions{})
	r.want("true", `select convalidated from pg_constraint where conname = 'fk'`)
}
