-- The walk over what is in the compartments of few patients whom a filter names: patient by patient, of each the versions
-- of one type by key. Positions are (patient, key). A step ends with a patient, so a stretch is always one's: that of :c1.
-- It begins behind :k0 where :c0 is the same one, else with the patient's first.

-- name: last
select max(code), :k1 from patient where id in (select value from json_each(:people)) having max(code) is not null

-- name: horizon
-- The next patient of whom something may be left.
select min(code) from patient
 where id in (select value from json_each(:people)) and (code, :last) > (:c0, :k0) and code <= :c1

-- name: found
-- Takes the place of `/* found */` below: every version of the patient, with its size where it is meant. In several
-- compartments it is met several times, and meant at the first of these patients.
select :c1 as whose, version.key as key,
       case when changed > :since and changed <= :late and ended > :t and size > 0 /* scope */ then size end as seen
  from version indexed by version_member
 where patient = :c1 and patient > 0
   and version.key > case when :c0 = :c1 then :k0 else :first end and version.key <= :k1
union all
select :c1, met,
       case when changed > :since and changed <= :late and ended > :t and size > 0 /* scope */
             and not exists (
               select 1 from shared as o
                where o.key = met and o.patient < :c1
                  and o.patient in (select code from patient where id in (select value from json_each(:people))))
            then size end
  from (select key as met from shared indexed by shared_patient
         where patient = :c1 and key > case when :c0 = :c1 then :k0 else :first end and key <= :k1) as s
       cross join version on version.key = met
 order by 2

-- name: scan
select (select watermark from state), max(whose), max(key), count(*), count(seen), ifnull(sum(seen), 0)
  from (/* found */ limit :limit)

-- name: sizes
select whose, key, seen from (/* found */) where seen is not null

-- name: bodies
select group_concat(body || char(10), '')
  from (select body.body from (/* found */) as f cross join body on body.key = f.key where f.seen is not null)

-- name: rows
select version.id, f.seen, body.body
  from (/* found */) as f cross join version on version.key = f.key left join body on body.key = f.key
 where f.seen is not null
