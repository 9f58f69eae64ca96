package localpg_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hubtail/hubtail/internal/localpg"
)

func TestSmoke(t *testing.T) {
	c, err := localpg.Start(t.Context(), localpg.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(c.Source, c.URL("x"))
	if err := c.CreateDatabase(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), c.URL("x"))
	if err != nil {
		t.Fatal(err)
	}
	var s string
	if err := conn.QueryRow(t.Context(), "select version() || current_user || (select pubname from pg_publication)").Scan(&s); err != nil {
		t.Fatal(err)
	}
	t.Log(s)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}
