-- Which tables a registered copy is: its own id, as in its table installation. A schema that was dropped by hand and made again
-- under the name, for something else or as another installation's live tables, has another one, and is left alone.
alter table copies add column installation uuid;
comment on column copies.installation is 'id that the schema''s table installation has; null: not made yet, or by an earlier version';
