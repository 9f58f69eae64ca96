package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/sink"
)

func exposeCommand() *cli.Command {
	return &cli.Command{
		Name:      "expose",
		Usage:     "open object types to Supabase's Data API and Realtime, or close them again",
		ArgsUsage: "[object...]",
		Description: "Makes a view of each object type in a schema for the Data API, with what the roles need to read it: rights on its columns\n" +
			"and a policy. The views have the caller's rights (security_invoker), show no archived records, and get the columns of new\n" +
			"properties by themselves. Beside object types: links, pipelines, pipeline_stages, properties. Without an object it lists\n" +
			"what is exposed. An object type that is exposed already is exposed anew, as this command line says.\n" +
			"Run it as the role that owns the tables, or as one that may become it: on Supabase postgres, which --realtime needs.\n" +
			"Then add the schema in the dashboard: Settings, Data API, Exposed schemas.\n\n" +
			"Examples:\n  hubtail expose contacts deals\n" +
			"  hubtail expose --to anon --columns dealname,amount deals\n" +
			"  hubtail expose --policy \"email = (select auth.jwt() ->> 'email')\" contacts     everybody sees their own\n" +
			"  hubtail expose --remove contacts",
		Flags: flags(postgresFlags,
			&cli.StringFlag{Name: "api-schema", Usage: "`SCHEMA` of the views; made if it is not there; default: that of the tables and _api", EnvVars: env("HUBTAIL_API_SCHEMA")},
			&cli.StringFlag{Name: "to", Usage: "`ROLES` that may read, comma-separated", Value: sink.DefaultExposedTo},
			&cli.StringFlag{Name: "columns", Usage: "`PROPERTIES` to show, comma-separated, of one object type; default: all, new ones too"},
			&cli.BoolFlag{Name: "system", Usage: "show _created_at, _updated_at and the like, too"},
			&cli.BoolFlag{Name: "extra", Usage: "show _extra, too: values of any property that do not fit its column"},
			&cli.BoolFlag{Name: "archived", Usage: "show archived records, too, and _archived"},
			&cli.StringFlag{Name: "policy", Usage: "which rows the roles see, as an SQL `CONDITION`; none leaves that to policies of your own; default: all"},
			&cli.BoolFlag{Name: "realtime", Usage: "put the tables into the publication supabase_realtime: every change is then decoded and checked per subscriber"},
			&cli.BoolFlag{Name: "remove", Usage: "close the object types again, without a trace"},
			printFlag,
			&cli.BoolFlag{Name: "json", Usage: "print JSON"}),
		Action: func(c *cli.Context) error {
			objects, err := exposedObjects(c)
			if err != nil {
				return err
			}
			return withParts(func(c *cli.Context, p *parts) error { return runExpose(c, p, objects) })(c)
		},
	}
}

var printFlag = &cli.BoolFlag{Name: "print", Usage: "change nothing, print the SQL, for a console such as Supabase's SQL editor"}

// exposedObjects returns the object types of the command line, each once. Commas separate them, too.
func exposedObjects(c *cli.Context) (objects []string, err error) {
	for _, arg := range c.Args().Slice() {
		objects = append(objects, splitList(arg)...)
	}
	slices.Sort(objects)
	objects = slices.Compact(objects)
	switch {
	case len(objects) == 0 && c.Args().Present():
		return nil, usageError{errors.New("an object type has no name")}
	case len(objects) == 0 && (c.Bool("remove") || c.Bool("print") || c.Bool("realtime") || c.IsSet("columns") || c.IsSet("to") || c.IsSet("policy")):
		return nil, usageError{errors.New("name the object types: hubtail expose contacts deals")}
	case len(objects) > 1 && c.IsSet("columns"):
		return nil, usageError{errors.New("--columns goes with one object type")}
	}
	return objects, nil
}

// exposeResult is what `hubtail expose` did or found, and its JSON.
type exposeResult struct {
	Exposed []sink.Exposure `json:"exposed"`           // all that is exposed now
	Removed []string        `json:"removed,omitempty"` // closed by this run
	SQL     []string        `json:"sql,omitempty"`     // what was run, or would be
	Notes   []string        `json:"notes,omitempty"`   // what is left to do
}

func runExpose(c *cli.Context, p *parts, objects []string) error {
	pool, err := p.openDatabase(c.Context)
	if err != nil {
		return err
	}
	x := &sink.Exposer{Pool: pool, Schema: p.schema, DryRun: c.Bool("print")}
	if objects, err = p.exposedNames(c, x, objects); err != nil {
		return err
	}
	var r exposeResult
	switch {
	case len(objects) == 0:
	case c.Bool("remove"):
		r.SQL, err = x.Remove(c.Context, objects...)
		r.Removed = objects
	default:
		r.SQL, err = x.Expose(c.Context, exposures(c, objects)...)
		if err == nil {
			r.Notes = exposeNotes(c, pool, objects)
		}
	}
	if errors.Is(err, sink.ErrExposure) {
		return usageError{err}
	}
	if codeOf(err) == codeNoRight {
		return fmt.Errorf("%w (run it as an administrator: on Supabase with the connection string of postgres)", err)
	}
	if err != nil {
		return err
	}
	if r.Exposed, err = x.List(c.Context); err != nil {
		return err
	}
	return r.print(c, len(objects) > 0)
}

// exposedNames returns object types as the tables name them. What is exposed can be closed though its table is gone.
func (p *parts) exposedNames(c *cli.Context, x *sink.Exposer, objects []string) ([]string, error) {
	also := sink.Exposable()
	if c.Bool("remove") {
		exposed, err := x.List(c.Context)
		if err != nil {
			return objects, nil // whoever needs the list says better what is the matter with it
		}
		for _, e := range exposed {
			also = append(also, e.Object)
		}
	}
	return p.tableObjects(c.Context, x.Pool, objects, also...)
}

func exposures(c *cli.Context, objects []string) []sink.Exposure {
	list := make([]sink.Exposure, len(objects))
	for i, object := range objects {
		list[i] = sink.Exposure{
			Object: object, APISchema: c.String("api-schema"), Roles: splitList(c.String("to")), Columns: splitList(c.String("columns")),
			System: c.Bool("system"), Extra: c.Bool("extra"), Archived: c.Bool("archived"), Realtime: c.Bool("realtime"), Policy: c.String("policy"),
		}
	}
	return list
}

// exposeNotes says what only the owner can do.
func exposeNotes(c *cli.Context, pool *pgxpool.Pool, objects []string) (notes []string) {
	schema := c.String("api-schema")
	if schema == "" {
		schema = c.String("schema") + "_api"
	}
	if schema != "public" {
		notes = append(notes, fmt.Sprintf("add %s in the dashboard (Settings, Data API, Exposed schemas); then: supabase.schema('%[1]s').from('%s').select()", schema, objects[0]))
	}
	if c.String("policy") == sink.PolicyNone {
		notes = append(notes, fmt.Sprintf("nothing is seen until policies of your own allow it: create policy ... on %s.%s for select to %s using (...)", c.String("schema"), objects[0], c.String("to")))
	}
	var level string
	if c.Bool("realtime") && pool.QueryRow(c.Context, `show wal_level`).Scan(&level) == nil && level != "logical" {
		notes = append(notes, "this server has wal_level = "+level+": Realtime needs logical")
	}
	return notes
}

func (r *exposeResult) print(c *cli.Context, changed bool) error {
	w := c.App.Writer
	switch {
	case c.Bool("json"):
		if r.Exposed == nil {
			r.Exposed = []sink.Exposure{}
		}
		encoder := newJSONEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	case c.Bool("print"):
		printf(w, "begin;\n")
		for _, sql := range r.SQL {
			printf(w, "%s;\n", sql)
		}
		printf(w, "commit;\n")
		return nil
	case len(r.Exposed) == 0:
		printf(w, "nothing is exposed\n")
		return nil
	}
	if changed && len(r.Removed) > 0 {
		printf(w, "no longer exposed: %s\n", strings.Join(r.Removed, ", "))
	}
	r.printExposed(w)
	for _, note := range r.Notes {
		printf(w, "note: %s\n", note)
	}
	return nil
}

func (r *exposeResult) printExposed(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printf(table, "OBJECT\tVIEW\tTO\tCOLUMNS\tROWS\tREALTIME\n")
	for _, e := range r.Exposed {
		columns, rows, realtime := "all properties", "all", "no"
		if len(e.Columns) > 0 {
			columns = joinList(e.Columns)
		}
		switch e.Policy {
		case "true":
		case sink.PolicyNone:
			rows = "by your own policies"
		default:
			rows = e.Policy
		}
		if e.Realtime {
			realtime = "yes"
		}
		printf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Object, e.View, joinList(e.Roles), columns, rows, realtime)
	}
	_ = table.Flush() // to a buffer's writer; a closed pipe is the reader's business
}
