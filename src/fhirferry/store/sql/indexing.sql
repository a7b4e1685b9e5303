-- name: unindexed
select unindexed from state

-- name: left
select count(*) from version where key > ?

-- name: versions
select version.key, name, version.size, version.id, changed, body
  from version cross join type on type.code = version.type left join body on body.key = version.key
 where version.key > :after order by version.key limit :limit

-- name: predecessors
-- Versions that ended when a deletion began; of one id there may be several, the last is it.
select id, key, patient from version indexed by version_ended
 where ended = :changed and ended < 9223372036854775807 and key > :first and key < :key order by key

-- name: marked
update version set patient = ? where key = ?

-- name: copy
insert or ignore into shared (key, patient) select ?, patient from shared where key = ?

-- name: went_on
update state set unindexed = ?
