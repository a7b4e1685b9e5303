-- Which Provenance belongs to a cohort at :t. `merge` closes both inserts.

-- name: selection
select number, wide, has_relevant from selection where job = ? and state = 1

-- name: provenance
select code, last_key from type where name = 'Provenance'

-- name: horizon
-- The last of the next :patients patients.
select max(patient)
  from (select patient from cohort where selection = :number and patient > :after order by patient limit :patients)

-- name: merge
-- A member is more than somebody who left, one that is taken whole the most.
 where true
    on conflict (selection, key) do update
   set share = case when max(share, excluded.share) = 2 then min(share, excluded.share) else max(share, excluded.share) end

-- name: of_patients
-- From what patients have, those behind :after up to :to, to what is about it.
with mine as (
  select share, key, type, id
    from cohort cross join version indexed by version_member
   where selection = :number and cohort.patient > :after and cohort.patient <= :to
     and version.patient = cohort.patient and version.patient > 0 and changed <= :t and ended > :t
  union all
  select share, version.key, type, id
    from cohort cross join shared indexed by shared_patient cross join version
   where selection = :number and cohort.patient > :after and cohort.patient <= :to
     and shared.patient = cohort.patient and version.key = shared.key and changed <= :t and ended > :t)
insert into relevant (selection, key, share)
select :number, key, share from (
  select key, share from mine where type = :type
  union all
  select version.key, share
    from mine cross join type on type.code = mine.type
         cross join target on target.reference = type.name || '/' || mine.id
         cross join version on version.key = target.key
   where changed <= :t and ended > :t)
/* merge */

-- name: of_versions
-- From versions of Provenance, those behind :after up to :to, to whose they and their targets are.
with there as (
  select key, patient from version where key > :after and key <= :to and changed <= :t and ended > :t),
meant as (
  select there.key, type.code, substr(reference, instr(reference, '/') + 1) as id
    from there cross join target indexed by target_key on target.key = there.key
         cross join type on type.name = substr(reference, 1, instr(reference, '/') - 1)),
about as (
  select key, key as subject, patient from there
  union all
  select meant.key, version.key, patient
    from meant cross join version indexed by version_current on type = code and version.id = meant.id
   where ended = 9223372036854775807 and changed <= :t
  union all
  select meant.key, version.key, patient
    from meant cross join version indexed by version_former on type = code and version.id = meant.id
   where ended < 9223372036854775807 and changed <= :t and ended > :t)
insert into relevant (selection, key, share)
select :number, key, share from (
  select key, share from about cross join cohort using (patient) where selection = :number and patient > 0
  union all
  select about.key, share
    from about cross join shared on shared.key = subject
         cross join cohort on cohort.patient = shared.patient
   where selection = :number and about.patient < 0)
/* merge */

-- name: complete
update selection set has_relevant = 1 where number = ? and state = 1

-- name: sweep
delete from relevant where selection = :number and key in
  (select key from relevant where selection = :number limit :limit)
