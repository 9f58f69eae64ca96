package localpg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	connectTimeout = 15 * time.Second

	codeDuplicateDatabase = "42P04"
)

// Cluster is a PostgreSQL that accepts connections. Stop it when done.
type Cluster struct {
	// Source says where it comes from, for people: "DATABASE_URL",
	// "PostgreSQL 15.18 from /usr/lib/postgresql/15/bin", ...
	Source string

	// Major is the server's major version.
	Major int

	admin string // connection string of the first database
	stop  func() error
}

// URL is the connection string for a database of the cluster; "" is the one
// the cluster was opened with. It holds the password.
func (c *Cluster) URL(database string) string { return WithDatabase(c.admin, database) }

// CreateDatabase creates a database unless it exists.
func (c *Cluster) CreateDatabase(ctx context.Context, name string) error {
	conn, err := connect(ctx, c.admin)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	_, err = conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize())
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == codeDuplicateDatabase {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// DropDatabase drops a database, whoever is connected to it.
func (c *Cluster) DropDatabase(ctx context.Context, name string) error {
	conn, err := connect(ctx, c.admin)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// Stop ends a server started by Start and waits for it; a database of the user
// is left alone. It may be called more than once.
func (c *Cluster) Stop() error {
	if c.stop == nil {
		return nil
	}
	return c.stop()
}

// WithDatabase returns the connection string with another database in it. Both
// forms PostgreSQL knows are understood: postgres://... and key=value.
func WithDatabase(dsn, database string) string {
	if database == "" {
		return dsn
	}
	if !strings.Contains(dsn, "://") {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database)
		return dsn + " dbname='" + quoted + "'"
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn // the connection attempt reports it
	}
	u.Path = "/" + database
	return u.String()
}

// open uses a database of the user.
func open(ctx context.Context, opts Options) (*Cluster, error) {
	c, err := connectedCluster(ctx, opts.DatabaseURL, "DATABASE_URL")
	if err != nil {
		return nil, fmt.Errorf("use DATABASE_URL: %w", err)
	}
	if c.Major < MinMajor || opts.Major != 0 && c.Major != opts.Major {
		return nil, fmt.Errorf("use DATABASE_URL: the server is PostgreSQL %d, needed is %s", c.Major, wantedVersion(opts.Major))
	}
	return c, nil
}

func connectedCluster(ctx context.Context, dsn, source string) (*Cluster, error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	var number int
	if err := conn.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&number); err != nil {
		return nil, fmt.Errorf("read server version: %w", err)
	}
	return &Cluster{Source: source, Major: number / 10000, admin: dsn}, nil
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	// Works through a transaction pooler too.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// closeConn says goodbye even when ctx is over, but not for ever.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
