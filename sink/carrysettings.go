package sink

// storageSQL returns how the table and its columns are stored: best set while the table is empty.
const storageSQL = `
select s from pg_class l join pg_class n on n.oid = @other::oid left join pg_class lt on lt.oid = l.reltoastrelid left join pg_class nt on nt.oid = n.reltoastrelid, lateral (
select format('alter table %s set (%s)', @copy::text, o) as s from (
  select unnest(l.reloptions) union select 'toast.' || unnest(lt.reloptions)
  except select unnest(n.reloptions) except select 'toast.' || unnest(nt.reloptions)) as o(o)
union all
select format('alter table %s reset (%s)', @copy::text, o) from (
  select split_part(unnest(n.reloptions), '=', 1) union select 'toast.' || split_part(unnest(nt.reloptions), '=', 1)
  except select split_part(unnest(l.reloptions), '=', 1) except select 'toast.' || split_part(unnest(lt.reloptions), '=', 1)) as o(o)
union all
select format('alter table %s set %s', @copy::text, case l.relpersistence when 'u' then 'unlogged' else 'logged' end) where l.relpersistence <> n.relpersistence
union all
select format('alter table %s set tablespace %I', @copy::text, t.spcname) from pg_tablespace t
  where t.oid = coalesce(nullif(l.reltablespace, 0), (select dattablespace from pg_database where datname = current_database()))
  and l.reltablespace <> n.reltablespace and (l.reltablespace = 0 or has_tablespace_privilege(t.oid, 'create'))
) as table_settings
where l.oid = @live::oid
union all
select s from pg_attribute l join pg_attribute n on n.attrelid = @other::oid and n.attname = l.attname and not n.attisdropped, lateral (values
 (case when coalesce(l.attstattarget, -1) <> coalesce(n.attstattarget, -1)
   then format('alter table %s alter column %I set statistics %s', @copy::text, l.attname, coalesce(l.attstattarget, -1)) end),
 (case when l.attstorage <> n.attstorage and l.atttypid = n.atttypid then format('alter table %s alter column %I set storage %s', @copy::text, l.attname,
   case l.attstorage when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end) end),
 (case when l.attcompression in ('p', 'l') and l.attcompression <> n.attcompression
   then format('alter table %s alter column %I set compression %s', @copy::text, l.attname, case l.attcompression when 'p' then 'pglz' else 'lz4' end) end),
 (case when l.attoptions is not null and l.attoptions is distinct from n.attoptions
   then format('alter table %s alter column %I set (%s)', @copy::text, l.attname, array_to_string(l.attoptions, ', ')) end),
 (case when l.attoptions is null and n.attoptions is not null then format('alter table %s alter column %I reset (%s)', @copy::text, l.attname,
   (select string_agg(split_part(o, '=', 1), ', ') from unnest(n.attoptions) o)) end)) as column_settings(s)
 where l.attrelid = @live::oid and l.attnum > 0 and not l.attisdropped and s is not null`

// settingsSQL returns what else belongs to the table itself: its owner, replica identity, comments, and which columns are never
// null. Of the owner's own columns that is so where they have a default: see ownColumns.
const settingsSQL = `
select format('alter table %s owner to %I', @copy::text, pg_get_userbyid(l.relowner)) from pg_class l, pg_class n
 where l.oid = @live::oid and n.oid = @other::oid and l.relowner <> n.relowner
union all
select format('alter table %s replica identity %s', @copy::text, case l.relreplident when 'f' then 'full' when 'n' then 'nothing' else 'default' end)
 from pg_class l, pg_class n where l.oid = @live::oid and n.oid = @other::oid and l.relreplident <> n.relreplident and l.relreplident <> 'i'
union all
select format('comment on table %s is %L', @copy::text, obj_description(l.oid, 'pg_class')) from pg_class l
 where l.oid = @live::oid and @other::oid is not null and obj_description(@live::oid, 'pg_class') is distinct from obj_description(@other::oid, 'pg_class')
union all
select format('comment on column %s.%I is %L', @copy::text, l.attname, col_description(@live::oid, l.attnum)) from pg_attribute l
 join pg_attribute n on n.attrelid = @other::oid and n.attname = l.attname and not n.attisdropped
 where l.attrelid = @live::oid and l.attnum > 0 and not l.attisdropped
 and col_description(@live::oid, l.attnum) is distinct from col_description(@other::oid, n.attnum)
union all
select format('alter table %s alter column %I %s not null', @copy::text, l.attname, case when l.attnotnull then 'set' else 'drop' end) from pg_attribute l
 join pg_attribute n on n.attrelid = @other::oid and n.attname = l.attname and not n.attisdropped
 left join pg_attrdef d on d.adrelid = l.attrelid and d.adnum = l.attnum
 where l.attrelid = @live::oid and l.attnum > 0 and not l.attisdropped and l.attnotnull <> n.attnotnull and l.attidentity = ''
 and (l.attname = any(@properties) or not l.attnotnull or coalesce(pg_get_expr(d.adbin, d.adrelid) not like 'nextval(%', false))`

// defaultsSQL returns the defaults of columns, for the time after the swap: until then rows are to be as the log says.
const defaultsSQL = `
select format('alter table %s alter column %I %s', @name::text, l.attname, coalesce('set default ' || pg_get_expr(d.adbin, d.adrelid), 'drop default'))
 from pg_attribute l join pg_attribute n on n.attrelid = @other::oid and n.attname = l.attname and not n.attisdropped
 left join pg_attrdef d on d.adrelid = l.attrelid and d.adnum = l.attnum left join pg_attrdef e on e.adrelid = n.attrelid and e.adnum = n.attnum
 where l.attrelid = @live::oid and l.attnum > 0 and not l.attisdropped and l.attgenerated = '' and n.attgenerated = '' and l.attidentity = ''
 and pg_get_expr(d.adbin, d.adrelid) is distinct from pg_get_expr(e.adbin, e.adrelid)
 and (l.attname = any(@properties) or coalesce(pg_get_expr(d.adbin, d.adrelid) not like 'nextval(%', true))`

// droppedSQL takes off a table, which was live once or is being made, the constraints and indexes that the live one no longer has.
const droppedSQL = `
select format('alter table %s drop constraint %I', @copy::text, n.conname) from pg_constraint n
 where n.conrelid = @other::oid and n.contype in ('c', 'u', 'x') and not exists (select from pg_constraint c where c.conrelid = @live::oid and c.conname = n.conname)
union all
select format('drop index %s', n.indexrelid::regclass) from pg_index n join pg_class i on i.oid = n.indexrelid
 where n.indrelid = @other::oid and not n.indisprimary and not exists (select from pg_constraint c where c.conindid = n.indexrelid and c.conrelid = n.indrelid)
 and not exists (select from pg_index x join pg_class l on l.oid = x.indexrelid where x.indrelid = @live::oid and l.relname = i.relname)`

// constraintsSQL returns checks, unique and exclusion constraints. Foreign keys come after the swap.
const constraintsSQL = `
select format('alter table %s add constraint %I %s', @copy::text, c.conname, pg_get_constraintdef(c.oid)) from pg_constraint c
 where c.conrelid = @live::oid and c.contype in ('c', 'u', 'x')
 and not exists (select from pg_constraint n where n.conrelid = @other::oid and n.conname = c.conname)
 and not exists (select from pg_attribute a where a.attrelid = @live::oid and a.attnum = any(c.conkey) and a.attname = any(@later::text[]))
 and (c.convalidated or @later::text[] is null)
 order by 1`

// constraintCommentsSQL returns the comments on those and on the primary key.
const constraintCommentsSQL = `
select format('comment on constraint %I on %s is %L', coalesce(n.conname, c.conname), @copy::text, obj_description(c.oid, 'pg_constraint')) from pg_constraint c
 left join pg_constraint n on n.conrelid = @other::oid and (n.conname = c.conname or n.contype = 'p' and c.contype = 'p')
 where c.conrelid = @live::oid and c.contype in ('c', 'u', 'x', 'p') and @other::oid is not null
 and obj_description(c.oid, 'pg_constraint') is distinct from obj_description(n.oid, 'pg_constraint')`

// indexesSQL returns the indexes that no constraint has.
const indexesSQL = `
select replace(pg_get_indexdef(i.oid), ' ON ' || @live::oid::regclass::text || ' USING ', ' ON ' || @copy::text || ' USING ')
 from pg_index x join pg_class i on i.oid = x.indexrelid
 where x.indrelid = @live::oid and x.indisvalid and not exists (select from pg_constraint c where c.conrelid = @live::oid and c.conindid = i.oid and c.contype in ('p', 'u', 'x'))
 and not exists (select from pg_index y join pg_class n on n.oid = y.indexrelid where y.indrelid = @other::oid and n.relname = i.relname)
 and not (x.indisunique and exists (select from pg_depend d join pg_attribute a on a.attrelid = @live::oid and a.attnum = d.refobjsubid
  where d.classid = 'pg_class'::regclass and d.objid = i.oid and d.refobjid = @live::oid and a.attname = any(@later::text[])))
 order by i.relname`

// indexSettingsSQL returns what belongs to indexes, those of constraints too: comments, where and how they are stored, statistics
// targets, and which of them orders the table or identifies its rows.
const indexSettingsSQL = `
with indexes as (
 select x.indrelid, i.oid, i.relname, x.indisprimary, x.indisreplident, x.indisclustered, i.reloptions, i.reltablespace, obj_description(i.oid, 'pg_class') as note,
  exists (select from pg_constraint c where c.conindid = i.oid and c.conrelid = x.indrelid) as bound
 from pg_index x join pg_class i on i.oid = x.indexrelid where x.indrelid in (@live::oid, @other::oid) and (x.indisvalid or x.indrelid = @other::oid)
)
select s from indexes w left join indexes p on p.indrelid = @other::oid and (p.relname = w.relname or p.indisprimary and w.indisprimary), lateral (
 select format('%I.%I', @schema::text, coalesce(p.relname, w.relname)) as index, quote_ident(coalesce(p.relname, w.relname)) as name
) as q, lateral (
 select format('comment on index %s is %L', index, w.note) as s where w.note is distinct from p.note
 union all
 select format('alter index %s set (%s)', index, o) from (select unnest(w.reloptions) except
  select unnest(case when p.oid is null and not w.bound then w.reloptions else p.reloptions end)) as o(o)
 union all
 select format('alter index %s set tablespace %I', index, t.spcname) from pg_tablespace t
  where t.oid = coalesce(nullif(w.reltablespace, 0), (select dattablespace from pg_database where datname = current_database()))
  and w.reltablespace <> coalesce(p.reltablespace, 0) and (w.reltablespace = 0 or has_tablespace_privilege(t.oid, 'create'))
 union all
 select format('alter index %s alter column %s set statistics %s', index, a.attnum, coalesce(a.attstattarget, -1)) from pg_attribute a
  left join pg_attribute b on b.attrelid = p.oid and b.attnum = a.attnum
  where a.attrelid = w.oid and coalesce(a.attstattarget, -1) <> coalesce(b.attstattarget, -1)
 union all
 select format('alter table %s cluster on %s', @copy::text, name) where w.indisclustered and not coalesce(p.indisclustered, false)
 union all
 select format('alter table %s replica identity using index %s', @copy::text, name) where w.indisreplident and not coalesce(p.indisreplident, false)
) as settings
where w.indrelid = @live::oid and @other::oid is not null order by w.relname, s`
