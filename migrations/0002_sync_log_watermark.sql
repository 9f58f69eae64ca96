-- What a row of sync_logs is worth beyond its own counts: how far the object type is complete.
alter table sync_logs add column complete_through timestamptz;
comment on column sync_logs.complete_through is 'everything modified before this moment was in the tables when the run ended';
