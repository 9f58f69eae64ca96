package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/localpg"
)

const (
	// Env names the variable with the admin URL of the run's cluster. Env + "_15"
	// is the one of PostgreSQL 15, and so on.
	Env = "HUBTAIL_TEST_DATABASE_URL"

	startTimeout = 10 * time.Minute // a first download included
	adminTimeout = time.Minute
)

// Majors are the versions EachMajor tests on: Supabase's default and the oldest
// supported one.
var Majors = []int{17, 15}

// Main runs the package's tests, stops what they started and reports goroutines
// they left behind.
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(stopping{m}, options...)
}

// NewDatabase returns the connection string of a fresh database on the run's
// cluster. It is dropped when the test ends.
func NewDatabase(t testing.TB) string {
	t.Helper()
	return newDatabase(t, 0)
}

// EachMajor runs test as a subtest on each version of Majors, with a fresh
// database. Where the environment names clusters, it is run on those.
func EachMajor(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	majors := Majors
	if os.Getenv(Env) != "" {
		majors = givenMajors()
	}
	for _, major := range majors {
		name := "postgres" + strconv.Itoa(major)
		if major == 0 {
			name = "postgres"
		}
		t.Run(name, func(t *testing.T) { test(t, newDatabase(t, major)) })
	}
}

// givenMajors are the versions the environment has a cluster for; 0 is the one
// whose version it does not say.
func givenMajors() []int {
	var majors []int
	for _, major := range Majors {
		if os.Getenv(envOf(major)) != "" {
			majors = append(majors, major)
		}
	}
	if len(majors) == 0 {
		return []int{0}
	}
	return majors
}

func envOf(major int) string {
	if major == 0 {
		return Env
	}
	return Env + "_" + strconv.Itoa(major)
}

func newDatabase(t testing.TB, major int) string {
	t.Helper()
	c, err := clusters.get(major)
	if err != nil {
		t.Fatalf("this test needs PostgreSQL: %v", err)
	}
	name := "hubtail_test_" + strings.ToLower(rand.Text()[:12])
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	if err := c.CreateDatabase(ctx, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(c, name); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return c.URL(name)
}

// drop uses a context of its own: the test's is over by now.
func drop(c *localpg.Cluster, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	return c.DropDatabase(ctx, name)
}

// clusters are the clusters of this test process.
var clusters = &pool{running: map[int]*localpg.Cluster{}}

type pool struct {
	mu      sync.Mutex // guards running; held while a cluster starts
	running map[int]*localpg.Cluster
}

// get returns the cluster of a major version (0: any), started on first use.
func (p *pool) get(major int) (*localpg.Cluster, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.running[major]; c != nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := localpg.Start(ctx, localpg.Options{
		DatabaseURL: os.Getenv(envOf(major)),
		Major:       major,
		NoSync:      true,
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n(tests: `make test` starts it for you; %s names one of your own)", err, Env)
	}
	if os.Getenv(envOf(major)) != "" {
		if err := localpg.EnsureSupabaseRoles(ctx, c.URL("")); err != nil {
			return nil, err
		}
	}
	p.running[major] = c
	if p.running[c.Major] == nil {
		p.running[c.Major] = c
	}
	return c, nil
}

func (p *pool) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for major, c := range p.running {
		errs = append(errs, c.Stop()) // twice the same is fine
		delete(p.running, major)
	}
	return errors.Join(errs...)
}

// stopping stops the clusters after the tests and before goleak looks.
type stopping struct{ m *testing.M }

func (s stopping) Run() int {
	code := s.m.Run()
	if err := clusters.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop test clusters:", err)
		return max(code, 1)
	}
	return code
}
