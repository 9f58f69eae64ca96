-- The static tables. The tables of HubSpot's object types are created by the sink, from the property definitions.
-- Every _seq is the stream sequence of the message that a row comes from: what is older never overwrites it.

-- One row per object type: which table holds it and how far its definitions are. `generation` rises with every change of
-- the table's columns; a sink that prepared rows for another generation prepares them again.
create table objects (
  object          text    primary key,
  object_type_id  text,
  table_name      text    not null unique,
  generation      bigint  not null default 1,
  definitions_seq bigint  not null default 0,
  pipelines_seq   bigint  not null default 0,
  refill          boolean not null default false
);
comment on column objects.refill is 'a typed column became text: its rows are to be read from the log once more, for the exact text';

-- The catalogue: every property HubSpot has or had, and the column that holds it.
create table properties (
  object           text    not null,
  name             text    not null,
  column_name      text,
  column_type      text,
  label            text    not null default '',
  type             text    not null,
  field_type       text    not null default '',
  description      text    not null default '',
  group_name       text    not null default '',
  options          jsonb,
  calculated       boolean not null default false,
  hidden           boolean not null default false,
  has_unique_value boolean not null default false,
  hubspot_defined  boolean not null default false,
  archived         boolean not null default false,
  _seq             bigint  not null,
  primary key (object, name)
);
comment on column properties.column_name is 'differs from name where that is too long or taken; null if the table has no column left: the values are in _extra';
comment on column properties.archived is 'no longer in HubSpot''s definitions; the column and its values stay';

-- Associations. The set of links from one record to one object type is one message of the log: link_sets has its version.
create table link_sets (
  from_object text not null, from_id bigint not null, to_object text not null,
  _seq bigint not null, _synced_at timestamptz not null default now(),
  primary key (from_object, from_id, to_object)
);
create table links (
  from_object text not null, from_id bigint not null,
  to_object   text not null, to_id   bigint not null,
  type_id     integer not null, category text not null, label text,
  primary key (from_object, from_id, to_object, to_id, category, type_id)
);
-- "Which records point at this one" is asked as often as the other way round.
create index links_to on links (to_object, to_id, from_object);

create table pipelines (
  object text not null, id text not null, label text not null, display_order integer not null, archived boolean not null,
  created_at timestamptz, updated_at timestamptz, _seq bigint not null,
  primary key (object, id)
);
create table pipeline_stages (
  object text not null, pipeline_id text not null, id text not null, label text not null, display_order integer not null,
  archived boolean not null, metadata jsonb, created_at timestamptz, updated_at timestamptz, _seq bigint not null,
  primary key (object, pipeline_id, id)
);
comment on column pipelines.archived is 'archived in HubSpot, or gone from it: old records may still name it';

-- Messages that could not become rows, whole, so that they can be tried again after a repair.
create table dead_letters (
  stream    text        not null,
  seq       bigint      not null,
  origin    text        not null check (origin in ('source', 'sink')),
  subject   text        not null,
  object    text,
  record_id text,
  sqlstate  text,
  reason    text        not null,
  headers   jsonb,
  payload   bytea,
  truncated boolean     not null default false,
  tries     integer     not null default 1,
  first_at  timestamptz not null default now(),
  last_at   timestamptz not null default now(),
  primary key (stream, seq)
);

-- One row per sync run, with the columns the old scripts had under the old names. It is written when the sink meets the
-- run's message in the log: what the run read is in the tables by then.
create table sync_logs (
  run_id            text        primary key,
  object_type       text        not null,
  sync_type         text        not null,
  sync_started_at   timestamptz not null,
  sync_completed_at timestamptz,
  duration_seconds  numeric(12, 3),
  records_fetched   bigint      not null default 0,
  records_created   bigint      not null default 0,
  records_updated   bigint      not null default 0,
  records_unchanged bigint      not null default 0,
  records_deleted   bigint      not null default 0,
  records_failed    bigint      not null default 0,
  api_calls         bigint      not null default 0,
  status            text        not null,
  error_message     text,
  _seq              bigint      not null
);
create index sync_logs_started on sync_logs (sync_started_at desc);

-- How far the source has read each object type, as of the applied part of the log.
create table cursors (
  object           text        primary key,
  complete_through timestamptz,
  polled_to        timestamptz,
  backfilled_at    timestamptz,
  backfill         jsonb,
  instance         text,
  at               timestamptz,
  _seq             bigint      not null
);
comment on column cursors.complete_through is 'everything modified before this moment is in the tables';

-- How far these tables are: written in the transaction of the rows, so it is true after any crash and any restore.
create table positions (
  stream         text        not null,
  consumer       text        not null,
  portal         text,
  stream_created timestamptz not null,
  seq            bigint      not null default 0,
  high           bigint      not null default 0,
  updated_at     timestamptz not null default now(),
  primary key (stream, consumer)
);
comment on column positions.seq is 'every message up to here is in the tables';
comment on column positions.high is 'the newest message that any sink has applied';

-- Which tables these are. The log's durable consumer carries the id, so that sinks of two databases or schemas, which
-- would each get only a part of the messages, do not share it by mistake. A restored backup is still the same tables.
create table installation (
  id         uuid        primary key default gen_random_uuid(),
  created_at timestamptz not null default now()
);
insert into installation default values;

-- Closed until the owner opens it: RLS without a policy, and no grant to the roles of Supabase's Data API.
do $$
declare
  name text;
begin
  for name in select c.relname from pg_class c where c.relnamespace = (select oid from pg_namespace where nspname = current_schema()) and c.relkind = 'r' loop
    execute format('alter table %I enable row level security', name);
    execute format('revoke all on table %I from public', name);
  end loop;
  for name in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on all tables in schema %I from %I', current_schema(), name);
    execute format('revoke all on schema %I from %I', current_schema(), name);
  end loop;
end
$$;
