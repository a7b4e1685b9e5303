-- The walk of organised output: patient by patient, of each the Patient itself and then by key what else is in the
-- compartment, of all types. What is in several compartments is met, and meant, in each.
-- Positions are (patient, place), from (:c0, :k0) (excluded) to (:c1, :k1) (included). Places in a block: 1 has the Patient
-- itself, the others are keys, which are greater.
-- `/* whose */` is where a relation (patient, share) of whose.sql goes in.

-- name: last
select max(patient), :k1 from /* whose */ having max(patient) is not null

-- name: horizon
-- The last of the next :patients patients: one step passes no more, however little they have.
select max(patient)
  from (select patient from /* whose */ as c
         where patient >= :c0 and patient <= :c1
         order by patient limit :patients)

-- name: found
-- Takes the place of `/* found */` below: versions of these patients, with their size where they are meant. The Patient
-- itself is met only if it is meant, so that no two versions are in one place. It is in other compartments too where it
-- has links (hence the second select), and those of other Patients may be in this one.
-- Each of the four comes in order from an index, so that nothing is sorted.
select c.patient as patient, 1 as place, v.key as key, v.size as seen
  from /* whose */ as c cross join patient as p cross join version as v indexed by version_member
 where p.code = c.patient
   and c.patient >= case when :k0 then :c0 + 1 else :c0 end and c.patient <= :c1
   and v.patient = c.patient and v.patient > 0 and v.key > :own_first and v.key <= :own_last
   and v.changed <= :late and v.changed > case when c.share then -1 else :since end and v.ended > :t and v.size > 0
   and v.id = p.id
union all
select c.patient, 1, s.key, v.size
  from /* whose */ as c cross join patient as p cross join shared as s indexed by shared_patient cross join version as v
 where p.code = c.patient
   and c.patient >= case when :k0 then :c0 + 1 else :c0 end and c.patient <= :c1
   and s.patient = c.patient and s.key > :own_first and s.key <= :own_last
   and v.key = s.key
   and v.changed <= :late and v.changed > case when c.share then -1 else :since end and v.ended > :t and v.size > 0
   and v.id = p.id
union all
select c.patient, v.key, v.key,
       case when v.changed <= :late and v.changed > case when c.share then -1 else :since end
             and v.ended > :t and v.size > 0
             and (:types is null or v.key >> 40 in (select value from json_each(:types)))
             and not (v.key > :own_first and v.key <= :own_last and v.id = (select id from patient where code = c.patient))
            then v.size end
  from /* whose */ as c cross join version as v indexed by version_member
 where c.patient >= :c0 and c.patient <= :c1
   and v.patient = c.patient and v.patient > 0
   and v.key > case when c.patient = :c0 then :k0 else 0 end
   and v.key <= case when c.patient = :c1 then :k1 else 9223372036854775807 end
union all
select c.patient, s.key, s.key,
       case when v.changed <= :late and v.changed > case when c.share then -1 else :since end
             and v.ended > :t and v.size > 0
             and (:types is null or v.key >> 40 in (select value from json_each(:types)))
             and not (v.key > :own_first and v.key <= :own_last and v.id = (select id from patient where code = c.patient))
            then v.size end
  from /* whose */ as c cross join shared as s indexed by shared_patient cross join version as v
 where c.patient >= :c0 and c.patient <= :c1
   and s.patient = c.patient
   and s.key > case when c.patient = :c0 then :k0 else 0 end
   and s.key <= case when c.patient = :c1 then :k1 else 9223372036854775807 end
   and v.key = s.key
 order by 1, 2

-- name: places
-- The next :limit versions.
select patient, place, seen from (/* found */ limit :limit)

-- name: scan
with stretch as (select patient, place, seen from (/* found */ limit :limit))
select (select watermark from state), max(patient),
       max(place) filter (where patient = (select max(patient) from stretch)),
       count(*), count(seen), ifnull(sum(seen), 0)
  from stretch

-- name: blocks
-- For planning: what the next :limit versions are of each patient.
select patient, max(place), count(*), ifnull(sum(seen), 0) from (/* found */ limit :limit) group by patient order by patient

-- name: rest
-- Bytes of a stretch.
select ifnull(sum(seen), 0) from (/* found */)

-- name: begun
-- Whether a stretch has anything.
select 1 from (/* found */) where seen is not null limit 1

-- name: bodies
-- `limit -1` keeps SQLite from dropping the order of what is joined: it does where it sees no need.
select group_concat(body || char(10), '')
  from (select body.body from (/* found */ limit -1) as f cross join body on body.key = f.key where f.seen is not null)

-- name: rows
select f.patient, type.name, version.id, f.seen, body.body
  from (/* found */ limit -1) as f cross join version on version.key = f.key cross join type on type.code = version.type
       left join body on body.key = f.key
 where f.seen is not null

-- name: names
select code, id from patient where code in (select value from json_each(:codes))
