package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/migrations"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "ask for the settings, try each, and write them to .env",
		Description: "Asks for what no flag or variable gives, on a terminal only; elsewhere flags have to do. Each answer is tried at once: the\n" +
			"token at HubSpot (one request), NATS and the database by connecting. The file is readable by its owner only; lines that\n" +
			"are not asked for stay as they are. Then it prints the SQL for a role with the least rights, the scopes to tick in\n" +
			"HubSpot and what to run next.\n\n" +
			"Examples:\n  hubtail init\n" +
			"  HUBSPOT_ACCESS_TOKEN=pat-... DATABASE_URL=postgresql://... hubtail init --objects contacts,deals --force",
		Flags: flags(pickFlags(slices.Concat(hubspotFlags, natsFlags, postgresFlags, objectFlags, webhookFlags), "hubspot-url", "hubspot-token",
			"hubspot-client-secret", "nats-url", "nats-creds", "database-url", "schema", "objects", "webhook-url", "webhook-addr"),
			&cli.StringFlag{Name: "supabase-url", Usage: "`URL` of a Supabase project, https://<project>.supabase.co, instead of --database-url", EnvVars: env("SUPABASE_URL")},
			&cli.StringFlag{Name: "supabase-db-password", Usage: "`PASSWORD` of its database; better in the environment than on a command line", EnvVars: env("SUPABASE_DB_PASSWORD")},
			&cli.StringFlag{Name: "output", Usage: "`FILE` to write", Value: defaultEnvFile},
			&cli.StringFlag{Name: "role", Usage: "`NAME` of the database role in the SQL that is printed", Value: "hubtail"},
			&cli.BoolFlag{Name: "overwrite", Aliases: []string{"force"}, Usage: "change a file that is there"},
			&cli.BoolFlag{Name: "no-check", Usage: "try nothing: neither HubSpot nor NATS nor the database is asked"}),
		Before: noArguments,
		Action: runInit,
	}
}

// pickFlags returns those of a list that have the names.
func pickFlags(list []cli.Flag, names ...string) (picked []cli.Flag) {
	for _, f := range list {
		if slices.Contains(names, f.Names()[0]) {
			picked = append(picked, f)
		}
	}
	return picked
}

// setup is one run of `hubtail init`.
type setup struct {
	c    *cli.Context
	out  io.Writer
	ask  *asker // nil if there is nobody to ask
	file string

	values settings
	token  string // the parts of values that are tried
	portal string
}

func runInit(c *cli.Context) error {
	s := &setup{c: c, out: c.App.Writer, file: c.String("output")}
	if _, err := os.Lstat(s.file); err == nil && !c.Bool("overwrite") {
		return usageError{fmt.Errorf("%s is there already: --force changes what is asked for in it and keeps all other lines", s.file)}
	}
	var err error
	if s.ask, err = newAsker(c.Context, os.Stdin, os.Stdout); err != nil {
		return err
	}
	defer s.ask.close()
	if s.ask != nil {
		s.out = s.ask
		printf(s.out, "Enter takes what is in brackets. Secrets are not shown.\n\n")
	}
	for _, step := range []func() error{s.hubspot, s.nats, s.database, s.tables, s.webhooks} {
		if err := step(); err != nil {
			return err
		}
	}
	if s.values.get("HUBSPOT_ACCESS_TOKEN") == "" && s.values.get("DATABASE_URL") == "" && s.values.get("SUPABASE_URL") == "" {
		return usageError{errors.New("neither a HubSpot token nor a database was given, so there is nothing to write: " +
			"set HUBSPOT_ACCESS_TOKEN and DATABASE_URL (or SUPABASE_URL and SUPABASE_DB_PASSWORD), or run it on a terminal")}
	}
	if err := s.values.write(s.file); err != nil {
		return err
	}
	s.ask.close()
	s.out = c.App.Writer
	s.printNext()
	return nil
}

// flag returns what a flag or its variable says; asked for, if neither does and somebody is there. try is asked whether it
// will do: a person may correct it, a script gets the error.
func (s *setup) flag(name, question, preset string, secret bool, try func(string) error) (string, error) {
	value := strings.TrimSpace(s.c.String(name))
	given := s.c.IsSet(name)
	if s.ask != nil && s.c.Bool("overwrite") && given { // most likely the file says so: it may be what is to be changed
		given, preset = false, value
	}
	for {
		if s.ask != nil && !given {
			var err error
			if value, err = s.ask.line(question, preset, secret); err != nil {
				return "", err
			}
		} else if value == "" {
			value = preset
		}
		err := try(value)
		if err == nil {
			return value, nil
		}
		if s.ask == nil || s.c.Context.Err() != nil {
			return "", err
		}
		printf(s.out, "  %v\n", err)
		given = false
	}
}

// patient returns a doctor for the settings so far: what it finds wrong is what is wrong with an answer.
func (s *setup) patient(ctx context.Context, set func(*options)) (*doctor, error) {
	o, err := readOptions(s.c)
	if err != nil {
		return nil, err
	}
	o.natsURL, o.databaseURL, o.webhookURL, o.webhookAddr = "", "", "", ""
	set(&o)
	p, err := newParts(o)
	if err != nil {
		return nil, err
	}
	return newDoctor(ctx, p, s.file, true), nil
}

// try runs one check on an answer. It returns what is wrong and what to do; what is well is printed.
func (s *setup) try(part, name string, set func(*options)) error {
	if s.c.Bool("no-check") {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.c.Context, checkBound)
	defer cancel()
	d, err := s.patient(ctx, set)
	if err != nil {
		return err
	}
	defer d.close()
	i := slices.IndexFunc(checks, func(c check) bool { return c.part == part && c.name == name })
	f := findings{check: &checks[i]}
	checks[i].run(ctx, d, &f)
	for _, one := range f.list {
		if one.Severity == severityFail {
			return fmt.Errorf("%s; %s", d.redact(one.What), d.redact(one.Fix))
		}
	}
	for _, one := range f.list {
		printf(s.out, "  %s: %s\n", part, d.redact(one.What))
	}
	if account, err := d.account(); err == nil {
		s.portal = fmt.Sprint(account.PortalID)
	}
	return nil
}

func (s *setup) hubspot() (err error) {
	s.token, err = s.flag("hubspot-token", "HubSpot private app token, pat-... (Enter for none)", "", true, func(token string) error {
		if token == "" {
			return nil
		}
		return s.try("hubspot", "token", func(o *options) { o.hubspotToken, o.portal = token, "" })
	})
	if err != nil {
		return err
	}
	s.values.set("HUBSPOT_ACCESS_TOKEN", s.token)
	if u := s.c.String("hubspot-url"); s.c.IsSet("hubspot-url") {
		s.values.set("HUBTAIL_HUBSPOT_URL", u)
	}
	if s.token == "" {
		return nil
	}
	objects, err := s.flag("objects", "Object types", s.c.String("objects"), false, func(list string) error {
		for _, name := range spelledAll(splitList(list)) {
			_, standard := hubspot.ObjectByName(name)
			if !standard && !slices.Contains([]string{"all", "owners", "pipelines"}, name) && !strings.HasPrefix(name, "p_") && !strings.HasPrefix(name, "2-") {
				return usageError{fmt.Errorf("no object type is called %q%s: custom ones are called p_<name>, others as in %s", name, didYouMean(name, standardObjects()), defaultObjects)}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.values.set("HUBTAIL_OBJECTS", joinList(spelledAll(splitList(objects))))
	return nil
}

// nats asks for a server. None means that of `hubtail up`.
func (s *setup) nats() error {
	address, err := s.flag("nats-url", "NATS server URL (Enter for the one inside `hubtail up`)", "", false, func(address string) error {
		if address == "" {
			return nil
		}
		return s.try("nats", "connection", func(o *options) { o.natsURL, o.hubspotToken = address, "" })
	})
	if err != nil {
		return err
	}
	s.values.set("NATS_URL", address)
	if creds := s.c.String("nats-creds"); creds != "" {
		s.values.set("NATS_CREDS", creds)
	}
	return nil
}

// database asks for an address, or for a Supabase project and its password.
func (s *setup) database() error {
	preset := s.c.String("supabase-url")
	if s.c.IsSet("supabase-url") && !s.c.IsSet("database-url") && s.c.IsSet("supabase-db-password") {
		return s.supabase(preset)
	}
	address, err := s.flag("database-url", "Database URL, or https://<project>.supabase.co (Enter for none)", preset, true, func(address string) error {
		if address == "" || isSupabaseProject(address) {
			return nil
		}
		return s.tryDatabase(address)
	})
	if err != nil {
		return err
	}
	if isSupabaseProject(address) {
		return s.supabase(address)
	}
	if address != "" {
		s.values.set("DATABASE_URL", address)
	}
	return nil
}

func isSupabaseProject(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.Host != ""
}

func (s *setup) supabase(project string) error {
	password, err := s.flag("supabase-db-password", "Password of the project's database (Project Settings, Database)", "", true, func(password string) error {
		if password == "" {
			return usageError{errors.New("SUPABASE_DB_PASSWORD is missing: the password of the project's database")}
		}
		address, err := supabaseURL(project, password)
		if err != nil {
			return usageError{err}
		}
		return s.tryDatabase(address)
	})
	if err != nil {
		return err
	}
	s.values.set("SUPABASE_URL", project)
	s.values.set("SUPABASE_DB_PASSWORD", password)
	s.values.drop("DATABASE_URL", "HUBTAIL_DATABASE_URL") // they would win
	return nil
}

func (s *setup) tryDatabase(address string) error {
	return s.try("database", "connection", func(o *options) { o.databaseURL, o.hubspotToken = address, "" })
}

// tables asks for the schema, if there is a database.
func (s *setup) tables() error {
	if s.values.get("DATABASE_URL") == "" && s.values.get("SUPABASE_URL") == "" {
		return nil
	}
	schema, err := s.flag("schema", "Schema of the tables", s.c.String("schema"), false, func(name string) error {
		if name == "" || len(name) > 63 {
			return usageError{errors.New("a schema has a name of 1 to 63 bytes")}
		}
		return nil
	})
	if err == nil {
		s.values.set("HUBTAIL_SCHEMA", schema)
	}
	return err
}

// webhooks asks for what a receiver needs, if there is a source.
func (s *setup) webhooks() error {
	if s.token == "" {
		return nil
	}
	address, err := s.flag("webhook-url", "https address that HubSpot's webhooks call (Enter for none)", "", false, func(address string) error {
		u, err := url.Parse(address)
		if address != "" && (err != nil || u.Host == "" || u.Scheme != "https" && !isHere(u.Hostname())) {
			return usageError{fmt.Errorf("--webhook-url is %q; HubSpot calls a whole https address, such as https://hooks.example.com/hubspot", address)}
		}
		return nil
	})
	if err != nil || address == "" && !s.c.IsSet("hubspot-client-secret") {
		return err
	}
	secret, err := s.flag("hubspot-client-secret", "Client secret of the private app (its Auth tab)", "", true, func(secret string) error {
		if secret == "" {
			return usageError{errors.New("webhooks need HUBSPOT_CLIENT_SECRET, which they are signed with")}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.values.set("HUBSPOT_CLIENT_SECRET", secret)
	if address != "" {
		s.values.set("HUBTAIL_WEBHOOK_URL", address)
		s.values.set("HUBTAIL_WEBHOOK_ADDR", orText(s.c.String("webhook-addr"), "127.0.0.1:8090"))
	}
	return nil
}

func orText(text, preset string) string {
	if text == "" {
		return preset
	}
	return text
}

// printNext says what to click, to run as an administrator, and to start.
func (s *setup) printNext() {
	path, err := filepath.Abs(s.file)
	if err != nil {
		path = s.file
	}
	printf(s.out, "\n%s is written, for this user only.\n", path)
	if s.token != "" {
		printf(s.out, "\nScopes of the private app (%s, Scopes):\n", appSettings)
		printWrapped(s.out, scopesFor(splitList(s.values.get("HUBTAIL_OBJECTS"))), "    ", 116)
	}
	if schema := s.values.get("HUBTAIL_SCHEMA"); schema != "" {
		s.printRole(schema)
	}
	s.printWebhooks()
	printf(s.out, "\nNext:\n    hubtail doctor      # looks at all of it\n")
	if s.values.get("NATS_URL") == "" {
		printf(s.out, "    hubtail up          # source, sink and NATS in one process\n")
		return
	}
	if s.token != "" {
		printf(s.out, "    hubtail source      # HubSpot to the log\n")
	}
	if s.values.get("HUBTAIL_SCHEMA") != "" {
		printf(s.out, "    hubtail sink        # the log to the tables\n")
	}
}

func (s *setup) printRole(schema string) {
	role := s.c.String("role")
	printf(s.out, "\nA database role with the least rights, for an administrator (Supabase: SQL Editor). The password is new and only here;\n"+
		"put it and the role into DATABASE_URL (`hubtail migrate --owner %s --print` makes another):\n", role)
	for line := range strings.Lines(migrations.RoleSQL(role, rand.Text(), ownerConnections, true) + migrations.OwnerSQL(schema, role)) {
		printf(s.out, "    %s", line)
	}
}

// printWebhooks lists what to subscribe, if webhooks are wanted.
func (s *setup) printWebhooks() {
	address := s.values.get("HUBTAIL_WEBHOOK_URL")
	if address == "" || s.c.Bool("no-check") {
		printf(s.out, "\nWebhooks to subscribe: `hubtail webhooks` lists them.\n")
		return
	}
	ctx, cancel := context.WithTimeout(s.c.Context, time.Minute)
	defer cancel()
	d, err := s.patient(ctx, func(o *options) {
		o.hubspotToken, o.objects = s.token, splitList(s.values.get("HUBTAIL_OBJECTS"))
	})
	if err != nil {
		return
	}
	defer d.close()
	var list []connector.Subscription
	client, err := d.client()
	if err == nil {
		list, err = connector.Subscriptions(ctx, client, d.objects)
	}
	if err != nil {
		printf(s.out, "\nWebhooks to subscribe: `hubtail webhooks` lists them (%s).\n", d.redact(err.Error()))
		return
	}
	printf(s.out, "\n")
	printSubscriptions(s.out, list, address)
}
