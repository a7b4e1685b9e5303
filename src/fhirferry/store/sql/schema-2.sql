-- The embedded store, schema 2: whose compartments a version is in, and the cohorts of exports.

-- A patient that something refers to, or that is there itself. Codes are given in the order of meeting, so that what
-- was imported together lies together in the indexes.
create table patient (
  code integer primary key,
  id text not null unique
);

-- The code of the one patient whose compartment the version is in; 0 for none. -1 for several: they are in `shared`,
-- except those of a Group, which nobody reads by patient. Never updated; a deletion copies its predecessor's.
alter table version add column patient integer not null default 0;

-- With all that a walk asks: the versions of one patient lie far apart, and each row would be a page to fetch. Measured:
-- inserting 300,000 rows takes 4 % longer, a cohort of many patients a fifth less.
create index version_member on version (patient, key, changed, ended, size) where patient > 0;

-- Versions in several compartments. (All columns are not null: else SQLite would sort what the keys have sorted.)
create table shared (
  key integer not null,
  patient integer not null,
  primary key (key, patient)
) without rowid;

create index shared_patient on shared (patient, key);

-- Behind which key versions wait for their memberships; null when all have them. Those of schema 1 have none.
alter table state add column unindexed integer;

update state set unindexed = 0 where exists (select 1 from version);

-- The cohort of a job, fixed at its T and kept as long as its pin.
-- state: 0 while it is being written, 1 complete, 2 while it is being removed. patients: rows in cohort. absent: those
-- that the store has no data of. wide: so many that a walk looks at every version instead of each patient's.
create table selection (
  number integer primary key,
  job text not null,
  state integer not null,
  patients integer not null,
  absent integer not null,
  wide integer not null
);

create unique index selection_complete on selection (job) where state = 1;

-- whole: everything of this patient, whatever `since` says.
create table cohort (
  selection integer not null,
  patient integer not null,
  whole integer not null,
  primary key (selection, patient)
) without rowid;
