package sink_test

import (
	"context"
	"testing"

	"github.com/hubtail/hubtail/sink"
)

func TestARebuildKeepsTheTablespaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(3))
	name := "ts_" + r.value(`select current_database()`)
	conn, err := r.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{
		`set allow_in_place_tablespaces = on`, `create tablespace "` + name + `" location ''`, `reset allow_in_place_tablespaces`,
		`create index mine on hubspot.contacts (email) tablespace "` + name + `"`, `alter table hubspot.contacts set tablespace "` + name + `"`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { // of the whole server: it outlives the database
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), `drop schema hubspot, hubspot_rebuild cascade`); err != nil {
			t.Error(err)
		}
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), `drop tablespace "`+name+`"`); err != nil {
			t.Error(err)
		}
	}()
	s := r.newTables()
	where := `select string_agg(relname, ' ' order by relname) from pg_class c join pg_tablespace t on t.oid = c.reltablespace
		where spcname = '` + name + `' and relkind in ('r', 'i') and relnamespace = 'hubspot'::regnamespace`
	r.rebuild(s, sink.RebuildOptions{})
	r.want("contacts mine", where)
	r.exec(`alter table hubspot.contacts set tablespace pg_default`)
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("mine", where)
}
