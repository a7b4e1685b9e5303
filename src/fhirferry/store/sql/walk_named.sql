-- The walk over what is named for a round, by key: the order on disk. With :gone the deletions that are told; an entry
-- counts as 128 bytes of a Bundle, as in walk_deleted.sql. That each was visible at T was found out when it was named.

-- name: last
select 0, max(key) from named
 where naming = (select number from naming where job = :job and round = :round and complete) and gone = :gone
   and key > :k0 and key <= :k1
having max(key) is not null

-- name: scan
select (select watermark from state), 0, max(key), count(*), count(*), ifnull(sum(case when :gone then 128 else size end), 0)
  from (select key, size from named
         where naming = (select number from naming where job = :job and round = :round and complete) and gone = :gone
           and key > :k0 and key <= :k1
         order by key limit :limit)

-- name: sizes
select 0, key, case when :gone then 128 else size end from named
 where naming = (select number from naming where job = :job and round = :round and complete) and gone = :gone
   and key > :k0 and key <= :k1
 order by key

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body from named cross join body on body.key = named.key
         where naming = (select number from naming where job = :job and round = :round and complete) and gone = :gone
           and named.key > :k0 and named.key <= :k1
         order by named.key)

-- name: rows
select id, named.size, body
  from named cross join version on version.key = named.key left join body on body.key = named.key
 where naming = (select number from naming where job = :job and round = :round and complete) and gone = :gone
   and named.key > :k0 and named.key <= :k1
 order by named.key
