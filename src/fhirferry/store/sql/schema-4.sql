-- The embedded store, schema 4: what Provenance is about.

-- Each reference (`Type/id`) among the targets of a version of Provenance; a deletion has its predecessor's. Filled when
-- it is first needed. recorded: of the version, as an instant; null where it has none.
create table target (
  reference text not null,
  key integer not null,
  recorded integer,
  primary key (reference, key)
) without rowid;

create index target_key on target (key);

-- Up to which key the versions of Provenance are in `target`; null as long as nobody has asked.
alter table state add column targets integer;

-- From an id to what it was at a T: most versions never end, so this stays small.
create index version_former on version (type, id) where ended < 9223372036854775807;

-- The Provenance at T (deletions too) that belongs to a cohort, by its own compartments or by a target's. share: as in
-- `cohort`, the most of all whose it is.
create table relevant (
  selection integer not null,
  key integer not null,
  share integer not null,
  primary key (selection, key)
) without rowid;

-- Whether `relevant` is complete; not every job asks for it.
alter table selection add column has_relevant integer not null default 0;
