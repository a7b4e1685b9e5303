-- Queries of the SQLite ledger. Those that read jobs give (record, version, heartbeat).

-- name: insert
insert into job (id, version, heartbeat, record) values (:id, 1, null, :record);

-- name: get
-- Tombstones included; who must not see them looks at the record.
select record, version, heartbeat from job where id = :id;

-- name: list
select record, version, heartbeat from job where deleted = 0 order by queued_time, number;

-- name: list-by-hash
select record, version, heartbeat from job where hash = :hash and deleted = 0 order by queued_time, number;

-- name: list-open
select record, version, heartbeat from job
where deleted = 0 and status in ('queued', 'retriable', 'running')
order by queued_time, number;

-- name: acquirable
-- Candidates, oldest first: whether the holder of a running one is stale or dead is decided on the record.
select record, version, heartbeat from job
where deleted = 0 and status in ('queued', 'retriable', 'running')
    and (status <> 'retriable' or coalesce(retry_after, 0) <= :now or :by_operator)
order by queued_time, number;

-- name: save
-- Under the write lock, of a record read under the same lock.
update job set version = version + 1, heartbeat = :heartbeat, record = :record where id = :id;

-- name: tagged
select 1 from job where id = ? and version = ?;

-- name: commit
-- Under the write lock, after `tagged`. The heartbeat stays: it belongs to the heartbeat thread.
update job set version = version + 1, record = :record where id = :id;

-- name: heartbeat
update job set heartbeat = :now where id = :id and holder = :holder and epoch = :epoch and status = 'running';

-- name: put-partition
insert into partition (job_id, number, document) values (?, ?, ?)
on conflict (job_id, number) do update set document = excluded.document;

-- name: partitions
select document from partition where job_id = :id order by number;

-- name: insert-file
insert into file (job_id, document) values (?, ?);

-- name: files
select document from file where job_id = :id order by kind, type, sequence;

-- name: cleanable
-- Tombstones included. Only finished jobs: nothing is swept from under a worker.
select record, version, heartbeat from job
where cleanup_due is not null and cleanup_due <= :now and status in ('completed', 'failed', 'canceled')
    and (:id is null or id = :id)
order by cleanup_due, number limit :limit;

-- name: forget
-- Partitions and files go with it; its rosters lose their job.
delete from job where id = :id;

-- name: prunable
-- Not what an unfinished job continues: it compares cohorts, and goes on from what that one named.
select id from job
where deleted = 0 and status in ('completed', 'failed', 'canceled') and cleanup_due is null and end_time < :before
    and id not in (select json_extract(record, '$.continues') from job
                   where deleted = 0 and status in ('queued', 'retriable', 'running')
                       and json_extract(record, '$.continues') is not null)
order by queued_time, number;

-- name: new-roster
insert into roster (job_id, kind, until) values (:id, :kind, :until);

-- name: roster
select number from roster where job_id = :id and kind = :kind;

-- name: is-roster
select 1 from roster where number = :roster and job_id = :id and kind = :kind;

-- name: name-roster
update roster set kind = :kind where number = :roster;

-- name: give-roster
update roster set job_id = :id, until = 0 where number = :roster and job_id is null and until > :now;

-- name: drop-roster
-- Nobody sees it from here on; `sweep` removes it.
update roster set job_id = null where job_id = :id and kind = :kind;

-- name: put-entry
-- The first round wins.
insert into entry (roster, item, round) values (?, ?, ?) on conflict (roster, item) do nothing;

-- name: entries
-- A page. Whoever is dropped while it is read gives none: it may be half removed.
select item, round from entry
where roster = :roster and item > :after and round between :first and :last
    and exists (select 1 from roster where number = :roster and job_id is not null)
order by item limit :limit;

-- name: carry
-- A page of another job's names, for the first round; what was carried before stays as it is.
insert into entry (roster, item, round)
select :roster, item, 0 from entry where roster = :from and item > :after order by item limit :limit
on conflict (roster, item) do nothing;

-- name: last-of-page
select max(item), count(*) from (select item from entry where roster = :from and item > :after order by item limit :limit);

-- name: dropped
select number from roster where job_id is null and until <= :now limit 1;

-- name: sweep
delete from entry where roster = :roster and item in (select item from entry where roster = :roster limit :limit);

-- name: forget-roster
delete from roster where number = :roster;
