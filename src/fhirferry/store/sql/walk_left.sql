-- The walk over patients who left: patient by patient, of each by key what was in the compartment at T and in no member's,
-- and what of it was deleted after :since. All of it is told as deleted; an entry counts as 128 bytes of a Bundle, as in
-- walk_deleted.sql. Positions are (patient, key), from (:c0, :k0) (excluded) to (:c1, :k1) (included).

-- name: last
select max(patient), :k1 from cohort
 where selection = (select number from selection where job = :job and state = 1) and share = 2
having max(patient) is not null

-- name: horizon
-- The last of the next :patients patients: one step passes no more, however little they have.
select max(patient)
  from (select patient from cohort
         where selection = (select number from selection where job = :job and state = 1) and share = 2
           and patient >= :c0 and patient <= :c1
         order by patient limit :patients)

-- name: found
-- Takes the place of `/* found */` below. In several compartments a version is met several times, and told at the smallest
-- of those who left.
select c.patient as patient, v.key as key,
       case when v.changed <= :t and v.ended > :t and (v.size > 0 or v.changed > :since) then 128 end as seen
  from cohort as c cross join version as v indexed by version_member
 where c.selection = (select number from selection where job = :job and state = 1)
   and c.patient >= :c0 and c.patient <= :c1 and c.share = 2
   and v.patient = c.patient and v.patient > 0
   and v.key > case when c.patient = :c0 then :k0 else :first end
   and v.key <= case when c.patient = :c1 then :k1 else :last end
union all
select c.patient, s.key,
       case when v.changed <= :t and v.ended > :t and (v.size > 0 or v.changed > :since)
             and not exists (
               select 1 from shared as o cross join cohort as m
                where o.key = s.key and m.selection = c.selection and m.patient = o.patient
                  and (m.share < 2 or m.patient < c.patient))
            then 128 end
  from cohort as c cross join shared as s indexed by shared_patient cross join version as v
 where c.selection = (select number from selection where job = :job and state = 1)
   and c.patient >= :c0 and c.patient <= :c1 and c.share = 2
   and s.patient = c.patient
   and s.key > case when c.patient = :c0 then :k0 else :first end
   and s.key <= case when c.patient = :c1 then :k1 else :last end
   and v.key = s.key
 order by 1, 2

-- name: scan
with stretch as (select patient, key, seen from (/* found */ limit :limit))
select (select watermark from state), max(patient),
       max(key) filter (where patient = (select max(patient) from stretch)),
       count(*), count(seen), ifnull(sum(seen), 0)
  from stretch

-- name: sizes
select patient, key, seen from (/* found */) where seen is not null

-- name: rows
select version.id, 0, null
  from (/* found */) as f cross join version on version.key = f.key
 where f.seen is not null
