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

-- name: total_at
select name, total.resources, total.bytes from total join type on type.code = total.type where t = ?

-- name: total_now
select name, resources, bytes from type where resources > 0

-- name: types
select name from type order by name

-- name: total_between
-- What an increment will bring, counted up to :limit versions.
select count(*), count(seen), ifnull(sum(seen), 0)
  from (select case when ended > :t and size > 0 then size end as seen
          from version indexed by version_changed
         where type = (select code from type where name = :type) and changed > :since and changed <= :until
         limit :limit)
