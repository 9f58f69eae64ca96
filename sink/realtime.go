package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// publish puts a table into the publication that Supabase's Realtime follows, and makes the publication if it is missing,
// empty as Supabase has it. Realtime reads changes of tables, not of views, and shows a subscriber the columns and rows
// that the subscriber's role may read.
func (s *exposing) publish(ctx context.Context, e *exposed) error {
	if err := s.as(ctx, false); err != nil { // the publication belongs to the administrator
		return err
	}
	var all, may bool
	err := s.tx.QueryRow(ctx, `select puballtables, pg_has_role(session_user, pubowner, 'usage') from pg_publication where pubname = $1`, Realtime).Scan(&all, &may)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		if err := s.exec(ctx, "create publication "+quote(Realtime)); err != nil {
			return err
		}
	case err != nil:
		return err
	case !may:
		return fmt.Errorf("%w: the publication %s does not belong to %s: run this as an administrator (on Supabase: postgres)", ErrExposure, Realtime, s.session)
	case all:
		return s.giveIdentity(ctx, e)
	}
	if err := s.giveIdentity(ctx, e); err != nil {
		return err
	}
	var in bool
	err = s.tx.QueryRow(ctx, `select exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
		where p.pubname = $1 and r.prrelid = to_regclass($2))`, Realtime, quote(s.schema, e.table)).Scan(&in)
	if err != nil || in {
		return err
	}
	if err := s.as(ctx, false); err != nil {
		return err
	}
	e.made.Published = true
	return s.exec(ctx, fmt.Sprintf("alter publication %s add table %s", quote(Realtime), quote(s.schema, e.table)))
}

// giveIdentity sees to it that changed rows can be told by their key. Postgres rule: without a replica identity every
// update of a published table fails, those of the sink too. The key suffices: under row level security Realtime shows no
// more of an old row anyway.
func (s *exposing) giveIdentity(ctx context.Context, e *exposed) error {
	var identity string
	if err := s.tx.QueryRow(ctx, `select relreplident::text from pg_class where oid = to_regclass($1)`, quote(s.schema, e.table)).Scan(&identity); err != nil {
		return err
	}
	if identity != "n" {
		return nil
	}
	e.made.Identity = identity
	if err := s.as(ctx, true); err != nil {
		return err
	}
	return s.exec(ctx, "alter table "+quote(s.schema, e.table)+" replica identity default")
}

// unpublish takes back what publish did. The publication stays: Supabase expects it.
func (s *exposing) unpublish(ctx context.Context, e *exposed) error {
	if e.made.Published {
		var in bool
		err := s.tx.QueryRow(ctx, `select exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
			where p.pubname = $1 and r.prrelid = to_regclass($2))`, Realtime, quote(s.schema, e.table)).Scan(&in)
		if err != nil {
			return err
		}
		if in {
			if err := s.as(ctx, false); err != nil {
				return err
			}
			if err := s.exec(ctx, fmt.Sprintf("alter publication %s drop table %s", quote(Realtime), quote(s.schema, e.table))); err != nil {
				return err
			}
		}
	}
	if e.made.Identity != "n" {
		return nil
	}
	if err := s.as(ctx, true); err != nil {
		return err
	}
	return s.exec(ctx, "alter table "+quote(s.schema, e.table)+" replica identity nothing")
}
