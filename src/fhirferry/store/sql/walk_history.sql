-- The walk over what was superseded, by when that was: so that an increment costs what changed meanwhile, of whatever type
-- that is; the index knows no types. Positions are (ended, key), from (:c0, :k0) (excluded) to (:c1, :k1) (included).
-- A version ended because a later one came by T, or a deletion.

-- name: last
select :c1, :k1

-- name: found
-- Takes the place of `/* found */` below. The positions are bounds for the index first: by itself it knows `ended` only.
select ended, key, case when changed <= :late and size > 0 /* scope */ then size end as seen
  from version indexed by version_ended
 where ended >= :c0 and ended <= :c1 and ended < 9223372036854775807 and key > :first and key <= :last
   and (ended > :c0 or key > :k0) and (ended < :c1 or key <= :k1)
 order by ended, key

-- name: scan
with stretch as (select ended, key, seen from (/* found */ limit :limit))
select (select watermark from state), max(ended), max(key) filter (where ended = (select max(ended) from stretch)),
       count(*), count(seen), ifnull(sum(seen), 0)
  from stretch

-- name: sizes
select ended, key, seen from (/* found */) where seen is not null

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body from (/* found */) as f cross join body on body.key = f.key where f.seen is not null)

-- name: rows
select version.id, f.seen, body.body
  from (/* found */) as f cross join version on version.key = f.key left join body on body.key = f.key
 where f.seen is not null
