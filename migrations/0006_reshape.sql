-- How a table comes to fit its property definitions while rows are read and written: definitions are noted at once, columns
-- follow in short steps, values move in batches. All of it is here, so that a sink that dies goes on where it was.
alter table objects add column reshape boolean not null default false;
alter table objects add column reshaped_to bigint;
comment on column objects.reshape is 'definitions are newer than the columns';
comment on column objects.reshaped_to is 'values up to this id have moved to their new columns; null: none';

alter table properties add column next_name text;
alter table properties add column fill boolean not null default false;
alter table properties add column comment text;
alter table properties add column note text;
comment on column properties.next_name is 'column of the new type that is being filled, and then takes the place of the other';
comment on column properties.fill is 'values that fit the column are still to be taken out of _extra';
comment on column properties.comment is 'label that was last made the column''s comment';
comment on column properties.note is 'why the property has no column, or not of its type, and what can be done about it';
update properties set comment = label where column_name is not null;
