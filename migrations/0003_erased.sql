-- Which records were deleted for privacy: no values, only that they are gone. Whatever comes of them later, links to them
-- and dead letters included, is not taken in.
create table erased (
  object    text        not null,
  record_id bigint      not null,
  _seq      bigint      not null,
  erased_at timestamptz not null default now(),
  primary key (object, record_id)
);
comment on table erased is 'records deleted for privacy; their rows are tombstones without values';

-- Closed like every table.
alter table erased enable row level security;
revoke all on table erased from public;
do $$
declare
  name text;
begin
  for name in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on table erased from %I', name);
  end loop;
end
$$;
