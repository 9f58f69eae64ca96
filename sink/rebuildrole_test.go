package sink_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

func TestARebuildNeedsNoMoreThanItsTwoSchemas(t *testing.T) {
	t.Parallel()
	r := &rig{bundle: &bundle{t: t, url: pgtest.NewDatabase(t)}}
	r.pool = openPool(t, r.url)
	role := "hubtail_" + r.value(`select md5(random()::text)`)
	admin := r.pool
	r.exec(`create role ` + role + ` nologin nosuperuser nocreatedb nocreaterole nobypassrls`)
	r.exec(`create schema hubspot authorization ` + role)
	r.exec(`revoke create, temporary on database ` + r.value(`select quote_ident(current_database())`) + ` from public`)
	t.Cleanup(func() {
		_, _ = admin.Exec(context.WithoutCancel(t.Context()), `drop owned by `+role+` cascade`)
		_, _ = admin.Exec(context.WithoutCancel(t.Context()), `drop role `+role)
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
	r.pool = pool
	if err := migrations.Apply(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	r.startNATS()
	r.applied0(r.logOfAll(10))
	s := r.newTables()
	if _, err := s.Rebuild(t.Context(), sink.RebuildOptions{}); !errors.Is(err, sink.ErrNoCopySchema) || !strings.Contains(err.Error(), `create schema "hubspot_rebuild" authorization`) {
		t.Fatalf("it does not say what is missing: %v", err)
	}
	if _, err := admin.Exec(t.Context(), `create schema hubspot_rebuild authorization `+role); err != nil {
		t.Fatal(err)
	}
	before := r.state()
	for range 2 {
		r.rebuild(s, sink.RebuildOptions{})
		r.wantLines(before, r.state())
	}
	if _, err := s.DropOld(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	r.want("0", `select count(*) from pg_class where relnamespace = 'hubspot_rebuild'::regnamespace`)
	r.rebuild(s, sink.RebuildOptions{})
}

func TestARebuildWorksThroughATransactionPooler(t *testing.T) {
	r := newRig(t)
	r.applied0(r.logOfAll(30))
	pool := openPool(t, transactionPooled(t, r.url))
	before := r.state()
	s := r.newTablesOn(pool)
	r.rebuild(s, sink.RebuildOptions{})
	r.wantLines(before, r.state())
	if _, err := s.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	r.wantLines(before, r.state())
}

// transactionPooled returns the address of a database behind a pooler that gives every transaction another session.
func transactionPooled(t *testing.T, direct string) string {
	t.Helper()
	return pgtest.StartPooler(t, direct, pgtest.PoolerOptions{}).URL("default_query_exec_mode=cache_describe&sslmode=disable")
}
