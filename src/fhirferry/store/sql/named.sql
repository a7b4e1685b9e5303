-- name: is_complete
select 1 from naming where job = ? and round = ? and state = 1

-- name: open
insert or ignore into naming (job, round, state) values (?, ?, 0)

-- name: number
select number from naming where job = ? and round = ? and state < 2

-- name: add
insert or ignore into named (naming, gone, key, size) values (?, ?, ?, ?)

-- name: complete
update naming set state = 1 where number = ? and state = 0

-- name: drop
update naming set state = 2 where job = ?

-- name: lapse
update naming set state = 2 where job not in (select job from pin)

-- name: dropped
select number from naming where state = 2 limit 1

-- name: sweep
delete from named where naming = :number and (gone, key) in
  (select gone, key from named where naming = :number limit :limit)

-- name: forget
delete from naming where number = ?
