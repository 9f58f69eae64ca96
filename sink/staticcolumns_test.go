package sink_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/sink"
)

func TestTheOwnersColumnsOfStaticTablesSurviveARebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	last := r.logOfAll(5)
	r.applied0(last)
	tables := []string{
		"links", "link_sets", "dead_letters", "sync_logs", "cursors", "pipelines", "pipeline_stages", "properties", "objects", "erased", "positions", "copies", "installation",
	}
	for _, table := range tables {
		r.exec(`alter table hubspot.` + table + ` add column mine text not null default 'new', add column "My Note" text`)
		r.exec(`update hubspot.` + table + ` set mine = 'kept', "My Note" = 'noted'`)
	}
	count := func() string {
		var all []string
		for _, table := range tables {
			all = append(all, table+" "+r.value(`select concat_ws(' ', count(*) filter (where mine = 'kept' and "My Note" = 'noted'), 'of', count(*)) from hubspot.`+table))
		}
		return strings.Join(all, ", ")
	}
	before, state := strings.Replace(count(), "copies 0 of 0", "copies 0 of 1", 1), r.state()
	s := r.newTables()
	for _, o := range []sink.RebuildOptions{{}, {Objects: []string{"contacts"}}} {
		r.rebuild(s, o)
		if after := count(); after != before {
			t.Errorf("before %s, after %s", before, after)
		}
		r.wantLines(state, r.state())
	}
	for range 2 {
		if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		if after := count(); after != before {
			t.Errorf("before %s, after the rollback %s", before, after)
		}
		r.wantLines(state, r.state())
	}
	r.exec(`alter table hubspot.links add column n serial`)
	if plan, err := s.PlanRebuild(t.Context(), sink.RebuildOptions{}); err != nil || !strings.Contains(fmt.Sprint(plan.Lost), "column n of") {
		t.Errorf("plan %+v, %v", plan, err)
	}
}

// A rebuild tells the owner's columns of the tables of links from those of the migrations by a list.
func TestARebuildKnowsTheColumnsOfLinks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for table, columns := range sink.LinkColumns() {
		b.want(strings.Join(columns, " "), `select string_agg(attname, ' ' order by attnum) from pg_attribute where attrelid = $1::regclass and attnum > 0`, "hubspot."+table)
	}
}
