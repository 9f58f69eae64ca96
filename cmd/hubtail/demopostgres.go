package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/hubtail/hubtail/internal/localpg"
	"github.com/hubtail/hubtail/internal/localpg/container"
)

// startPostgres makes a database for this run, on the server of DATABASE_URL or else on one of our own. It returns where
// that is from, and its address as the screen may show it.
func (d *demo) startPostgres(ctx context.Context) (source, address string, err error) {
	given := d.databaseURL
	opts := localpg.Options{DatabaseURL: given, Logger: d.log, Container: container.Start}
	if d.dataDir != "" {
		opts.Dir = filepath.Join(d.dataDir, "postgres")
	}
	cluster, err := localpg.Start(ctx, opts)
	if err != nil {
		return "", "", err
	}
	d.onClose("Postgres", cluster.Stop)
	name := fmt.Sprintf("hubtail_demo_%d", os.Getpid())
	if err := cluster.CreateDatabase(ctx, name); err != nil {
		return "", "", err
	}
	d.databaseURL = cluster.URL(name)
	if given == "" {
		return cluster.Source, d.databaseURL, nil
	}
	d.onClose("database "+name, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopBound)
		defer cancel()
		return cluster.DropDatabase(ctx, name)
	})
	return cluster.Source, withoutPassword(d.databaseURL), nil
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
