package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Exposure says what of an object type Supabase's Data API shows, and to whom: a view in a schema that the API serves, the
// grants that the view needs, and a policy. Roles see the rows that policies let them see, also of the owner's own.
type Exposure struct {
	Object    string   `json:"object"`            // an object type, or links, pipelines, pipeline_stages, properties
	APISchema string   `json:"api_schema"`        // where the view is; "" is <schema>_api
	Roles     []string `json:"roles"`             // none is authenticated
	Columns   []string `json:"columns,omitempty"` // properties or columns; none is every property, new ones too
	System    bool     `json:"system,omitempty"`  // _created_at, _updated_at, ..., too
	Extra     bool     `json:"extra,omitempty"`   // _extra too: values of any property may be in it
	Archived  bool     `json:"archived,omitempty"`
	Realtime  bool     `json:"realtime,omitempty"` // in the publication supabase_realtime
	// Policy is the condition of the policy that the roles get: "" is all rows, PolicyNone leaves it to the owner's own.
	Policy string `json:"policy"`
	View   string `json:"view"` // quoted name; only read
}

const (
	// PolicyNone makes no policy: roles see what policies of the owner's own show them, nothing if there are none.
	PolicyNone = "none"

	// DefaultExposedTo is the role of Supabase's users who have logged in.
	DefaultExposedTo = "authenticated"

	policyName = "hubtail_expose"

	// Realtime is the publication that Supabase's Realtime follows.
	Realtime = "supabase_realtime"
)

// ErrExposure is returned for what cannot be exposed as asked, and says what could be.
var ErrExposure = errors.New("cannot be exposed")

// exposable are the static tables that a reader of records may want beside them.
var exposable = []string{"links", "pipelines", "pipeline_stages", "properties"}

// Exposable returns the tables beside those of records that can be exposed.
func Exposable() []string { return slices.Clone(exposable) }

func (e Exposure) withDefaults(schema string) Exposure {
	if e.APISchema == "" {
		e.APISchema = schema + "_api"
	}
	if len(e.Roles) == 0 {
		e.Roles = []string{DefaultExposedTo}
	}
	slices.Sort(e.Roles)
	e.Roles = slices.Compact(e.Roles)
	if e.Policy == "" {
		e.Policy = "true"
	}
	return e
}

// Exposer opens and closes tables of one schema to Supabase's Data API.
type Exposer struct {
	Pool   *pgxpool.Pool
	Schema string // migrated
	DryRun bool   // change nothing, only tell the statements
}

// Expose opens object types, each anew if it was exposed before, all in one transaction, and returns the statements that
// did it. It is run by the owner of the tables, or by a role that may become the owner.
func (x *Exposer) Expose(ctx context.Context, exposures ...Exposure) (statements []string, err error) {
	objects := make([]string, len(exposures))
	for i, e := range exposures {
		objects[i] = e.Object
	}
	return x.run(ctx, objects, func(s *exposing) error {
		for _, e := range exposures {
			if err := s.expose(ctx, e.withDefaults(x.Schema)); err != nil {
				return fmt.Errorf("expose %s: %w", e.Object, err)
			}
		}
		return nil
	})
}

// Remove closes object types again, without a trace, and returns the statements that did it. What is not exposed is left
// alone.
func (x *Exposer) Remove(ctx context.Context, objects ...string) (statements []string, err error) {
	return x.run(ctx, objects, func(s *exposing) error {
		for _, object := range objects {
			if err := s.remove(ctx, object); err != nil {
				return fmt.Errorf("stop exposing %s: %w", object, err)
			}
		}
		return nil
	})
}

// List returns what is exposed, ascending by name.
func (x *Exposer) List(ctx context.Context) (list []Exposure, err error) {
	all, err := readExposed(ctx, x.Pool, x.Schema, "")
	for _, e := range all {
		list = append(list, e.Exposure)
	}
	return list, err
}

// exposing is a transaction that changes what is exposed.
type exposing struct {
	tx         pgx.Tx
	schema     string
	owner      string // of the schema: everything is made in its name, so that the sink can change it later
	session    string // the role that is connected
	asOwner    bool   // the transaction's role is the owner at the moment
	statements []string
}

// exposeTries is how often a change is tried while somebody uses the table for longer than its transaction waits.
const exposeTries = 10

func (x *Exposer) run(ctx context.Context, objects []string, do func(*exposing) error) (statements []string, err error) {
	objects = slices.Clone(objects)
	slices.Sort(objects)
	for attempt := range exposeTries {
		if statements, err = x.try(ctx, objects, do); err == nil || classify(err) != faultRetry || !pause(ctx, backoff(attempt)) {
			break
		}
	}
	return statements, err
}

func (x *Exposer) try(ctx context.Context, objects []string, do func(*exposing) error) ([]string, error) {
	s := &exposing{schema: x.Schema}
	err := pgx.BeginFunc(ctx, x.Pool, func(tx pgx.Tx) error {
		s.tx = tx
		if _, err := tx.Exec(ctx, ddlTimeouts); err != nil {
			return err
		}
		// One at a time, and not while a sink writes to the tables or changes them.
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('hubtail expose ' || $1, 0))`, x.Schema); err != nil {
			return err
		}
		for _, object := range objects {
			if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(`+lockKey+`)`, x.Schema, object); err != nil {
				return err
			}
		}
		if err := s.findOwner(ctx); err != nil {
			return err
		}
		if err := do(s); err != nil {
			return err
		}
		if x.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, err
	}
	return s.statements, nil
}

// errDryRun undoes what a dry run did.
var errDryRun = errors.New("dry run")

// findOwner learns in whose name to work, and whether that is possible.
func (s *exposing) findOwner(ctx context.Context) error {
	var migrated, may bool
	err := s.tx.QueryRow(ctx, `select session_user, coalesce(pg_get_userbyid(nspowner), ''), to_regclass($2) is not null,
		pg_has_role(session_user, nspowner, 'member') from (select $1::text as name) n left join pg_namespace on nspname = name`,
		s.schema, quote(s.schema, "exposed")).Scan(&s.session, &s.owner, &migrated, &may)
	if err != nil {
		return fmt.Errorf("look for schema %s: %w", s.schema, err)
	}
	if !migrated {
		return fmt.Errorf("schema %s has no hubtail tables of this version: run `hubtail migrate`", s.schema)
	}
	if !may {
		return fmt.Errorf("the tables belong to %s: connect as that role, or first `grant %s to %s`", s.owner, quote(s.owner), quote(s.session))
	}
	return nil
}

// as makes the transaction work as the owner of the tables, or as the role that is connected.
func (s *exposing) as(ctx context.Context, owner bool) error {
	if s.asOwner == owner || s.owner == s.session {
		return nil
	}
	s.asOwner = owner
	if owner {
		return s.exec(ctx, "set local role "+quote(s.owner))
	}
	return s.exec(ctx, "reset role")
}

// exec runs one statement and keeps its text.
func (s *exposing) exec(ctx context.Context, sql string) error {
	s.statements = append(s.statements, sql)
	_, err := s.tx.Exec(ctx, sql, pgx.QueryExecModeExec)
	return err
}

// execAll runs statements, each that is not empty.
func (s *exposing) execAll(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if sql == "" {
			continue
		}
		if err := s.exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
