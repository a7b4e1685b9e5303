-- The ledger, first schema. A record is one JSON document and the single truth; the columns generated from it only
-- make it findable. Outside the document stand the version tag, and the heartbeat, which must not renew the tag.

create table job (
    number      integer primary key,  -- order of arrival, for jobs queued in the same microsecond
    id          text not null unique,
    version     integer not null,
    heartbeat   integer,
    record      text not null,
    status      text generated always as (json_extract(record, '$.status')) virtual,
    holder      text generated always as (json_extract(record, '$.holder')) virtual,
    epoch       integer generated always as (json_extract(record, '$.epoch')) virtual,
    hash        text generated always as (json_extract(record, '$.hash')) virtual,
    queued_time integer generated always as (json_extract(record, '$.queued_time')) virtual,
    retry_after integer generated always as (json_extract(record, '$.retry_after')) virtual,
    end_time    integer generated always as (json_extract(record, '$.end_time')) virtual,
    cleanup_due integer generated always as (json_extract(record, '$.cleanup_due')) virtual,
    deleted     integer generated always as (json_extract(record, '$.deleted')) virtual,
    check (id = json_extract(record, '$.id'))
);

-- What workers poll: only unfinished jobs, in the order in which they are taken, so a poll costs the same after a
-- million finished jobs. A query uses it when it repeats this very condition.
create index job_open on job (queued_time) where deleted = 0 and status in ('queued', 'retriable', 'running');

create index job_cleanup on job (cleanup_due) where cleanup_due is not null;

create index job_hash on job (hash);

create table partition (
    job_id   text not null references job (id) on delete cascade,
    number   integer not null,
    document text not null,
    primary key (job_id, number)
) without rowid;

create table file (
    job_id   text not null references job (id) on delete cascade,
    document text not null,
    kind     text generated always as (json_extract(document, '$.kind')) virtual,
    type     text generated always as (json_extract(document, '$.type')) virtual,
    sequence integer generated always as (json_extract(document, '$.sequence')) virtual,
    part     text generated always as (json_extract(document, '$.part')) virtual,
    name     text generated always as (json_extract(document, '$.name')) virtual
);

-- A file listed twice, two files of one number, or two that would be published over each other cannot be committed.
create unique index file_sequence on file (job_id, kind, type, sequence);

create unique index file_part on file (job_id, part);

create unique index file_name on file (job_id, name) where name <> '';
