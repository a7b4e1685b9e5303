-- The walk over single resources of a type, by key: few ids that a filter names. From :k0 (excluded) to :k1 (included).

-- name: found
-- Takes the place of `/* found */` below. A version that has not ended is found by one index, any other by the other.
select key, size
  from (select version.key as key, size
          from (select value as wanted from json_each(:ids)) as given cross join version indexed by version_current
         where type = :type and version.id = wanted and ended = 9223372036854775807
           and changed > :since and changed <= :late and size > 0 /* scope */
        union all
        select version.key, size
          from (select value as wanted from json_each(:ids)) as given cross join version indexed by version_former
         where type = :type and version.id = wanted and ended < 9223372036854775807 and ended > :t
           and changed > :since and changed <= :late and size > 0 /* scope */)
 where key > :k0 and key <= :k1
 order by key

-- name: last
select 0, max(key) from (/* found */) having max(key) is not null

-- name: scan
select (select watermark from state), 0, max(key), count(*), count(*), ifnull(sum(size), 0)
  from (/* found */ limit :limit)

-- name: sizes
select 0, key, size from (/* found */)

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body from (/* found */) as f cross join body on body.key = f.key)

-- name: rows
select version.id, f.size, body.body
  from (/* found */) as f cross join version on version.key = f.key left join body on body.key = f.key
