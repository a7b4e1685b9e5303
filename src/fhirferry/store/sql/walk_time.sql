-- The walk of an increment: by (type, changed, key), so that it costs what it brings.
-- From (:c0, :k0) (excluded) to (:c1, :k1) (included). The index is named: the planner must not choose another way.

-- name: last
select :c1, :k1

-- name: scan
with stretch as (
  select changed, key, case when ended > :t and size > 0 /* scope */ then size end as seen
    from version indexed by version_changed
   where type = :type and (changed, place) > (:c0, :k0) and (changed, place) <= (:c1, :k1)
   order by changed, place limit :limit)
select (select watermark from state), max(changed),
       max(key) filter (where changed = (select max(changed) from stretch)),
       count(*), count(seen), ifnull(sum(seen), 0)
  from stretch

-- name: sizes
select changed, key, size from version indexed by version_changed
 where type = :type and (changed, place) > (:c0, :k0) and (changed, place) <= (:c1, :k1)
   and ended > :t and size > 0 /* scope */
 order by changed, place

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body
          from version indexed by version_changed cross join body using (key)
         where type = :type and (changed, place) > (:c0, :k0) and (changed, place) <= (:c1, :k1)
           and ended > :t and size > 0 /* scope */
         order by changed, place)

-- name: rows
select id, size, body
  from version indexed by version_changed left join body using (key)
 where type = :type and (changed, place) > (:c0, :k0) and (changed, place) <= (:c1, :k1)
   and ended > :t and size > 0 /* scope */
 order by changed, place
