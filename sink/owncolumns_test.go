package sink_test

import (
	"fmt"
	"testing"

	"github.com/hubtail/hubtail/sink"
)

func TestTheOwnersColumnsComeAndGoDuringARebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(5))
	s := r.newTables()
	r.exec(`alter table hubspot.contacts add column goes text, add column changes text default 'c'; alter table hubspot.links add column goes text`)
	for i, at := range []string{"preparing", "indexing", "comparing"} {
		done := false
		sink.AfterRebuildStep(s, func(phase string) {
			if phase == at && !done {
				done = true
				r.exec(fmt.Sprintf(`alter table hubspot.contacts drop column if exists goes, add column own%d integer default 7, add column twice%[1]d integer generated always as (id * 2) stored;
					alter table hubspot.links add column own%[1]d text default 'l'; alter table hubspot.links drop column if exists goes;
					alter table hubspot.contacts alter column changes drop default, alter column changes type text[] using array[changes];
					update hubspot.contacts set own%[1]d = id`, i))
				r.exec(`alter table hubspot.contacts alter column changes type text using changes[1], alter column changes set default 'd'`)
			}
		})
		r.rebuild(s, sink.RebuildOptions{})
	}
	sink.AfterRebuildStep(s, nil)
	const all = `select string_agg(concat_ws(' ', id, own0, twice0, own1, twice1, own2, twice2, changes), ', ' order by id) from hubspot.contacts where id > 3`
	r.want("4 4 8 4 8 4 8 c, 5 5 10 5 10 5 10 c", all)
	r.want("lll", `select own0 || own1 || own2 from hubspot.links limit 1`)
	r.want("'d'::text", `select column_default from information_schema.columns where table_schema = 'hubspot' and column_name = 'changes'`)

	// Those that came since the old tables were replaced are there after the way back, with their values.
	r.exec(`alter table hubspot.contacts add column since text, drop column own0; update hubspot.contacts set since = id; alter table hubspot.links add column since text default 's'`)
	for range 2 {
		if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		r.want("1, 2, 3, 4, 5", `select string_agg(coalesce(since, '?'), ', ' order by id) from hubspot.contacts`)
		r.want("s", `select since from hubspot.links limit 1`)
		r.want("false", `select exists (select from information_schema.columns where table_schema = 'hubspot' and column_name in ('own0', 'goes') and table_name = 'contacts')`)
	}
}

func TestValuesOfAUniqueColumnThatWereExchangedCarryOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(5))
	r.exec(`alter table hubspot.contacts add column rank integer constraint ranked unique, add column twice integer generated always as (rank * 2) stored; update hubspot.contacts set rank = id`)
	s := r.newTables()
	exchange := func(by string) {
		r.exec(`update hubspot.contacts set rank = null; update hubspot.contacts set rank = ` + by)
	}
	sink.AfterRebuildStep(s, func(phase string) {
		if phase == "comparing" || phase == "indexing" {
			exchange("6 - id")
		}
		if phase == "comparing" {
			exchange("(id + 1) % 5")
		}
	})
	const all = `select string_agg(concat_ws(' ', id, email, age, _extra, rank, twice), ', ' order by id) from hubspot.contacts`
	r.rebuild(s, sink.RebuildOptions{})
	r.want("2 3 4 0 1", `select string_agg(rank::text, ' ' order by id) from hubspot.contacts`)
	sink.AfterRebuildStep(s, func(phase string) {
		if phase == "indexing" { // between the old tables' getting the values and the swap
			exchange("(id + 2) % 5")
		}
	})
	exchange("10 - id")
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("3 4 0 1 2", `select string_agg(rank::text, ' ' order by id) from hubspot.contacts`)
	before := r.value(all)
	r.rebuild(r.newTables(), sink.RebuildOptions{})
	r.want(before, all)
}

func TestTheOwnersColumnsMadeAnewKeepTheirNewShape(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	// Postgres reads the second expression back as another text than it was made of.
	r.exec(`alter table hubspot.contacts add column c varchar(9), add column g bigint generated always as (id * 2) stored, add column h text generated always as (c || '!') stored,
		add column i boolean generated always as (c in ('x', 'y')) stored`)
	s := r.newTables()
	anew := func(collation string, factor int) {
		r.exec(fmt.Sprintf(`alter table hubspot.contacts drop column h, drop column i, alter column c type varchar(9) collate %q`, collation))
		r.exec(fmt.Sprintf(`alter table hubspot.contacts drop column g, add column g bigint generated always as (id * %d) stored, add column h text generated always as (c || '!') stored,
			add column i boolean generated always as (c in ('x', 'y')) stored; update hubspot.contacts set c = 'x'`, factor))
	}
	const all = `select (select string_agg(concat_ws(' ', g, h, i), ', ' order by id) from hubspot.contacts)
		|| ' ' || (select attcollation::regcollation from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'c')`
	sink.AfterRebuildStep(s, func(phase string) {
		if phase == "reading" {
			anew("C", 3)
		}
		if phase == "comparing" {
			anew("C", 4)
		}
	})
	r.rebuild(s, sink.RebuildOptions{})
	r.want(`4 x! t, 8 x! t, 12 x! t "C"`, all)
	sink.AfterRebuildStep(s, nil)
	anew("POSIX", 5)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want(`5 x! t, 10 x! t, 15 x! t "POSIX"`, all)
}

// TestTheOwnersValuesCarryOverToTheLastDigit has a database that leaves the last digits out of the text of numbers.
func TestTheOwnersValuesCarryOverToTheLastDigit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(5))
	r.exec(`alter table hubspot.contacts add column f float8; update hubspot.contacts set f = 0.3`)
	r.exec(`do $$ begin execute format('alter database %I set extra_float_digits = 0', current_database()); end $$`)
	s := r.newTablesOn(openPool(t, r.url))
	r.rebuild(s, sink.RebuildOptions{})
	r.exec(`update hubspot.contacts set f = 0.1::float8 + 0.2::float8`)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("0", `select count(*) from hubspot.contacts where f <> 0.1::float8 + 0.2::float8`)
}
