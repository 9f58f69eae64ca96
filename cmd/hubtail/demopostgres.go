package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/internal/localpg"
	"github.com/hubtail/hubtail/internal/localpg/container"
)

// announce is the first line on the screen: what the demo touches.
func (d *demo) announce() {
	if d.databaseURL == "" {
		printf(d.out, "hubtail demo: everything is private to this run\n")
		return
	}
	printf(d.out, "hubtail demo: on the server of DATABASE_URL (%s) it makes a database of its own, %s, and drops it afterwards;\n"+
		"              nothing else there is touched, and HubSpot and NATS are private to this run\n", serverOf(d.databaseURL), d.own)
}

// startPostgres makes a database for this run, on the server of DATABASE_URL or else on one of our own. It returns where
// that is from, and its address as the screen may show it.
func (d *demo) startPostgres(ctx context.Context) (source, address string, err error) {
	if d.databaseURL != "" {
		source, err := d.ownDatabase(ctx)
		if err == nil {
			return source, withoutPassword(d.databaseURL), nil
		}
		if ctx.Err() != nil {
			return "", "", err
		}
		printf(d.out, "              that does not work (%s): it starts a private server instead\n", reasonOf(err))
	}
	opts := localpg.Options{Logger: d.log, Container: container.Start}
	if d.dataDir != "" {
		opts.Dir = filepath.Join(d.dataDir, "postgres")
	}
	cluster, err := localpg.Start(ctx, opts)
	if err != nil {
		return "", "", err
	}
	d.onClose("Postgres", cluster.Stop)
	if err := cluster.CreateDatabase(ctx, d.own); err != nil {
		return "", "", err
	}
	d.databaseURL = cluster.URL(d.own)
	return cluster.Source, d.databaseURL, nil
}

// ownDatabase makes a database on the user's server, which the end of the run drops.
func (d *demo) ownDatabase(ctx context.Context) (source string, err error) {
	cluster, err := localpg.Start(ctx, localpg.Options{DatabaseURL: d.databaseURL, Logger: d.log})
	if err != nil {
		return "", err
	}
	if err := cluster.CreateDatabase(ctx, d.own); err != nil {
		return "", err
	}
	d.onClose("database "+d.own, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopBound)
		defer cancel()
		return cluster.DropDatabase(ctx, d.own)
	})
	d.databaseURL = cluster.URL(d.own)
	return cluster.Source, nil
}

// reasonOf is the cause of a database error in a few words that hold no password.
func reasonOf(err error) string {
	var answer *pgconn.PgError
	var parse *pgconn.ParseConfigError
	var dial *pgconn.ConnectError
	switch {
	case errors.As(err, &answer):
		return answer.Message
	case errors.As(err, &parse):
		return "the URL is not understood"
	case errors.As(err, &dial):
		return "the server does not answer"
	}
	return strings.ReplaceAll(err.Error(), "\n\t", " ")
}

// serverOf names the server of a database URL.
func serverOf(database string) string {
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		return "which is not understood"
	}
	return fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)
}

// withoutPassword is a database URL for the screen; what is not a URL is not shown at all.
func withoutPassword(database string) string {
	u, err := url.Parse(database)
	if err != nil || u.Scheme == "" {
		return "DATABASE_URL"
	}
	q := u.Query()
	if q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}
