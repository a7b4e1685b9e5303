-- The walk of a full export: by key, the order on disk.
-- `/* scope */` is where a condition of scopes.sql goes in.
-- Positions are (changed, key) in every walk; this one has no use for :c0 and :c1. From :k0 (excluded) to :k1 (included).

-- name: last
-- The last visible position: what was written after T lies behind it and is left alone.
select 0, key from version
 where key > :k0 and key <= :k1 and changed <= :t and ended > :t and size > 0 /* scope */
 order by key desc limit 1

-- name: scan
-- A stretch of at most :limit versions in one row: the limit is on what is scanned, so the cost of a page does not
-- grow with superseded versions.
select (select watermark from state), 0, max(key), count(*), count(seen), ifnull(sum(seen), 0)
  from (select key, case when changed <= :t and ended > :t and size > 0 /* scope */ then size end as seen
          from version where key > :k0 and key <= :k1 order by key limit :limit)

-- name: weigh
-- For planning: :limit keys, which may be fewer versions. Without order, limit and inner select it costs half of a scan.
select (select watermark from state), 0, min(:k0 + :limit, :k1), count(*), count(*), ifnull(sum(size), 0) from version
 where key > :k0 and key <= min(:k0 + :limit, :k1) and changed <= :t and ended > :t and size > 0 /* scope */

-- name: sizes
select 0, key, size from version
 where key > :k0 and key <= :k1 and changed <= :t and ended > :t and size > 0 /* scope */
 order by key

-- name: plain
-- Every version of the stretch is visible: no need to ask for each.
select group_concat(body || char(10), '')
  from (select body from body where key > :k0 and key <= :k1 order by key)

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body
          from version cross join body using (key)
         where version.key > :k0 and version.key <= :k1
           and changed <= :t and ended > :t and size > 0 /* scope */
         order by version.key)

-- name: rows
select id, size, body
  from version left join body using (key)
 where version.key > :k0 and version.key <= :k1 and changed <= :t and ended > :t and size > 0 /* scope */
 order by version.key
