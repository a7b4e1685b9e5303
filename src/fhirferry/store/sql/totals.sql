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

-- name: last_key
select last_key from type where code = ?

-- name: passed
-- Of a cohort's patients: how many up to a code, and how many in all.
select count(*) filter (where patient <= :patient), count(*) from cohort
 where share < 2 and selection = (select number from selection where job = :job and state = 1)

-- name: passed_of_all
select count(*) filter (where code <= :patient), count(*) from patient
