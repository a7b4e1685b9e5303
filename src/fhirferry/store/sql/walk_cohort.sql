-- The walk of a small cohort: patient by patient, of each the versions of one type by key, so that it costs what the
-- cohort has. Positions are (patient, key), from (:c0, :k0) (excluded) to (:c1, :k1) (included).

-- name: last
select max(patient), :k1 from cohort
 where selection = (select number from selection where job = :job and state = 1)
having max(patient) is not null

-- name: horizon
-- The last of the next :patients patients: one step passes no more, however little they have.
select max(patient)
  from (select patient from cohort
         where selection = (select number from selection where job = :job and state = 1)
           and patient >= :c0 and patient <= :c1
         order by patient limit :patients)

-- name: found
-- Takes the place of `/* found */` below: every version of the cohort's patients, with its size where it is meant. In
-- several compartments it is met several times, and meant at the smallest patient for whom it is.
-- A member takes what changed after :since, one that is taken whole what did after :whole; with :only the others are not
-- looked at (:late is then not after :since, so they would take nothing). With :former they take what was superseded,
-- and when that was counts.
select c.patient as patient, v.key as key,
       case when v.changed <= :late and case when :former then v.ended else v.changed end
                                       > case when c.share then :whole else :since end
             and (v.ended > :t) <> :former and v.size > 0
            then v.size end as seen
  from cohort as c cross join version as v indexed by version_member
 where c.selection = (select number from selection where job = :job and state = 1)
   and c.patient >= :c0 and c.patient <= :c1 and c.share between :only and 1
   and v.patient = c.patient and v.patient > 0
   and v.key > case when c.patient = :c0 then :k0 else :first end
   and v.key <= case when c.patient = :c1 then :k1 else :last end
union all
select c.patient, s.key,
       case when v.changed <= :late and case when :former then v.ended else v.changed end
                                       > case when c.share then :whole else :since end
             and (v.ended > :t) <> :former and v.size > 0
             and not exists (
               select 1 from shared as o cross join cohort as m
                where o.key = s.key and o.patient < c.patient
                  and m.selection = c.selection and m.patient = o.patient and m.share < 2
                  and case when :former then v.ended else v.changed end > case when m.share then :whole else :since end)
            then v.size end
  from cohort as c cross join shared as s indexed by shared_patient cross join version as v
 where c.selection = (select number from selection where job = :job and state = 1)
   and c.patient >= :c0 and c.patient <= :c1 and c.share between :only and 1
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

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body from (/* found */) as f cross join body on body.key = f.key where f.seen is not null)

-- name: rows
select version.id, f.seen, body.body
  from (/* found */) as f cross join version on version.key = f.key left join body on body.key = f.key
 where f.seen is not null
