-- The other schemas that hubtail filled from this log: a rebuild's shadow tables, the old ones it keeps, tables as they
-- were at some time. What is deleted for privacy has to go from them too.
create table copies (
  schema_name text        primary key,
  kind        text        not null check (kind in ('shadow', 'old', 'as_of')),
  stream      text        not null,
  objects     text[],
  position    bigint      not null default 0,
  as_of_seq   bigint,
  as_of_at    timestamptz,
  phase       text        not null default '',
  done        bigint      not null default 0,
  total       bigint      not null default 0,
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now()
);
comment on table copies is 'other schemas that were filled from the same log; deletions for privacy reach them';
comment on column copies.objects is 'object types it has; null for all';
comment on column copies.position is 'every message up to here is in its tables';
comment on column copies.phase is 'what is being done to it; empty when it is complete';

-- Deletions for privacy that are in these tables and not yet in a copy. Written in the transaction of the deletion, and
-- removed in the transaction that carries it out in the copy: a crash between the two forgets nothing.
create table copy_erasures (
  schema_name text   not null references copies on delete cascade,
  object      text   not null,
  record_id   bigint not null,
  _seq        bigint not null,
  _updated_at timestamptz,
  primary key (schema_name, object, record_id)
);
comment on table copy_erasures is 'deletions for privacy that a copy still has to carry out';

-- Closed like every table.
do $$
declare
  name text;
begin
  alter table copies enable row level security;
  alter table copy_erasures enable row level security;
  revoke all on table copies, copy_erasures from public;
  for name in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on table copies, copy_erasures from %I', name);
  end loop;
end
$$;
