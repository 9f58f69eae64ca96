package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/migrations"
)

func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "create the schema and its fixed tables, or bring them up to date",
		Description: "The sink does the same when it starts; run it by hand where the sink's role may not create a schema.\n\n" +
			"Example:\n  hubtail migrate --database-url postgresql://postgres@localhost/crm --schema hubspot",
		Flags:  flags(postgresFlags),
		Before: noArguments,
		Action: runMigrate,
	}
}

func runMigrate(c *cli.Context) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	p, err := newParts(o)
	if err != nil {
		return err
	}
	defer p.close()
	pool, err := p.openDatabase(c.Context)
	if err != nil {
		return err
	}
	if err := migrations.Apply(c.Context, pool, p.schema); err != nil {
		return fmt.Errorf("migrate schema %s: %w", p.schema, err)
	}
	printf(c.App.Writer, "schema %s is up to date\n", p.schema)
	return nil
}
