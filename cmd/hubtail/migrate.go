package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/migrations"
)

func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "create the schema and its fixed tables, or bring them up to date",
		Description: "The sink does the same when it starts; run it by hand where the sink's role may not create a schema: as an\n" +
			"administrator, with --owner naming the sink's role. The role then needs no other right in the database.\n\n" +
			"Examples:\n  hubtail migrate --database-url postgresql://postgres@localhost/crm --schema hubspot\n" +
			"  hubtail migrate --database-url postgresql://postgres@localhost/crm --owner hubtail",
		Flags: flags(postgresFlags,
			&cli.StringFlag{Name: "owner", Usage: "make this `ROLE` the owner of the schema and of everything in it", EnvVars: env("HUBTAIL_OWNER")}),
		Before: noArguments,
		Action: withParts(runMigrate),
	}
}

func runMigrate(c *cli.Context, p *parts) error {
	pool, err := p.openDatabase(c.Context)
	if err != nil {
		return err
	}
	if err := p.migrate(c.Context, pool); err != nil {
		return err
	}
	owner := c.String("owner")
	if owner == "" {
		printf(c.App.Writer, "schema %s is up to date\n", p.schema)
		return nil
	}
	if err := migrations.SetOwner(c.Context, pool, p.schema, owner); err != nil {
		if codeOf(err) == codeNoRight {
			return fmt.Errorf("%w (connect as a superuser, or first `grant %s to` the role you connect as)", err, pgx.Identifier{owner}.Sanitize())
		}
		return err
	}
	printf(c.App.Writer, "schema %s is up to date and owned by %s\n", p.schema, owner)
	return nil
}

// migrate brings the schema up to date, or says who has to.
func (p *parts) migrate(ctx context.Context, pool *pgxpool.Pool) error {
	err := migrations.Apply(ctx, pool, p.schema)
	if codeOf(err) != codeNoRight {
		return err
	}
	role := pool.Config().ConnConfig.User
	return fmt.Errorf("%w: run `hubtail migrate --owner %s` as an administrator, or `create schema %s authorization %s`",
		err, role, pgx.Identifier{p.schema}.Sanitize(), pgx.Identifier{role}.Sanitize())
}

// codeNoRight is Postgres' code for a missing right.
const codeNoRight = "42501"

// codeOf returns the SQLSTATE of an error of Postgres, "" for others.
func codeOf(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}
