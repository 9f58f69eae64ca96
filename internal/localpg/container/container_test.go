package container_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hubtail/hubtail/internal/localpg"
	"github.com/hubtail/hubtail/internal/localpg/container"
	"github.com/hubtail/hubtail/internal/pgtest"
)

// needEngine skips a test where no Docker engine answers, visibly: `make test`
// counts these. REQUIRE_DOCKER=1 makes it a failure.
func needEngine(t *testing.T) {
	t.Helper()
	err := container.Available(t.Context())
	if err == nil {
		pgtest.Count(t, "container", "ran")
		return
	}
	if os.Getenv("REQUIRE_DOCKER") == "1" {
		t.Fatalf("REQUIRE_DOCKER=1, but: %v", err)
	}
	pgtest.Count(t, "container", "skipped (no Docker engine)")
	t.Skip(err)
}

func TestContainerIsUsedWhenNothingElseWorks(t *testing.T) {
	needEngine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	nothing := map[string]string{"PG_BIN": "off", "HUBTAIL_PG_MIRROR": "off"}
	c, err := localpg.Start(ctx, localpg.Options{
		Major:     17,
		Container: container.Start,
		Env:       func(name string) string { return nothing[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Major != 17 {
		t.Errorf("major %d, want 17", c.Major)
	}
	if err := c.CreateDatabase(ctx, "hubtail"); err != nil {
		t.Error(err)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestWithoutEngineItSaysSo(t *testing.T) {
	t.Setenv("DOCKER_HOST", fmt.Sprintf("unix://%s/no.sock", t.TempDir()))
	_, _, err := container.Start(t.Context(), 17)
	if !errors.Is(err, container.ErrNoEngine) {
		t.Fatalf("got %v, want ErrNoEngine", err)
	}
}
