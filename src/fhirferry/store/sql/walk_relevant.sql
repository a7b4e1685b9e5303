-- The walks over Provenance that belongs to a cohort, in the order on disk: `relevant` says what that is. Positions are
-- (0, key), from :k0 (excluded) to :k1 (included).

-- name: last
select 0, max(key) from relevant
 where selection = (select number from selection where job = :job and state = 1) and key > :k0 and key <= :k1
having max(key) is not null

-- name: found
-- Takes the place of `/* found */` below. :told 0: what goes out; a member takes what changed after :since, one that is
-- taken whole everything. 1: what was deleted after :since. 2: what is nobody's but of those who left. An entry of a Bundle
-- counts as 128 bytes, as in walk_deleted.sql.
select r.key as key,
       case :told
         when 0 then case when r.share < 2 and size > 0 and changed <= :late
                           and changed > case r.share when 1 then -1 else :since end then size end
         when 1 then case when r.share < 2 and size = 0 and changed <= :late and changed > :since then 128 end
         else case when r.share = 2 and (size > 0 or changed > :since) then 128 end
       end as seen
  from relevant as r cross join version on version.key = r.key
 where r.selection = (select number from selection where job = :job and state = 1) and r.key > :k0 and r.key <= :k1
 order by r.key

-- name: scan
select (select watermark from state), 0, max(key), count(*), count(seen), ifnull(sum(seen), 0)
  from (/* found */ limit :limit)

-- name: sizes
select 0, key, seen from (/* found */) where seen is not null

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body from (/* found */) as f cross join body on body.key = f.key where f.seen is not null)

-- name: rows
select version.id, f.seen, case :told when 0 then body.body end
  from (/* found */) as f cross join version on version.key = f.key left join body on body.key = f.key
 where f.seen is not null
