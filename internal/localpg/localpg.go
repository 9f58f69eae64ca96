package localpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// MinMajor is the oldest PostgreSQL hubtail supports.
const MinMajor = 15

// ErrNone is returned by Start when no way leads to a PostgreSQL. The error
// names every way and why it failed.
var ErrNone = errors.New("no PostgreSQL to be had")

// A ContainerFunc starts PostgreSQL of a major version (0: any) in a container.
// See package container.
type ContainerFunc func(ctx context.Context, major int) (url string, stop func() error, err error)

// Options says which PostgreSQL is wanted.
type Options struct {
	// DatabaseURL is a database to use instead of starting one. Empty: start one.
	DatabaseURL string

	// Dir keeps the cluster, so that a later Start finds its data again.
	// Empty: a throw-away cluster in the temp folder.
	Dir string

	// Major is the wanted major version; 0 means any from MinMajor on, and for a
	// kept cluster the version it was made with.
	Major int

	// NoSync trades safety against power loss for speed; for tests.
	NoSync bool

	// Container starts a container when nothing else works; nil: never.
	Container ContainerFunc

	// Env reads the environment; nil means os.Getenv. Read are PG_BIN (a folder, or
	// "off" to use nothing installed), PATH, HUBTAIL_PG_MIRROR (a registry, or
	// "off" for no download), npm_config_registry and HUBTAIL_CACHE_DIR.
	Env func(string) string

	// Logger tells what is started. Nil discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Env == nil {
		o.Env = os.Getenv
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("component", "postgres")
	return o
}

// Start returns a PostgreSQL that accepts connections.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	opts = opts.withDefaults()
	if opts.DatabaseURL != "" {
		return open(ctx, opts)
	}
	h, err := openHome(opts)
	if err != nil {
		return nil, err
	}
	if opts.Major, err = h.wantedMajor(opts.Major); err != nil {
		return nil, errors.Join(err, h.close())
	}

	c, err := startPrivate(ctx, opts, h)
	if err == nil {
		return c, nil
	}
	if closeErr := h.close(); closeErr != nil || hopeless(ctx, err) {
		return nil, errors.Join(err, closeErr)
	}
	return startContainer(ctx, opts, err)
}

// startPrivate runs a cluster from the first server binaries that work.
func startPrivate(ctx context.Context, opts Options, h *home) (*Cluster, error) {
	var tried failures
	found, searched := findBinaries(ctx, opts.Env, opts.Major)
	for _, bin := range found {
		c, err := startServer(ctx, opts, h, bin)
		if err == nil {
			return c, nil
		}
		if hopeless(ctx, err) {
			return nil, err
		}
		opts.Logger.Warn("postgres does not start, trying the next one", "binaries", bin.dir, "error", err)
		tried.binaries = append(tried.binaries, fmt.Sprintf("%s: %v", bin.dir, err))
	}
	if len(found) == 0 {
		tried.binaries = []string{"no " + wantedVersion(opts.Major) + " in " + searched}
	}

	bin, err := download(ctx, opts)
	if err == nil {
		var c *Cluster
		if c, err = startServer(ctx, opts, h, bin); err == nil {
			return c, nil
		}
	}
	if hopeless(ctx, err) {
		return nil, err
	}
	tried.download = err
	return nil, &tried
}

// hopeless reports failures that other binaries would not cure: the folder or
// its data are the trouble, or the caller has given up.
func hopeless(ctx context.Context, err error) bool {
	var folder *FolderError
	return errors.As(err, &folder) || ctx.Err() != nil
}

func startContainer(ctx context.Context, opts Options, err error) (*Cluster, error) {
	var tried *failures
	if !errors.As(err, &tried) {
		return nil, err
	}
	if opts.Container == nil || opts.Dir != "" {
		tried.container = errors.New("not tried here")
		return nil, tried
	}
	url, stop, err := opts.Container(ctx, opts.Major)
	if err != nil {
		tried.container = err
		return nil, tried
	}
	c, err := connectedCluster(ctx, url, "container")
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	c.stop = stop
	if err := AddSupabaseRoles(ctx, url); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// failures is the one error for a machine where nothing works.
type failures struct {
	binaries  []string
	download  error
	container error
}

func (f *failures) Is(target error) bool { return target == ErrNone }

func (f *failures) Unwrap() []error { return []error{f.download, f.container} }

func (f *failures) Error() string {
	return fmt.Sprintf(`%v; any one of these helps:
  1. set DATABASE_URL=postgres://user:password@host:5432/database to use a database of yours
  2. install PostgreSQL 15 or newer, for example: apt-get install postgresql
     (%s)
  3. let hubtail download it: needs an npm registry, see HUBTAIL_PG_MIRROR
     (%v)
  4. start Docker
     (%v)`, ErrNone, strings.Join(f.binaries, "; "), f.download, f.container)
}

func wantedVersion(major int) string {
	if major == 0 {
		return fmt.Sprintf("PostgreSQL %d or newer", MinMajor)
	}
	return fmt.Sprintf("PostgreSQL %d", major)
}
