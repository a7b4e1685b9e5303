-- The walk over deletions of an increment, by (type, changed, key). An entry counts as 128 bytes of a Bundle: an entry
-- is 58 bytes, type and id.

-- name: last
select :c1, :k1

-- name: scan
with stretch as (
  select changed, key, case when ended > :t /* scope */ then 128 end as seen
    from version indexed by version_deleted
   where type = :type and size = 0 and (changed, place) > (:c0, :k0) and (changed, place) <= (:c1, :k1)
   order by changed, place limit :limit)
select (select watermark from state), max(changed),
       max(key) filter (where changed = (select max(changed) from stretch)),
       count(*), count(seen), ifnull(sum(seen), 0)
  from stretch

-- name: sizes
select changed, key, 128 from version indexed by version_deleted
 where type = :type and size = 0 and (changed, place) > (:c0, :k0) and (changed, place) <= (:c1, :k1) and ended > :t /* scope */
 order by changed, place

-- name: rows
select id, 0, null from version indexed by version_deleted
 where type = :type and size = 0 and (changed, place) > (:c0, :k0) and (changed, place) <= (:c1, :k1) and ended > :t /* scope */
 order by changed, place
