package sink_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

func TestATransactionPoolerIsNoObstacle(t *testing.T) {
	t.Parallel()
	pooled := pgtest.StartPooler(t, pgtest.NewDatabase(t), pgtest.PoolerOptions{}).URL("default_query_exec_mode=cache_describe&sslmode=disable")
	b := setupOn(t, pooled)
	r := &rig{bundle: b}
	r.startNATS()
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	small := func(c *sink.Config) { c.BatchRows = 150 }
	r.start(small)
	r.start(small, func(c *sink.Config) { c.Pool = openPool(t, pooled) })
	var last uint64
	for i := range 4 {
		for id := range 300 {
			last = r.publish(event("contacts", int64(id), 0, props{"email": fmt.Sprint("v", i), "late": "l"}))
		}
		last = max(last, r.publish(definitions(t, "contacts", 0, "email", "string", fmt.Sprint("new", i), "string", "late", "string")))
	}
	r.applied(last)
	r.want("300", `select count(*) from hubspot.contacts where email = 'v3' and late = 'l'`)
	r.want("0", `select count(*) from hubspot.dead_letters`)
}

func TestMigrationsWorkThroughATransactionPooler(t *testing.T) {
	t.Parallel()
	pooler := pgtest.StartPooler(t, pgtest.NewDatabase(t), pgtest.PoolerOptions{})
	pool, err := pgxpool.New(t.Context(), pooler.URL("default_query_exec_mode=cache_describe&sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for range 2 {
		if err := migrations.Apply(t.Context(), pool, schema); err != nil {
			t.Fatal(err)
		}
	}
}
