-- What the owner opened: to Supabase's Data API (hubtail expose) and to roles that read everything (hubtail migrate --reader).
-- It is here so that what comes later, a new property or the table of a new object type, is opened alike.
create table exposed (
  object     text    primary key,
  api_schema text    not null,
  roles      text[]  not null,
  columns    text[],
  system     boolean not null default false,
  extra      boolean not null default false,
  archived   boolean not null default false,
  realtime   boolean not null default false,
  policy     text,
  made       jsonb   not null default '{}'
);
comment on table exposed is 'object types that Supabase''s Data API shows, each as a view in api_schema';
comment on column exposed.columns is 'null: every property, new ones too';
comment on column exposed.policy is 'which rows, as the condition of a policy; null: policies are the owner''s own';
comment on column exposed.made is 'what was made or granted beside the view, and is taken back with it';

create table readers (
  role text primary key
);
comment on table readers is 'roles that may read all tables of records, those of new object types too';

-- Closed like every table.
alter table exposed enable row level security;
alter table readers enable row level security;
revoke all on table exposed, readers from public;
do $$
declare
  name text;
begin
  for name in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on table exposed, readers from %I', name);
  end loop;
end
$$;
