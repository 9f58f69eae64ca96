package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// carried is what owners have put on tables that are about to be replaced, as the statements that put it on the new ones.
type carried struct {
	// before are for the incoming tables where they are filled: settings, comments, indexes, constraints. They take time.
	before []string
	// after are for the moment when the incoming tables have the live names: rights, policies, triggers, views, what refers
	// to other tables. They take none.
	after []string
	// outgoing are for the tables that were live, in their new place: closed, and out of every publication.
	outgoing []string
	// lost is what does not carry over, and why.
	lost []string
}

// pair is a live table, and the one of a copy that is to replace it, or that it replaces.
type pair struct {
	live, other string // schemas
	object      string // "" for the tables of links
	name        string // of the live table
	otherName   string
	later       []string // the owner's columns that no constraint is to be on yet, nor any that is not valid; nil: all of them may be
}

func (p pair) liveTable() string  { return quote(p.live, p.name) }
func (p pair) otherTable() string { return quote(p.other, p.otherName) }

// carryPlain makes names in definitions complete, whatever the role's own search_path: they are read back elsewhere.
const carryPlain = `select set_config('search_path', '', true)`

// The statements are built in the database, one query for each kind of thing. @live is the live table's oid, @other the
// incoming table's (null if it is not there yet), @all the oids of all live tables, @name the live table's quoted name, @copy
// the other one's.

// rightsSQL returns rights, policies and triggers, for the time after the swap: @name is then the incoming table's name. What
// the incoming table has of them is replaced.
const rightsSQL = `
select s from (
select 0 as o, format('revoke all on table %s from %s', @name::text, coalesce(quote_ident(r.rolname), 'public')) as s
 from (select distinct a.grantee from pg_class n, aclexplode(n.relacl) a where n.oid = @other::oid and a.grantee <> n.relowner) g left join pg_roles r on r.oid = g.grantee
union all
select 1, format('grant %s on table %s to %s%s', a.privilege_type, @name::text, coalesce(quote_ident(r.rolname), 'public'),
  case when a.is_grantable then ' with grant option' else '' end)
 from pg_class l, aclexplode(l.relacl) a left join pg_roles r on r.oid = a.grantee where l.oid = @live::oid and a.grantee <> l.relowner
union all
select 1, format('grant %s (%I) on table %s to %s%s', a.privilege_type, c.attname, @name::text, coalesce(quote_ident(r.rolname), 'public'),
  case when a.is_grantable then ' with grant option' else '' end)
 from pg_attribute c, aclexplode(c.attacl) a left join pg_roles r on r.oid = a.grantee
 where c.attrelid = @live::oid and c.attnum > 0 and not c.attisdropped and c.attacl is not null
union all
select 1, format('alter table %s %s row level security', @name::text, case when relrowsecurity then 'enable' else 'disable' end) from pg_class where oid = @live::oid
union all
select 1, format('alter table %s %s row level security', @name::text, case when relforcerowsecurity then 'force' else 'no force' end) from pg_class where oid = @live::oid
union all
select 2, format('drop policy if exists %I on %s', polname, @name::text) from pg_policy where polrelid = @other::oid
union all
select 3, format('create policy %I on %s as %s for %s to %s%s%s', p.polname, @name::text,
  case when p.polpermissive then 'permissive' else 'restrictive' end,
  case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
  (select string_agg(coalesce(quote_ident(r.rolname), 'public'), ', ') from unnest(p.polroles) as g(oid) left join pg_roles r on r.oid = g.oid),
  ' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
 from pg_policy p where p.polrelid = @live::oid
union all
select 3, format('comment on policy %I on %s is %L', p.polname, @name::text, obj_description(p.oid, 'pg_policy'))
 from pg_policy p where p.polrelid = @live::oid and obj_description(p.oid, 'pg_policy') is not null
union all
select 4, format('drop trigger if exists %I on %s', tgname, @name::text) from pg_trigger where tgrelid = @other::oid and not tgisinternal
union all
select 5, pg_get_triggerdef(t.oid) from pg_trigger t where t.tgrelid = @live::oid and not t.tgisinternal
union all
select 6, format('comment on trigger %I on %s is %L', tgname, @name::text, obj_description(oid, 'pg_trigger'))
 from pg_trigger where tgrelid = @live::oid and not tgisinternal and obj_description(oid, 'pg_trigger') is not null
union all
select 6, format('alter table %s %s trigger %I', @name::text, case tgenabled when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica' end, tgname)
 from pg_trigger where tgrelid = @live::oid and not tgisinternal and tgenabled <> 'O'
) as statements order by o, s`

// publicationsSQL puts the incoming table into the publications that name the live one.
const publicationsSQL = `
select format('alter publication %I add table %s%s%s', p.pubname, @name::text,
  (select ' (' || string_agg(quote_ident(c.attname), ', ' order by c.attnum) || ')' from pg_attribute c where c.attrelid = @live::oid and c.attnum = any(m.prattrs::int2[])),
  ' where (' || pg_get_expr(m.prqual, m.prrelid) || ')')
 from pg_publication_rel m join pg_publication p on p.oid = m.prpubid
 where m.prrelid = @live::oid and pg_has_role(p.pubowner, 'usage') order by 1`

// outgoingSQL closes the table that was live, whose name is @copy by then, and takes off it what acts or points elsewhere.
const outgoingSQL = `
select format('alter publication %I drop table %s', p.pubname, @copy::text)
 from pg_publication_rel m join pg_publication p on p.oid = m.prpubid where m.prrelid = @live::oid and pg_has_role(p.pubowner, 'usage')
union all
select format('revoke all on table %s from %s', @copy::text, coalesce(quote_ident(r.rolname), 'public'))
 from (select a.grantee from pg_class n, aclexplode(n.relacl) a where n.oid = @live::oid and a.grantee <> n.relowner
  union select a.grantee from pg_attribute c, aclexplode(c.attacl) a where c.attrelid = @live::oid and c.attacl is not null) g left join pg_roles r on r.oid = g.grantee
union all
select format('drop policy %I on %s', polname, @copy::text) from pg_policy where polrelid = @live::oid
union all
select format('drop trigger %I on %s', tgname, @copy::text) from pg_trigger where tgrelid = @live::oid and not tgisinternal
union all
select format('alter table %s drop constraint %I', @copy::text, conname) from pg_constraint where conrelid = @live::oid and contype = 'f'`

// viewsSQL replaces the views that read the live tables (@all) by themselves: their text then finds the new tables.
// Postgres rule: create or replace view keeps the view's identity, so that rights, comments and views on it stay.
const viewsSQL = `
select distinct format('create or replace view %I.%I%s as %s', n.nspname, v.relname,
  ' with (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(v.oid))
 from pg_depend d join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class join pg_namespace n on n.oid = v.relnamespace
 where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = any(@all::oid[]) and v.relkind = 'v'
 and pg_has_role(v.relowner, 'usage') order by 1`

// lostSQL describes what depends on the tables (@all) or their row types and is not carried over. Whatever Postgres knows of
// as depending on a table is either handled above or comes up here.
const lostSQL = `
with tables as (select oid, reltype, (select typarray from pg_type where oid = reltype) as array_type from pg_class where oid = any(@all::oid[])),
depending as (
 select d.* from pg_depend d join tables t on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid where d.deptype in ('n', 'a')
 union all
 select d.* from pg_depend d join tables t on d.refclassid = 'pg_type'::regclass and d.refobjid in (t.reltype, t.array_type) where d.deptype in ('n', 'a')
)
select distinct case
  when v.oid is not null and v.relkind = 'm' then format('materialized view %I.%I goes on reading the old table: create it again afterwards', vn.nspname, v.relname)
  when v.oid is not null and v.relkind = 'v' then format('view %I.%I belongs to %I, which this role is no member of: it goes on reading the old table', vn.nspname, v.relname, pg_get_userbyid(v.relowner))
  when v.oid is not null then format('rule %I on %I.%I', w.rulename, vn.nspname, v.relname)
  when pub.oid is not null then format('publication %I belongs to %I, which this role is no member of: it goes on publishing the old table', pub.pubname, pg_get_userbyid(pub.pubowner))
  when fk.oid is not null then format('foreign key %I of %s, which belongs to %I', fk.conname, fk.conrelid::regclass, pg_get_userbyid((select relowner from pg_class where oid = fk.conrelid)))
  else pg_describe_object(d.classid, d.objid, d.objsubid) end
 from depending d
 left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
 left join pg_class v on v.oid = w.ev_class left join pg_namespace vn on vn.oid = v.relnamespace
 left join pg_publication_rel m on d.classid = 'pg_publication_rel'::regclass and m.oid = d.objid left join pg_publication pub on pub.oid = m.prpubid
 left join pg_constraint fk on d.classid = 'pg_constraint'::regclass and fk.oid = d.objid
 where not (d.classid = 'pg_class'::regclass and (select relkind from pg_class where oid = d.objid) in ('i', 'S'))
 and not (d.classid = 'pg_attrdef'::regclass)
 and not (d.classid = 'pg_trigger'::regclass and exists (select from pg_trigger t join tables on tables.oid = t.tgrelid where t.oid = d.objid))
 and not (d.classid = 'pg_policy'::regclass and exists (select from pg_policy p join tables on tables.oid = p.polrelid where p.oid = d.objid))
 and not coalesce(v.relkind = 'v' and pg_has_role(v.relowner, 'usage'), false)
 and not coalesce(pg_has_role(pub.pubowner, 'usage'), false)
 and not coalesce(fk.conrelid = any(@all::oid[]) or pg_has_role((select relowner from pg_class where oid = fk.conrelid), 'usage'), false)
 order by 1`

// planCarry reads what the live tables of pairs have, and what of that is lost.
func planCarry(ctx context.Context, tx pgx.Tx, pairs []pair) (*carried, error) {
	c := &carried{}
	if _, err := tx.Exec(ctx, carryPlain); err != nil {
		return nil, err
	}
	oids := make([]*uint32, len(pairs))
	others := make([]*uint32, len(pairs))
	var all []uint32
	for i, p := range pairs {
		err := tx.QueryRow(ctx, `select to_regclass($1)::oid, to_regclass($2)::oid`, p.liveTable(), p.otherTable()).Scan(&oids[i], &others[i])
		if err != nil {
			return nil, err
		}
		if oids[i] != nil {
			all = append(all, *oids[i])
		}
	}
	for i, p := range pairs {
		if oids[i] == nil {
			continue
		}
		if err := c.readTable(ctx, tx, p, *oids[i], others[i], all); err != nil {
			return nil, fmt.Errorf("read what %s has: %w", p.liveTable(), err)
		}
	}
	views, err := statements(ctx, tx, viewsSQL, pgx.NamedArgs{"all": all})
	if err != nil {
		return nil, fmt.Errorf("read the views on the tables: %w", err)
	}
	c.after = append(c.after, views...)
	lost, err := statements(ctx, tx, lostSQL, pgx.NamedArgs{"all": all})
	if err != nil {
		return nil, fmt.Errorf("read what depends on the tables: %w", err)
	}
	c.lost = append(c.lost, lost...)
	return c, nil
}

// readTable adds what one table has.
func (c *carried) readTable(ctx context.Context, tx pgx.Tx, p pair, live uint32, other *uint32, all []uint32) error {
	moved := quote(p.other, p.name) // what the live table is called once it is out
	properties, err := propertyColumns(ctx, tx, p)
	if err != nil {
		return err
	}
	args := pgx.NamedArgs{"live": live, "other": other, "all": all, "name": p.liveTable(), "copy": p.otherTable(), "schema": p.other,
		"properties": properties, "unchecked": unchecked, "later": p.later}
	for _, part := range []struct {
		to  *[]string
		sql string
	}{
		{&c.before, storageSQL}, {&c.before, droppedSQL}, {&c.before, settingsSQL}, {&c.before, constraintsSQL}, {&c.before, indexesSQL}, {&c.before, indexSettingsSQL},
		{&c.before, constraintCommentsSQL}, {&c.after, defaultsSQL}, {&c.after, rightsSQL}, {&c.after, publicationsSQL},
	} {
		if p.later != nil && (part.sql == indexSettingsSQL || part.sql == constraintCommentsSQL) {
			continue // of what may not be there yet
		}
		found, err := statements(ctx, tx, part.sql, args)
		if err != nil {
			return err
		}
		*part.to = append(*part.to, found...)
	}
	outgoing, err := statements(ctx, tx, outgoingSQL, pgx.NamedArgs{"live": live, "copy": moved})
	if err != nil {
		return err
	}
	c.outgoing = append(c.outgoing, outgoing...)
	return c.readForeignKeys(ctx, tx, args)
}

// propertyColumns returns the columns of the live table that hold properties.
func propertyColumns(ctx context.Context, tx pgx.Tx, p pair) ([]string, error) {
	return statements(ctx, tx, `select column_name from `+quote(p.live, "properties")+` where object = @object and column_name is not null`,
		pgx.NamedArgs{"object": p.object})
}

// statements returns the one column of a query's rows.
func statements(ctx context.Context, tx pgx.Tx, sql string, args pgx.NamedArgs) ([]string, error) {
	rows, err := tx.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (c *carried) readForeignKeys(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) error {
	rows, err := tx.Query(ctx, foreignSQL, args)
	if err != nil {
		return err
	}
	var order int
	var statement string
	_, err = pgx.ForEachRow(rows, []any{&order, &statement}, func() error {
		if order == 0 {
			c.outgoing = append(c.outgoing, statement)
		} else {
			c.after = append(c.after, statement)
		}
		return nil
	})
	return err
}
