-- The ledger, schema 2: lists of a job that may have a million entries, and therefore are no part of its record.

-- kind: `listed`, the patients that the job was created with; `cohort`, its patients at T; `writing`, a cohort that is not
-- whole yet; `named`, what its resources refer to. Without a job: nobody can see it any more, and its entries are
-- removed in small steps, since a million deletions in one transaction would keep every other job waiting; or, as long
-- as `until` is not over, nobody can see it yet: it is written for a job that is not there yet.
create table roster (
    number integer primary key autoincrement,  -- never given twice: a reader or a sweep may still hold one that is gone
    job_id text references job (id) on delete set null,
    kind   text not null,
    until  integer not null default 0
);

create unique index roster_job on roster (job_id, kind);

-- item: a patient's id, or `Type/id`. round: for which an item is named; 0: taken over from the job that this one
-- continues (and so named for round 1), or a patient. No foreign key: it would be looked up for every row.
create table entry (
    roster integer not null,
    item   text not null,
    round  integer not null,
    primary key (roster, item)
) without rowid;
