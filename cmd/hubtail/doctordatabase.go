package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/sink"
)

// passwordOf returns the password of a URL, "" if it has none or is none.
func passwordOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

func checkDatabase(_ context.Context, d *doctor, f *findings) {
	if d.databaseURL == "" {
		f.none("no DATABASE_URL: there is no sink here")
		return
	}
	pool, err := d.pool()
	if err != nil {
		f.fail(databaseTrouble(err))
		return
	}
	c := pool.Config().ConnConfig
	f.ok("%s:%d, database %s, as %s", c.Host, c.Port, c.Database, c.User)
}

// databaseTrouble says why there is no connection.
func databaseTrouble(err error) (what, why, fix string) {
	advice := sink.Advice(err)
	what, why = strings.ReplaceAll(strings.TrimSuffix(err.Error(), ": "+advice), "\n\t", " "), "there are no tables without it"
	const setting = "DATABASE_URL"
	switch code := codeOf(err); {
	case errors.Is(err, sink.ErrDatabaseURL):
		fix = "copy the connection string again; characters like @ : / # in a password are written %40 %3A %2F %23"
	case code == "28P01", code == "28000":
		fix = "user or password are wrong, or pg_hba.conf does not let this user in from here; on Supabase: Project Settings, Database, Reset database password"
	case code == "3D000":
		fix = "the database does not exist: createdb, or another name at the end of " + setting
	case code == "53300":
		fix = "all connections are taken: use a pooler (Supabase: Connect, Transaction pooler), or raise max_connections or the role's connection limit"
	case code == "57P03":
		fix = "the server is starting or stopping: try again in a moment"
	case strings.Contains(what, "Tenant or user not found"):
		fix = "behind Supabase's pooler the user is postgres.PROJECT, and the host is of the project's region: copy the string from Connect, Session pooler"
	case strings.Contains(what, "server refused TLS"), strings.Contains(what, "SSL is not enabled"):
		fix = "the server has no TLS: sslmode=disable at the end of " + setting + " (only on a network that you trust)"
	default:
		if fix = cmp.Or(advice, networkAdvice(err, setting)); fix == "" {
			fix = "check " + setting + "; it looks like postgresql://user:password@host:5432/database"
		}
		if advice == "" && strings.Contains(what, ".supabase.co") && !strings.Contains(what, "pooler.") {
			fix += "; Supabase's direct connection (db.PROJECT.supabase.co) has an IPv6 address only: from a network without IPv6 use the session pooler (Connect, Session pooler)"
		}
	}
	return what, why, fix
}

// unanswered reports that a question to the database had no answer.
func (f *findings) unanswered(what string, err error) {
	_, _, fix := databaseTrouble(err)
	f.warn(what+" not known: "+err.Error(), "the database did not answer this question", fix)
}

// checkPooler finds out what is between us and Postgres. A pooler hands out process ids of its own; one in transaction mode
// lets another client use the server process that ours just had.
func checkPooler(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	kind, err := poolerKind(ctx, pool)
	if err != nil {
		f.none("which pooler is between is not known: %v", err)
		return
	}
	c := pool.Config().ConnConfig
	name := "a pooler"
	switch {
	case strings.HasSuffix(c.Host, ".pooler.supabase.com"):
		name = "Supabase's pooler (Supavisor)"
	case strings.HasSuffix(c.Host, ".supabase.co") && c.Port == 6543:
		name = "Supabase's dedicated pooler (PgBouncer)"
	}
	named := c.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
	switch kind {
	case poolerNone:
		f.ok("direct: no pooler between")
	case poolerSession:
		f.ok("%s, session mode or without others on it", name)
	case poolerTransaction:
		if named {
			f.warn(name+" in transaction mode, and hubtail does not know: it would use named prepared statements",
				"they come out on another server process: statements fail with 26000 or 42P05 unless the pooler tracks them",
				"put default_query_exec_mode=cache_describe at the end of DATABASE_URL (?... or &...)")
			break
		}
		f.ok("%s, transaction mode; no named statements are used", name)
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return
	}
	defer conn.Release()
	raw := conn.Conn().PgConn().Conn()
	if _, encrypted := raw.(*tls.Conn); !encrypted && isPublic(raw.RemoteAddr().String()) {
		f.warn("the way to "+c.Host+" is not encrypted", "whoever is on it reads the whole CRM and the password", "sslmode=require (or verify-full with sslrootcert) at the end of DATABASE_URL")
	}
}

type pooler int

const (
	poolerNone pooler = iota
	poolerSession
	poolerTransaction
)

func poolerKind(ctx context.Context, pool *pgxpool.Pool) (pooler, error) {
	config := pool.Config().ConnConfig.Copy()
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	ours, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return 0, err
	}
	defer ours.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	backend := func(q interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) (pid uint32, err error) {
		err = q.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
		return pid, err
	}
	first, err := backend(ours)
	if err != nil || first == ours.PgConn().PID() {
		return poolerNone, err
	}
	// Other clients hold a server process each for the time of a transaction.
	for range 3 {
		other, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return poolerSession, nil //nolint:nilerr // no room for another client: that is no sharing
		}
		defer other.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
		tx, err := other.Begin(ctx)
		if err != nil {
			return 0, err
		}
		taken, err := backend(tx)
		if err != nil {
			return 0, err
		}
		now, err := backend(ours)
		if err != nil {
			return 0, err
		}
		if taken == first || now != first {
			return poolerTransaction, nil
		}
	}
	return poolerSession, nil
}

// oldestPostgres is the oldest major version that is tested.
const oldestPostgres = 15

func checkPostgresVersion(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	var version, readOnly string
	var number int
	var replica bool
	err = pool.QueryRow(ctx, `select current_setting('server_version'), current_setting('server_version_num')::int,
		pg_is_in_recovery(), current_setting('default_transaction_read_only')`).Scan(&version, &number, &replica, &readOnly)
	if err != nil {
		f.unanswered("version", err)
		return
	}
	const why = "nothing can be written here"
	if replica {
		f.fail("this server is a replica", why, "connect to the primary: its host name, or target_session_attrs=read-write with all hosts in DATABASE_URL")
	}
	if readOnly == "on" {
		f.fail("default_transaction_read_only is on", why, "on Supabase that is what a full disk does (Project Settings, Database, disk size); else `alter database ... reset default_transaction_read_only`")
	}
	if number/10000 < oldestPostgres {
		f.warn("PostgreSQL "+version, fmt.Sprintf("hubtail is tested with %d and newer", oldestPostgres), "upgrade it")
		return
	}
	f.ok("PostgreSQL %s", version)
}

// checkPostgresLimits looks at connections and at timeouts that would end a sink's work.
func checkPostgresLimits(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	var most, used, roleMost, roleUsed, statement, idle int
	err = pool.QueryRow(ctx, `select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
			(select count(*) from pg_stat_activity where backend_type = 'client backend'),
			(select rolconnlimit from pg_roles where rolname = current_user),
			(select count(*) from pg_stat_activity where backend_type = 'client backend' and usename = current_user),
			(select setting::int from pg_settings where name = 'statement_timeout'),
			(select setting::int from pg_settings where name = 'idle_in_transaction_session_timeout')`).
		Scan(&most, &used, &roleMost, &roleUsed, &statement, &idle)
	if err != nil {
		f.unanswered("limits", err)
		return
	}
	judgeConnections(f, "the server", used, most, "use a pooler (Supabase: Connect, Transaction pooler), or raise max_connections")
	if roleMost >= 0 {
		judgeConnections(f, "this role", roleUsed, roleMost, "alter role "+pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize()+" connection limit 8")
	}
	if least := 60 * time.Second; statement > 0 && time.Duration(statement)*time.Millisecond < least {
		f.warn(fmt.Sprintf("statement_timeout is %s", time.Duration(statement)*time.Millisecond),
			"new columns on large tables, migrations and rebuilds can take longer; batches of a sink rarely do", "alter role "+pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize()+" set statement_timeout = '120s'")
	}
	if len(f.list) == 0 {
		f.ok("%d of %d connections in use", used, most)
	}
}

// sinkConnections is how many connections a sink opens, and one for a command beside it.
const sinkConnections = 5

func judgeConnections(f *findings, whose string, used, most int, fix string) {
	text := fmt.Sprintf("%s: %d of %d connections in use", whose, used, most)
	const why = "a sink opens up to 4, a command beside it some more; without one it waits"
	switch {
	case used >= most:
		f.fail(text, why, fix)
	case most-used < sinkConnections:
		f.warn(text, why, fix)
	}
}

// smallestDisk is the size of a database at which Supabase's free plan turns read-only. Supabase rule: 500 MB.
const smallestDisk = 500 << 20

func checkDatabaseSize(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	var size int64
	if err := pool.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&size); err != nil {
		f.none("size of the database not known: %v", err)
		return
	}
	host := pool.Config().ConnConfig.Host
	if strings.Contains(host, ".supabase.") && size > smallestDisk/10*8 && size < smallestDisk*2 {
		f.warn(fmt.Sprintf("the database has %s", bytesText(uint64(size))), "on Supabase's free plan it turns read-only at 500 MB",
			"Supabase: Project Settings, Compute and Disk; fewer object types with --objects take less")
		return
	}
	f.ok("the database has %s; how much room its disk has cannot be seen from here", bytesText(uint64(size)))
}

func checkPostgresClock(ctx context.Context, d *doctor, f *findings) {
	pool, err := d.pool()
	if err != nil {
		return
	}
	var there time.Time
	asked := time.Now()
	if err := pool.QueryRow(ctx, "select clock_timestamp()").Scan(&there); err != nil {
		return
	}
	took := time.Since(asked)
	skew := there.Sub(asked.Add(took / 2))
	if skew.Abs() <= took/2 {
		skew = 0
	}
	judgeClock(f, "Postgres", skew, "_synced_at and sync_logs do not fit together with times in logs")
}
