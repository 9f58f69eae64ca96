package sink_test

import (
	"errors"
	"testing"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// TestASchemaMadeAnewUnderACopysNameIsLeftAlone drops copies by hand and makes other tables under their names: something else, and
// the live tables of another installation.
func TestASchemaMadeAnewUnderACopysNameIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, last := r.newTables(), r.logOfAll(5)
	r.applied0(last)
	for name, made := range map[string]func(schema string){
		"something else": func(schema string) {
			r.exec(`create schema ` + schema + `; create table ` + schema + `.contacts (id int); insert into ` + schema + `.contacts values (5)`)
		},
		"another installation": func(schema string) {
			if err := migrations.Apply(t.Context(), r.pool, schema); err != nil {
				t.Fatal(err)
			}
			a := sink.NewApplier(sink.ApplierConfig{Pool: r.pool, Schema: schema, Stream: "OTHER", Created: streamCreated, Consumer: "other"})
			if err := a.Apply(t.Context(), []sink.Message{event("contacts", 5, 1, props{"email": "theirs@x"})}, 1); err != nil {
				t.Fatal(err)
			}
		},
	} {
		past := sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: last}}
		r.rebuild(s, sink.RebuildOptions{})
		if _, err := s.BuildAsOf(t.Context(), past); err != nil {
			t.Fatal(err)
		}
		const theirs = `select string_agg(to_jsonb(c)::text, '') from hubspot_rebuild.contacts c`
		for _, schema := range []string{"hubspot_rebuild", "past"} {
			r.exec(`drop schema ` + schema + ` cascade`)
			made(schema)
		}
		before := r.value(theirs)
		if _, err := s.Rebuild(t.Context(), sink.RebuildOptions{}); !errors.Is(err, sink.ErrCopyTaken) {
			t.Errorf("%s, rebuild: %v", name, err)
		}
		if _, err := s.BuildAsOf(t.Context(), past); !errors.Is(err, sink.ErrNotAsOf) {
			t.Errorf("%s, as of a moment: %v", name, err)
		}
		if err := sink.DropCopy(t.Context(), r.pool, schema, "past"); !errors.Is(err, sink.ErrCopyTaken) {
			t.Errorf("%s, drop: %v", name, err)
		}
		if _, err := s.DropOld(t.Context(), ""); !errors.Is(err, sink.ErrCopyTaken) {
			t.Errorf("%s, drop the old ones: %v", name, err)
		}
		r.want("past", `select string_agg(schema_name, ' ') from hubspot.copies`)
		// A deletion for privacy is not theirs.
		last = r.publish(event("contacts", 5, 9, nil, op(schemas.OpPurged)))
		r.applied0(last)
		if err := s.EraseCopies(t.Context()); err != nil {
			t.Error(err)
		}
		r.want("0 0", `select concat_ws(' ', (select count(*) from hubspot.copies), (select count(*) from hubspot.copy_erasures))`)
		r.want(before, theirs)
		r.exec(`drop schema hubspot_rebuild cascade; drop schema past cascade`)
	}
}

// TestASchemaThatIsNotKnownAsACopyIsLeftAlone has a registration without an identity, as a process leaves it that ends before its
// tables are made, and something else under the name.
func TestASchemaThatIsNotKnownAsACopyIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	s := r.newTables()
	r.rebuild(s, sink.RebuildOptions{})
	r.exec(`update hubspot.copies set installation = null`)
	if _, err := s.DropOld(t.Context(), ""); !errors.Is(err, sink.ErrCopyTaken) {
		t.Errorf("tables that were filled: %v", err)
	}
	r.exec(`drop schema hubspot_rebuild cascade; create schema hubspot_rebuild;
		create table hubspot_rebuild.schema_migrations (version text); create table hubspot_rebuild.theirs (id int)`)
	if err := sink.RegisterCopy(t.Context(), r.pool, schema, sink.Copy{Schema: "hubspot_rebuild", Kind: sink.CopyOld, Stream: "HUBSPOT"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DropOld(t.Context(), ""); !errors.Is(err, sink.ErrCopyTaken) {
		t.Errorf("somebody else's tables: %v", err)
	}
	r.want("true", `select to_regclass('hubspot_rebuild.theirs') is not null`)
}
