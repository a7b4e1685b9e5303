-- name: oldest
select watermark, last_stamp, (select min(min(t, ifnull(history, t))) from pin) from state

-- name: raise
update state set watermark = ?

-- name: ended
-- The second bound is what lets SQLite use the partial index.
select key, size from version indexed by version_ended
 where ended <= :watermark and ended < 9223372036854775807 limit :limit

-- name: bodies
delete from body where key in (select value from json_each(?))

-- name: shared
delete from shared where key in (select value from json_each(?))

-- name: versions
delete from version where key in (select value from json_each(?))

-- name: counted
update type set versions = versions - ? where code = ?
