-- name: pin
select t, expires from pin where job = ?

-- name: state
select watermark, last_t, last_stamp from state

-- name: fixed
update state set last_t = ?

-- name: hold
insert into pin (job, t, expires) values (?, ?, ?) on conflict (job) do update set t = excluded.t, expires = excluded.expires

-- name: count
-- Exact, because the counters and T belong to one transaction.
insert into total (t, type, resources, bytes) select ?, code, resources, bytes from type where resources > 0

-- name: drop
delete from pin where job = ?

-- name: lapse
delete from pin where expires <= ?

-- name: forget
delete from total where t not in (select t from pin)

-- name: history
select history from pin where job = ?

-- name: keep_history
update pin set history = ? where job = ?
