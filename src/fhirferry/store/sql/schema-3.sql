-- The embedded store, schema 3: what is named for the rounds of exports, and cohorts that know who left.

-- How much of the patient: 0 what the request asks for, 1 everything, whatever `since` says, 2 nothing: the patient left
-- (model.cohort.Share).
alter table cohort rename column whole to share;

-- A round of a job, fixed at its T and kept as long as its pin. A job without a cohort has some too.
-- job: null while it is being removed. complete: 0 while it is being written.
create table naming (
  number integer primary key,
  job text,
  round integer not null,
  complete integer not null
);

create unique index naming_round on naming (job, round);

-- Versions that a round exports, in the order on disk. gone: deletions, by themselves. size: that of the version, so that
-- a scan need not ask it.
create table named (
  naming integer not null,
  gone integer not null,
  key integer not null,
  size integer not null,
  primary key (naming, gone, key)
) without rowid;
