-- name: is_complete
select 1 from naming where job = ? and round = ? and complete

-- name: open
insert or ignore into naming (job, round, complete) values (?, ?, 0)

-- name: number
select number from naming where job = ? and round = ?

-- name: add
insert or ignore into named (naming, gone, key, size) values (?, ?, ?, ?)

-- name: complete
update naming set complete = 1 where number = ? and not complete

-- name: drop
update naming set job = null where job = ?

-- name: lapse
update naming set job = null where job not in (select job from pin)

-- name: dropped
select number from naming where job is null limit 1

-- name: sweep
delete from named where naming = :number and (gone, key) in
  (select gone, key from named where naming = :number limit :limit)

-- name: forget
delete from naming where number = ?
