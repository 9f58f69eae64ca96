package sink_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// verify compares one object type's table with the log.
func (r *rig) verify(object string, o sink.VerifyOptions) *difference.Report {
	r.t.Helper()
	s, err := sink.New(r.t.Context(), sink.Config{Pool: r.pool, JetStream: r.js, Schema: schema, Logger: testLogger(r.t)})
	if err != nil {
		r.t.Fatal(err)
	}
	o.Patience = 10 * time.Millisecond
	reports, err := s.Verify(r.t.Context(), o, object)
	if err != nil {
		r.t.Fatal(err)
	}
	return reports[0]
}

func (r *rig) wantKinds(report *difference.Report, want map[difference.Kind]int64) {
	r.t.Helper()
	if report.Differences()+int64(len(want)) > 0 && !maps.Equal(report.Kinds, want) {
		r.t.Errorf("%s: found %v, planted %v: %v", report.Object, report.Kinds, want, report.Examples)
	}
}

func linkSet(t testing.TB, id int64, to ...int64) sink.Message {
	set := &schemas.Links{Portal: portal, From: "contacts", ID: strconv.FormatInt(id, 10), To: "companies"}
	for _, n := range to {
		set.Links = append(set.Links, schemas.Link{ID: strconv.FormatInt(n, 10), Category: "HUBSPOT_DEFINED", TypeID: 279, Label: "Works at"})
	}
	return control(t, 0, set)
}

// fillContacts publishes n contacts: every third has a value that does not fit its column, every fifth is linked.
func (r *rig) fillContacts(n int) (last uint64) {
	r.t.Helper()
	page := []sink.Message{definitions(r.t, "contacts", 0, "email", "string", "amount", "number", "lastname", "string")}
	for id := range int64(n) {
		values := props{"email": fmt.Sprintf("r%d@x", id), "amount": strconv.FormatInt(id, 10), "undefined": "kept"}
		if id%3 == 0 {
			values["amount"] = "about " + values["amount"]
		}
		page = append(page, event("contacts", id+1, 0, values))
		if id%5 == 0 {
			page = append(page, linkSet(r.t, id+1, 100+id, 200+id))
		}
	}
	return r.publishAll(page)
}

// plantedInTables are changes of the tables that no sink makes; %[1]d to %[2]d are the rows.
var plantedInTables = []struct {
	kind difference.Kind
	sql  string
}{
	{difference.Missing, `delete from hubspot.contacts where id between %[1]d and %[2]d`},
	{difference.Ghost, `insert into hubspot.contacts (id, _seq, email) select 900000000 + id, 3, 'ghost@x' from generate_series(%[1]d, %[2]d) id`},
	{difference.Stale, `update hubspot.contacts set _seq = 1, email = 'old@x' where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _seq = 1000000000, email = 'old@x' where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set email = 'wrong@x' where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set email = null where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set lastname = 'None has one' where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _extra = jsonb_set(_extra, '{undefined}', '"lost"') where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _extra = null where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _archived = true where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _merged_into = 5 where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _updated_at = _updated_at + interval '1 s' where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _created_at = null where id between %[1]d and %[2]d`},
	{difference.Value, `update hubspot.contacts set _archived_at = now() where id between %[1]d and %[2]d`},
	// Every fifth of these is linked.
	{difference.Link, `delete from hubspot.links where from_id between %[1]d and %[1]d + 5 * (%[2]d - %[1]d) + 4 and to_id > 199`},
	{difference.Link, `insert into hubspot.links select 'contacts', from_id, 'companies', 7, 279, 'HUBSPOT_DEFINED', null from hubspot.link_sets where from_id between %[1]d and %[1]d + 5 * (%[2]d - %[1]d) + 4`},
	{difference.Link, `update hubspot.links set label = 'Other' where from_id between %[1]d and %[1]d + 5 * (%[2]d - %[1]d) + 4`},
	{difference.Link, `delete from hubspot.link_sets where from_id between %[1]d and %[1]d + 5 * (%[2]d - %[1]d) + 4`},
	{difference.Link, `insert into hubspot.link_sets select 'contacts', 800000000 + id, 'companies', 4 from generate_series(%[1]d, %[2]d) id`},
	{difference.Link, `insert into hubspot.links select 'contacts', 700000000 + id, 'companies', 4, 279, 'HUBSPOT_DEFINED', null from generate_series(%[1]d, %[2]d) id`},
}

// plantInTables makes n differences of every kind, in disjoint records from the first on, and returns how many records it
// took.
func (r *rig) plantInTables(n int) (want map[difference.Kind]int64, took int) {
	r.t.Helper()
	want, first := map[difference.Kind]int64{}, 1
	for _, p := range plantedInTables {
		last := first + n - 1
		r.exec(fmt.Sprintf(p.sql, first, last))
		want[p.kind] += int64(n)
		if first = last + 1; p.kind == difference.Link {
			first += 4 * n
		}
	}
	return want, first
}

// disturb publishes changes of the records from first on until stop is called.
func (r *rig) disturb(first, last int) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var g sync.WaitGroup
	g.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := int64(first + i%(last-first))
			r.publish(event("contacts", id, 0, props{"email": fmt.Sprintf("later%d@x", i)}))
			if i%4 == 0 {
				r.publish(linkSet(r.t, id, int64(i)))
			}
			if i%9 == 0 {
				r.publish(event("contacts", int64(1_000_000+i), 0, props{"email": "new@x"}))
			}
		}
	})
	return sync.OnceFunc(func() { cancel(); g.Wait() })
}

func TestVerifyFindsAndRepairsEveryDifferenceOfTheTables(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	const n, records = 20, 1500
	r.applied(r.fillContacts(records))
	want, took := r.plantInTables(n)
	stop := r.disturb(took, records)
	defer stop()

	report := r.verify("contacts", sink.VerifyOptions{})
	r.wantKinds(report, want)
	if report.Repaired != 0 {
		t.Errorf("%d differences are repaired without being asked to", report.Repaired)
	}
	report = r.verify("contacts", sink.VerifyOptions{Repair: true})
	r.wantKinds(report, want)
	if report.Remaining() != 0 || report.Note != "" {
		t.Errorf("one pass leaves %d differences: %s", report.Remaining(), report.Note)
	}
	r.wantKinds(r.verify("contacts", sink.VerifyOptions{}), nil)
	stop()
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "last@x"})))
	report = r.verify("contacts", sink.VerifyOptions{})
	r.wantKinds(report, nil)
	if report.Pending != 0 {
		t.Errorf("%d events are pending though all are applied", report.Pending)
	}
}

func TestVerifyDoesNotExpectWhatNoSinkHasApplied(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.fillContacts(20))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	r.publish(event("contacts", 1, 0, props{"email": "later@x"}), event("contacts", 99, 0, props{"email": "new@x"}), linkSet(t, 2, 7))
	report := r.verify("contacts", sink.VerifyOptions{Repair: true})
	r.wantKinds(report, nil)
	if report.Pending != 3 {
		t.Errorf("%d events are pending, want 3", report.Pending)
	}
	r.want("0", `select count(*) from hubspot.contacts where email in ('later@x', 'new@x')`)
}

func TestVerifyTakesDeadLettersForExplained(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	bad := event("contacts", 7, 0, props{"email": "a@x"})
	bad.Data = []byte(`{"portal": "42"`)
	r.applied(r.publish(event("contacts", 7, 0, props{"email": "a@x"}), bad))
	r.want("1", `select count(*) from hubspot.dead_letters`)
	report := r.verify("contacts", sink.VerifyOptions{})
	r.wantKinds(report, nil)
	if report.Explained != 1 {
		t.Errorf("%d explained, want 1", report.Explained)
	}
}

func TestVerifyDeletesNothingThatALimitedLogMayHaveForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.applied(r.fillContacts(20))
	r.exec(`insert into hubspot.contacts (id, _seq) values (900, 3)`)
	cfg := jetlog.StreamConfig("HUBSPOT", 1)
	cfg.MaxAge = 24 * time.Hour
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	report := r.verify("contacts", sink.VerifyOptions{Repair: true})
	r.wantKinds(report, map[difference.Kind]int64{difference.Ghost: 1})
	if report.Remaining() != 1 || report.Note == "" {
		t.Errorf("a row is deleted that the log may have forgotten: %+v", report)
	}
	r.want("1", `select count(*) from hubspot.contacts where id = 900`)
}

func TestVerifyFillsATableThatWasEmptied(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.applied(r.publish(definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 0, props{"email": "a@x"})))
	r.exec(`truncate hubspot.contacts`)
	report := r.verify("contacts", sink.VerifyOptions{Repair: true})
	r.wantKinds(report, map[difference.Kind]int64{difference.Missing: 1})
	r.want("a@x", `select email from hubspot.contacts where id = 1`)
	if report.Remaining() != 0 {
		t.Errorf("%d differences remain", report.Remaining())
	}
}

func TestVerifyLeavesWhatWasErasedErased(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.applied(r.publish(
		definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 0, props{"email": "a@x"}), event("contacts", 2, 0, props{"email": "b@x"}),
		linkSet(t, 1, 5), event("companies", 5, 0, nil), control(t, 0, &schemas.Links{Portal: portal, From: "companies", ID: "5", To: "contacts",
			Links: []schemas.Link{{ID: "1", Category: "HUBSPOT_DEFINED", TypeID: 280}, {ID: "2", Category: "HUBSPOT_DEFINED", TypeID: 280}}}),
		event("contacts", 1, 0, nil, op(schemas.OpPurged)),
		event("contacts", 1, 0, props{"email": "late@x"}), // somebody read it before
		linkSet(t, 1, 5)))
	for _, object := range []string{"contacts", "companies"} {
		report := r.verify(object, sink.VerifyOptions{Repair: true})
		r.wantKinds(report, nil)
	}
	r.want("true", `select _purged and email is null from hubspot.contacts where id = 1`)
	r.want("0", `select count(*) from hubspot.links where from_id = 1 or to_id = 1`)
	// A tombstone that no deletion made is a wrong row.
	r.exec(`update hubspot.contacts set _purged = true, email = null where id = 2`)
	report := r.verify("contacts", sink.VerifyOptions{Repair: true})
	r.wantKinds(report, map[difference.Kind]int64{difference.Value: 1})
	if report.Remaining() != 0 {
		t.Errorf("%d differences remain", report.Remaining())
	}
	r.want("b@x", `select email from hubspot.contacts where id = 2`)
}

func TestVerifyComparesTheTimesOfEndedRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.applied(r.publish(
		definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 0, props{"email": "a@x"}, op(schemas.OpArchived)),
		event("contacts", 2, 0, nil, op(schemas.OpPurged)), event("contacts", 3, 0, props{"email": "c@x"}, op(schemas.OpArchived)), event("contacts", 3, 0, props{"email": "c@x"})))
	r.wantKinds(r.verify("contacts", sink.VerifyOptions{}), nil)
	for _, sql := range []string{
		`update hubspot.contacts set _archived_at = _archived_at + interval '1 s' where id = 1`,
		`update hubspot.contacts set _archived_at = null where id = 1`,
		`update hubspot.contacts set _archived_at = now() where id = 3`,
		`update hubspot.contacts set _archived_at = now() where id = 2`,
		`update hubspot.contacts set _created_at = now() where id = 2`,
		`update hubspot.contacts set _updated_at = null where id = 2`,
		`update hubspot.contacts set _merged_into = 1 where id = 2`,
	} {
		r.exec(sql)
		report := r.verify("contacts", sink.VerifyOptions{Repair: true})
		r.wantKinds(report, map[difference.Kind]int64{difference.Value: 1})
		r.wantKinds(r.verify("contacts", sink.VerifyOptions{}), nil)
		if report.Remaining() != 0 || t.Failed() {
			t.Fatalf("%s is not repaired: %v", sql, report.Examples)
		}
	}
}

// TestVerifyComparesWhatWasErased loses the table erased, and adds to it what nobody deleted.
func TestVerifyComparesWhatWasErased(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	both := &schemas.Links{Portal: portal, From: "companies", ID: "5", To: "contacts",
		Links: []schemas.Link{{ID: "1", Category: "HUBSPOT_DEFINED", TypeID: 280}, {ID: "2", Category: "HUBSPOT_DEFINED", TypeID: 280}}}
	r.applied(r.publish(
		definitions(t, "contacts", 0, "email", "string"), event("contacts", 1, 0, props{"email": "a@x"}), event("contacts", 2, 0, props{"email": "b@x"}),
		linkSet(t, 2, 5), event("companies", 5, 0, nil), control(t, 0, both),
		event("contacts", 1, 0, nil, op(schemas.OpPurged)), event("contacts", 3, 0, nil, op(schemas.OpPurged)),
		event("contacts", 1, 0, props{"email": "late@x"}))) // somebody read it before
	verify := func(repair bool) []*difference.Report {
		t.Helper()
		s, err := sink.New(t.Context(), sink.Config{Pool: r.pool, JetStream: r.js, Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		reports, err := s.Verify(t.Context(), sink.VerifyOptions{Repair: repair, Patience: -1}, "companies", "contacts")
		if err != nil {
			t.Fatal(err)
		}
		return reports
	}
	equalNow := func() {
		t.Helper()
		for _, report := range verify(false) {
			r.wantKinds(report, nil)
		}
	}
	equalNow()

	r.exec(`insert into hubspot.erased (object, record_id, _seq) values ('contacts', 2, 4), ('contacts', 77, 4), ('companies', 5, 4)`)
	r.exec(`delete from hubspot.links where to_id = 2 or from_id = 2`)
	reports := verify(true) // the log of their deletions may be gone: they stay, and what the log has is told
	for i, id := range []string{"companies 5", "contacts 2"} {
		r.wantKinds(reports[i], map[difference.Kind]int64{difference.Ghost: 1})
		if len(reports[i].Examples) != 1 || !strings.Contains(reports[i].Examples[0].Reason, "`hubtail erase "+id+"`") || reports[i].Remaining() != 1 {
			t.Errorf("the values of %s in the log: %+v", id, reports[i])
		}
	}
	r.want("1 2 3 5 77", `select string_agg(record_id::text, ' ' order by record_id) from hubspot.erased`)
	r.exec(`delete from hubspot.erased where record_id in (2, 5, 77)`)
	verify(true)
	r.want("5-2 2-5", `select string_agg(from_id || '-' || to_id, ' ' order by from_object) from hubspot.links`)
	equalNow()

	r.exec(`truncate hubspot.erased`)
	reports = verify(true)
	r.wantKinds(reports[1], map[difference.Kind]int64{difference.Missing: 2})
	r.want("0", `select count(*) from hubspot.contacts where email = 'late@x'`)
	if reports[1].Remaining() != 0 {
		t.Errorf("%+v remains", reports[1])
	}
	r.want("1 3", `select string_agg(record_id::text, ' ' order by record_id) from hubspot.erased`)
	equalNow()
}

func TestVerifyMakesATableAgainThatWasDropped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start()
	r.applied(r.fillContacts(30))
	columns := `select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attname) from pg_attribute
		where attrelid = 'hubspot.contacts'::regclass and attnum > 0 and not attisdropped`
	before := r.value(columns)
	r.exec(`drop table hubspot.contacts`)
	r.wantKinds(r.verify("contacts", sink.VerifyOptions{}), map[difference.Kind]int64{difference.Missing: 30})
	report := r.verify("contacts", sink.VerifyOptions{Repair: true})
	r.wantKinds(report, map[difference.Kind]int64{difference.Missing: 30})
	if report.Remaining() != 0 {
		t.Errorf("%d differences remain: %v", report.Remaining(), report.Examples)
	}
	r.wantKinds(r.verify("contacts", sink.VerifyOptions{}), nil)
	r.want(before, columns)
	r.want("20 10", `select count(amount) || ' ' || count(*) filter (where _extra ? 'amount') from hubspot.contacts`)
	r.want("true", `select relrowsecurity from pg_class where oid = 'hubspot.contacts'::regclass`)
	// A sink that knew the table of old writes to the new one.
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "later@x"})))
	r.want("later@x", `select email from hubspot.contacts where id = 1`)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func TestVerifyNamesAColumnWhoseTypeWasAltered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.applied(r.publish(definitions(t, "contacts", 0, "lastname", "string", "amount", "number"),
		event("contacts", 1, 0, props{"lastname": "Dupont", "amount": "7"}), event("contacts", 2, 0, props{"lastname": "Li", "amount": "8"})))
	for _, test := range []struct{ alter, property string }{
		{`alter table hubspot.contacts alter column lastname type varchar(3) using left(lastname, 3)`, "lastname"},
		{`alter table hubspot.contacts alter column amount type integer using amount + 1`, "amount"},
	} {
		r.exec(test.alter)
		r.verify("contacts", sink.VerifyOptions{Repair: true})
		report := r.verify("contacts", sink.VerifyOptions{Repair: true})
		i := slices.IndexFunc(report.Examples, func(d difference.Difference) bool { return d.Kind == difference.Definition })
		if i < 0 || report.Examples[i].ID != test.property || !strings.HasPrefix(report.Examples[i].Reason, "column type was altered: ") {
			t.Fatalf("it says %+v", report.Examples)
		}
		_, advice, _ := strings.Cut(report.Examples[i].Reason, "--repair`: ")
		r.exec(advice)
		if report = r.verify("contacts", sink.VerifyOptions{Repair: true}); report.Remaining() != 0 {
			t.Errorf("%s leaves %+v", advice, report)
		}
		r.wantKinds(r.verify("contacts", sink.VerifyOptions{}), nil)
	}
	r.want("Dupont Li", `select string_agg(lastname, ' ' order by id) from hubspot.contacts`)
	r.want("7 8", `select string_agg(coalesce(amount::text, _extra->>'amount'), ' ' order by id) from hubspot.contacts`)
}
