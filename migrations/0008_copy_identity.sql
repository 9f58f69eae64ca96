-- Which tables a registered copy is: its own id, as in its table installation. A schema that was dropped by hand and made again
-- under the name, for something else or as another installation's live tables, has another one, and is left alone.
alter table copies add column installation uuid;
comment on column copies.installation is 'id that the schema''s table installation has; null: its tables were never filled';
do $$
declare c record;
begin
  for c in select schema_name from copies where to_regclass(format('%I.installation', schema_name)) is not null loop
    execute format('update copies set installation = (select id from %I.installation) where schema_name = %L', c.schema_name, c.schema_name);
  end loop;
end $$;
