package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/sink"
)

func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "create the schema and its fixed tables, or bring them up to date; prepare roles",
		Description: "The sink does the same when it starts; run it by hand where the sink's role may not create a schema: as an\n" +
			"administrator, with --owner naming the sink's role. The role then owns its schema, may create schemas (which rebuild does)\n" +
			"and needs no other right in the database. --reader lets a role read all tables, those of later object types too.\n" +
			"--print prints SQL that creates these roles and prepares them, with new passwords, and needs no database. What is there\n" +
			"already stays: all of it may be run again.\n\n" +
			"Examples:\n  hubtail migrate --database-url postgresql://postgres@localhost/crm --schema hubspot\n" +
			"  hubtail migrate --database-url postgresql://postgres@localhost/crm --owner hubtail\n" +
			"  hubtail migrate --owner hubtail --print              SQL for Supabase's SQL editor\n" +
			"  hubtail migrate --reader metabase                    for a BI tool",
		Flags: flags(postgresFlags,
			&cli.StringFlag{Name: "owner", Usage: "make this `ROLE` the owner of the schema and of everything in it", EnvVars: env("HUBTAIL_OWNER")},
			&cli.StringFlag{Name: "reader", Usage: "let this `ROLE` read the tables"},
			printFlag),
		Before: noArguments,
		Action: func(c *cli.Context) error {
			if c.Bool("print") {
				return printRoles(c)
			}
			return withParts(runMigrate)(c)
		},
	}
}

const (
	// ownerConnections suffices for a sink, a command beside it and one to spare, at four connections each.
	ownerConnections  = 12
	readerConnections = 5
)

// printRoles prints the SQL for an administrator who has no more than a console. The passwords are new ones, and nowhere else.
func printRoles(c *cli.Context) error {
	owner, reader, schema := c.String("owner"), c.String("reader"), c.String("schema")
	if owner == "" && reader == "" {
		return usageError{errors.New("--print goes with --owner ROLE or --reader ROLE: the tables are the sink's own work, it makes them when it starts")}
	}
	w := c.App.Writer
	if owner != "" {
		printf(w, "-- The role of the sink, if it is not there yet. Its password is new and only here: it belongs into DATABASE_URL.\n%s", migrations.RoleSQL(owner, rand.Text(), ownerConnections, true))
		printf(w, "-- It owns the schema, may create further ones (hubtail rebuild does), and has no other right.\n%s", migrations.OwnerSQL(schema, owner))
	}
	if reader != "" {
		printf(w, "-- A role that reads, if it is not there yet. Its password is new and only here.\n%s", migrations.RoleSQL(reader, rand.Text(), readerConnections, false))
		printf(w, "-- It reads all tables of records. Run this once a sink has made the tables.\n%s", sink.ReaderSQL(schema, reader))
	}
	return nil
}

func runMigrate(c *cli.Context, p *parts) error {
	pool, err := p.openDatabase(c.Context)
	if err != nil {
		return err
	}
	if err := p.migrate(c.Context, pool); err != nil {
		return err
	}
	done := fmt.Sprintf("schema %s is up to date", p.schema)
	if owner := c.String("owner"); owner != "" {
		may, err := migrations.SetOwner(c.Context, pool, p.schema, owner)
		if err != nil {
			return adviseOwner(err, owner)
		}
		done += " and owned by " + owner
		if !may {
			done += fmt.Sprintf("\n%s may not create schemas, which `hubtail rebuild` needs: as the owner of the database, `grant create on database %s to %s`",
				owner, pgx.Identifier{pool.Config().ConnConfig.Database}.Sanitize(), pgx.Identifier{owner}.Sanitize())
		}
	}
	if reader := c.String("reader"); reader != "" {
		if err := sink.AddReader(c.Context, pool, p.schema, reader); err != nil {
			return err
		}
		done += fmt.Sprintf("\n%s may read its tables", reader)
	}
	printf(c.App.Writer, "%s\n", done)
	return nil
}

// adviseOwner adds what an administrator who is no superuser has to do first.
func adviseOwner(err error, owner string) error {
	const noSuchRole = "42704"
	switch codeOf(err) {
	case codeNoRight:
		return fmt.Errorf("%w (connect as a superuser, or first `grant %s to` the role you connect as)", err, pgx.Identifier{owner}.Sanitize())
	case noSuchRole:
		return fmt.Errorf("%w (`hubtail migrate --owner %s --print` prints SQL that creates it)", err, owner)
	}
	return err
}

// migrate brings the schema up to date, or says who has to.
func (p *parts) migrate(ctx context.Context, pool *pgxpool.Pool) error {
	err := migrations.Apply(ctx, pool, p.schema)
	if codeOf(err) != codeNoRight {
		return err
	}
	role := pool.Config().ConnConfig.User // behind Supabase's pooler that is role.project
	_ = pool.QueryRow(ctx, `select current_user`).Scan(&role)
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
