-- Watermarks and runs that are not true yet. With several sinks on one consumer, one of them may meet a watermark or a run
-- while another still holds rows from before it. It is withheld until the position reaches it, and appears in the very
-- transaction that moves the position there, whichever sink's that is. With one sink nothing ever comes here.
create table withheld (
  stream   text   not null,
  consumer text   not null,
  seq      bigint not null,
  kind     text   not null check (kind in ('cursor', 'run')),
  content  jsonb  not null,
  primary key (stream, consumer, seq)
);
comment on table withheld is 'rows of cursors and sync_logs that appear there once the position has reached their seq';

alter table positions add column withheld bigint;
comment on column positions.withheld is 'the lowest seq in the table withheld; null if there is none';

-- Postgres rule: the condition of a trigger is evaluated without calling the function, so a position that has nothing to
-- release costs nothing. Row locks on positions put all sinks' commits in one order, so nothing is overlooked.
create function release_withheld() returns trigger language plpgsql set search_path = '' as $$
begin
  execute format('insert into %1$I.cursors as c
    (object, complete_through, polled_to, backfilled_at, backfill, instance, at, _seq)
    select distinct on (r.object) r.object, r.complete_through, r.polled_to, r.backfilled_at, r.backfill, r.instance, r.at, w.seq
    from %1$I.withheld w, jsonb_populate_record(null::%1$I.cursors, w.content) r
    where w.stream = $1 and w.consumer = $2 and w.seq <= $3 and w.kind = ''cursor''
    order by r.object, w.seq desc
    on conflict (object) do update set complete_through = excluded.complete_through, polled_to = excluded.polled_to,
    backfilled_at = excluded.backfilled_at, backfill = excluded.backfill, instance = excluded.instance, at = excluded.at,
    _seq = excluded._seq where c._seq < excluded._seq', tg_table_schema) using new.stream, new.consumer, new.seq;
  execute format('insert into %1$I.sync_logs
    (run_id, object_type, sync_type, sync_started_at, sync_completed_at, duration_seconds, records_fetched, records_created,
    records_updated, records_unchanged, records_deleted, records_failed, api_calls, status, error_message, _seq, complete_through)
    select r.run_id, r.object_type, r.sync_type, r.sync_started_at, r.sync_completed_at,
    extract(epoch from r.sync_completed_at - r.sync_started_at), r.records_fetched, r.records_created,
    r.records_updated, r.records_unchanged, r.records_deleted, r.records_failed, r.api_calls, r.status, r.error_message, w.seq,
    r.complete_through
    from %1$I.withheld w, jsonb_populate_record(null::%1$I.sync_logs, w.content) r
    where w.stream = $1 and w.consumer = $2 and w.seq <= $3 and w.kind = ''run''
    on conflict (run_id) do nothing', tg_table_schema) using new.stream, new.consumer, new.seq;
  execute format('delete from %I.withheld where stream = $1 and consumer = $2 and seq <= $3', tg_table_schema)
    using new.stream, new.consumer, new.seq;
  execute format('select min(seq) from %I.withheld where stream = $1 and consumer = $2', tg_table_schema)
    into new.withheld using new.stream, new.consumer;
  return new;
end
$$;
create trigger release_withheld before update on positions for each row
when (new.withheld <= new.seq) execute function release_withheld();

-- Closed like every table.
alter table withheld enable row level security;
revoke all on table withheld from public;
revoke all on function release_withheld() from public;
do $$
declare
  name text;
begin
  for name in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on table withheld from %I', name);
  end loop;
end
$$;
