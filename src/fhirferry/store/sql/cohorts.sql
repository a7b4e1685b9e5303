-- name: unindexed
select unindexed from state

-- name: complete
-- With how many patients are taken whole, and how many left.
select number, patients, absent, wide,
       (select count(*) from cohort where selection = number and share = 1),
       (select count(*) from cohort where selection = number and share = 2)
  from selection where job = ? and state = 1

-- name: is_complete
select 1 from selection where job = ? and state = 1

-- name: begin
insert into selection (job, state, patients, absent, wide) values (?, 0, 0, 0, 0)

-- name: is_open
select 1 from selection where number = ? and job = ? and state = 0

-- name: put
-- Who is given twice: a member is more than somebody who left, one that is taken whole the most.
insert into cohort (selection, patient, share) values (?, ?, ?)
on conflict (selection, patient) do update
   set share = case when max(share, excluded.share) = 2 then min(share, excluded.share) else max(share, excluded.share) end

-- name: close
-- :share: a cohort of more than one patient in so many is wide.
update selection set state = 1, absent = :absent,
       patients = (select count(*) from cohort where selection = :number and share < 2),
       wide = (select count(*) from cohort where selection = :number and share < 2) * :share
            > (select ifnull(max(code), 0) from patient)
 where number = :number

-- name: abandon
-- What is left of other attempts of the job.
update selection set state = 2 where job = ? and state <> 1

-- name: drop
update selection set state = 2 where job = ?

-- name: lapse
update selection set state = 2 where job not in (select job from pin)

-- name: dropped
select number from selection where state = 2 limit 1

-- name: sweep
delete from cohort where selection = :number and patient in
  (select patient from cohort where selection = :number limit :limit)

-- name: sweep_relevant
delete from relevant where selection = :number and key in
  (select key from relevant where selection = :number limit :limit)

-- name: forget
delete from selection where number = ?
