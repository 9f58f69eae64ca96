package sink_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

// leastRig is a rig whose tables belong to a role of no other rights, and a pool of it. The rig's own pool is an administrator's.
func leastRig(t *testing.T) (r *rig, role string, pool *pgxpool.Pool) {
	t.Helper()
	r = &rig{bundle: &bundle{t: t, url: pgtest.NewDatabase(t)}}
	r.pool = openPool(t, r.url)
	role = "hubtail_" + r.value(`select md5(random()::text)`)
	r.exec(`create role ` + role + ` nologin`)
	r.exec(`create schema hubspot authorization ` + role)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = r.pool.Exec(ctx, `drop schema if exists hubspot cascade`)
		_, _ = r.pool.Exec(ctx, `drop role `+role)
	})
	cfg := r.pool.Config()
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `set role `+role)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := migrations.Apply(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	r.startNATS()
	return r, role, pool
}

// TestWhatIsTakenFromARunningSinkIsWaitedFor takes rights, tables, a column, the schema and the database from a sink that works,
// and gives them back. It says meanwhile what it waits for and what to do, and goes on by itself.
func TestWhatIsTakenFromARunningSinkIsWaitedFor(t *testing.T) {
	t.Parallel()
	r, role, pool := leastRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.Pool = pool })
	r.applied(r.load(3, "a"))
	for _, test := range []struct{ take, giveBack, state, advice string }{
		{`revoke insert, update on hubspot.contacts from ROLE`, `grant insert, update on hubspot.contacts to ROLE`, "42501", "hubtail migrate --owner"},
		{`revoke all on hubspot.positions from ROLE`, `grant all on hubspot.positions to ROLE`, "42501", "hubtail migrate --owner"},
		{`revoke usage on schema hubspot from ROLE`, `grant usage on schema hubspot to ROLE`, "42501", "hubtail migrate --owner"},
		{`alter table hubspot.contacts owner to current_user`, `alter table hubspot.contacts owner to ROLE`, "42501", "hubtail migrate --owner"},
		{`alter table hubspot.contacts rename to elsewhere`, `alter table hubspot.elsewhere rename to contacts`, "42P01", "can be renamed back"},
		{`alter table hubspot.positions rename to elsewhere`, `alter table hubspot.elsewhere rename to positions`, "42P01", "can be renamed back"},
		{`alter table hubspot.contacts rename _extra to other`, `alter table hubspot.contacts rename other to _extra`, "42703", "rename it back"},
		{`alter schema hubspot rename to elsewhere`, `alter schema elsewhere rename to hubspot`, "42P01", "can be renamed back"},
	} {
		r.exec(strings.ReplaceAll(test.take, "ROLE", role))
		version := test.take
		last := r.load(3, version)
		eventually(t, "after "+test.take+" it says why it waits, and what to do", func() bool {
			failing := s.Stats().Error
			return strings.Contains(failing, test.state) && strings.Contains(failing, test.advice)
		})
		r.exec(strings.ReplaceAll(test.giveBack, "ROLE", role))
		r.goesOn(s, last)
		r.want("3", `select count(*) from hubspot.contacts where email = $1`, version)
	}
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

// goesOn waits until the sink has come so far by itself, and waits for nothing any more.
func (r *rig) goesOn(s *running, last uint64) {
	r.t.Helper()
	within(r.t, time.Minute, "going on", func() bool { // the back-off may be at 30 s
		return r.value(`select coalesce(max(seq), 0) >= $1 from hubspot.positions`, int64(last)) == "true" && s.Stats().Error == ""
	})
}

// TestTablesMadeAnewUnderARunningSinkAreFilled drops a table, and then everything, under a sink, which fills what is made again.
func TestTablesMadeAnewUnderARunningSinkAreFilled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start()
	r.applied(r.load(3, "a"))
	r.exec(`drop table hubspot.contacts`)
	last := r.load(1, "b")
	eventually(t, "it says what to do", func() bool { return strings.Contains(s.Stats().Error, "hubtail verify --repair") })
	r.verify("contacts", sink.VerifyOptions{Repair: true})
	r.goesOn(s, last)
	r.want("a 2, b 1", `select string_agg(concat(email, ' ', n), ', ' order by email) from (select email, count(*) n from hubspot.contacts group by email) c`)

	r.exec(`drop schema hubspot cascade`)
	last = r.load(1, "c")
	eventually(t, "it says what to do", func() bool { return strings.Contains(s.Stats().Error, "hubtail migrate") })
	if err := migrations.Apply(t.Context(), r.pool, schema); err != nil {
		t.Fatal(err)
	}
	r.goesOn(s, last)
	r.want("a 2, c 1", `select string_agg(concat(email, ' ', n), ', ' order by email) from (select email, count(*) n from hubspot.contacts group by email) c`)
}

// TestADatabaseThatIsRenamedIsWaitedFor: pools that are told its name wait until it is back.
func TestADatabaseThatIsRenamedIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pool := openPool(t, r.url)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.Pool = pool })
	r.applied(r.load(3, "a"))
	name := r.value(`select current_database()`)
	cfg := r.pool.Config().ConnConfig
	cfg.Database = "postgres"
	admin, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // it is over either way
	rename := func(from, to string) {
		t.Helper()
		var failed error
		eventually(t, "the database is renamed", func() bool { // once nobody is connected
			_, _ = admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, from)
			_, failed = admin.Exec(t.Context(), `alter database `+from+` rename to `+to)
			return failed == nil
		})
	}
	rename(name, name+"_away")
	last := r.load(3, "b")
	eventually(t, "it says why it waits, and what to do", func() bool {
		failing := s.Stats().Error
		return strings.Contains(failing, "3D000") && strings.Contains(failing, "correct its name")
	})
	rename(name+"_away", name)
	eventually(t, "the rig's own connection", func() bool { return r.pool.Ping(t.Context()) == nil })
	r.goesOn(s, last)
	r.want("3", `select count(*) from hubspot.contacts where email = 'b'`)
}

// TestColumnsThatMayNotBeChangedHoldUpNoRows: a table that belongs to another role takes rows, and no new columns.
func TestColumnsThatMayNotBeChangedHoldUpNoRows(t *testing.T) {
	t.Parallel()
	r, role, pool := leastRig(t)
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.Pool = pool })
	r.applied(r.load(3, "a"))
	r.exec(`alter table hubspot.contacts owner to current_user`)
	r.exec(`grant all on hubspot.contacts to ` + role)
	r.exec(`alter table hubspot.contacts disable row level security`)
	last := r.publish(definitions(t, "contacts", 0, "email", "string", "age", "number"), event("contacts", 7, 0, props{"email": "b", "age": "5"}))
	r.applied(last)
	r.want(`b {"age": "5"}`, `select concat(email, ' ', _extra) from hubspot.contacts where id = 7`)
	eventually(t, "it says what is not done, and what to do", func() bool {
		failing := s.Stats().Error
		return strings.Contains(failing, "not all columns") && strings.Contains(failing, "42501") && strings.Contains(failing, "hubtail migrate --owner")
	})
	r.exec(`alter table hubspot.contacts owner to ` + role)
	within(t, time.Minute, "the column", func() bool {
		return r.value(`select count(*) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'age'`) == "1"
	})
	within(t, time.Minute, "its value", func() bool {
		return r.value(`select age from hubspot.contacts where id = 7`) == "5" && s.Stats().Error == ""
	})
}
