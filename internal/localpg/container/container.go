// Package container starts PostgreSQL in Docker, for machines that have an engine
// and neither server binaries nor a way to download them. It is apart from
// localpg so that only programs that want it link the Docker client.
//
// Promises:
//   - without an engine it says so within a moment and starts nothing;
//   - the container has a password of its own and is gone after stop.
package container

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"strconv"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

const (
	defaultMajor = 17
	stopTimeout  = 30 * time.Second
)

// ErrNoEngine is returned by Start where no Docker engine answers.
var ErrNoEngine = errors.New("no Docker engine answers")

// Available returns an error that wraps ErrNoEngine unless an engine answers.
func Available(ctx context.Context) (err error) {
	// The library panics where it finds no way to an engine at all.
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: %v", ErrNoEngine, reason)
		}
	}()
	provider, err := testcontainers.ProviderDocker.GetProvider(testcontainers.WithLogger(quiet()))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoEngine, err)
	}
	defer provider.Close()
	if err := provider.Health(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNoEngine, err)
	}
	return nil
}

// Start runs the official image of a major version (0: the default one) and
// returns its connection string and what ends it. It is a localpg.ContainerFunc.
func Start(ctx context.Context, major int) (url string, stop func() error, err error) {
	if err := Available(ctx); err != nil {
		return "", nil, err
	}
	if major == 0 {
		major = defaultMajor
	}
	c, err := postgres.Run(ctx, "postgres:"+strconv.Itoa(major),
		postgres.WithUsername("postgres"),
		postgres.WithDatabase("postgres"),
		postgres.WithPassword(rand.Text()),
		postgres.BasicWaitStrategies(),
		testcontainers.WithLogger(quiet()),
	)
	stop = func() error { return terminate(ctx, c) }
	if err != nil {
		// A container that started and did not get ready is still there.
		return "", nil, errors.Join(fmt.Errorf("run container postgres:%d: %w", major, err), stop())
	}
	url, err = c.ConnectionString(ctx, "sslmode=disable")
	if err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return url, stop, nil
}

// terminate removes the container even when ctx is over.
func terminate(ctx context.Context, c *postgres.PostgresContainer) error {
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return c.Terminate(ctx)
}

// quiet keeps the library's progress lines off the terminal.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
