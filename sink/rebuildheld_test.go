package sink_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/sink"
)

// heldBy is what an owner builds on a text column, by the column's name.
var heldBy = map[string]string{
	"viewed":    `create view public.seen as select id, lower(viewed) as viewed from hubspot.contacts`,
	"indexed":   `create index mine on hubspot.contacts (lower(indexed))`,
	"checked":   `alter table hubspot.contacts add constraint mine check (checked <> 'x')`,
	"policed":   `create policy mine on hubspot.contacts for select using (policed like '3%')`,
	"triggered": `create function public.f() returns trigger language plpgsql as 'begin return new; end'; create trigger mine before insert on hubspot.contacts for each row when (new.triggered like '3%') execute function public.f()`,
	"generated": `alter table hubspot.contacts add column low text generated always as (lower(generated)) stored`,
	"defaulted": `alter table hubspot.contacts alter column defaulted set default 'none'`,
	"never":     `alter table hubspot.contacts alter column never set not null`,
}

func TestWhatHoldsAColumnsTypeHoldsItThroughARebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text, number, values := []string{"free", "string"}, []string{"free", "number"}, props{"free": "30"}
	for name := range heldBy {
		text, number = append(text, name, "string"), append(number, name, "number")
		values[name] = "30"
	}
	r.publish(definitions(t, "contacts", 0, text...))
	r.applied0(r.publish(event("contacts", 1, 1, values), event("contacts", 2, 2, values)))
	for _, sql := range heldBy {
		r.exec(sql)
	}
	r.publish(definitions(t, "contacts", 0, number...))
	r.applied0(r.publish(event("contacts", 3, 3, values)))
	types := `select string_agg(distinct column_type, ' ') filter (where name <> 'free') || ', free ' || min(column_type) filter (where name = 'free') || ', noted ' || count(note) from hubspot.properties`
	r.want("text, free numeric, noted 8", types)

	s := r.newTables()
	for _, o := range []sink.RebuildOptions{{Objects: []string{"contacts"}}, {}} {
		if plan, err := s.PlanRebuild(t.Context(), o); err != nil || len(plan.Lost) > 0 {
			t.Errorf("plan %+v, %v", plan, err)
		}
		r.rebuild(s, o)
		r.want("text, free numeric, noted 8", types)
		r.want("30", `select distinct free::text || case when concat_ws(' ', viewed, indexed, checked, policed, triggered, generated, defaulted, never, low) = '30 30 30 30 30 30 30 30 30' then '' else '?' end from hubspot.contacts`)
		r.wantAsLog(s)
	}
	r.want("30 30 30", `select string_agg(viewed, ' ') from public.seen`)
	r.want("'none'::text", `select column_default from information_schema.columns where table_schema = 'hubspot' and column_name = 'defaulted'`)

	// What held them goes while the next rebuild is at work, and the live columns change their types; then something is built on
	// one as it is by then.
	sink.AfterRebuildStep(s, func(phase string) {
		if phase != "comparing" {
			return
		}
		r.exec(`drop view public.seen; drop index hubspot.mine; alter table hubspot.contacts drop constraint mine, drop column low, alter column defaulted drop default, alter column never drop not null;
			drop policy mine on hubspot.contacts; drop trigger mine on hubspot.contacts`)
		run := r.start()
		within(t, 2*time.Minute, "change of the types", func() bool { return strings.HasPrefix(r.value(types), "numeric, free numeric, noted 0") })
		if err := run.stop(); err != nil {
			t.Error(err)
		}
		r.exec(`create view public.seen as select id, viewed * 2 as viewed from hubspot.contacts`)
	})
	r.rebuild(s, sink.RebuildOptions{})
	r.want("60 60 60", `select string_agg(viewed::text, ' ') from public.seen`)
	r.want("numeric", `select column_type from hubspot.properties where name = 'viewed'`)
	sink.AfterRebuildStep(s, nil)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("60 60 60", `select string_agg(viewed::text, ' ') from public.seen`)
}
