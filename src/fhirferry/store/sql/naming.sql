-- name: current
-- Of the ids in :ids (a JSON list) of one type: the current version, as far as no earlier round exports it.
select version.id, version.key, changed, size, /* whose */
  from json_each(:ids) as given cross join version indexed by version_current
 where version.type = :type and version.id = given.value and ended = 9223372036854775807
   and not (/* earlier */)

-- name: before
-- Of ids that changed since T: what was there at T, found among what ended since then.
select version.id, version.key, changed, size, /* whose */
  from version indexed by version_ended
 where ended > :t and ended < 9223372036854775807 and version.key > :first and version.key <= :last and changed <= :t
   and version.id in (select value from json_each(:ids))
   and not (/* earlier */)

-- name: earlier
-- Takes the place of `/* earlier */`: an earlier round of the job has it.
exists (select 1 from naming cross join named on named.naming = number
         where job = :job and round < :round and complete and gone = (version.size = 0) and named.key = version.key)

-- Take the place of `/* whose */`: 1 for what is in a compartment that round 0 exports, + 2 where a patient is taken
-- whole, + 4 where it is in the compartment of somebody who is not in the cohort.

-- name: all
1

-- name: patients
1 /* scope */

-- name: cohort
-- Provenance also by what it is about; that of who left is told as deleted.
ifnull((select case when share < 2 then 1 + 2 * share else 4 end from relevant
         where selection = (select number from selection where job = :job and state = 1)
           and key = version.key), 0)
| case
  when patient > 0 then ifnull(
    (select 1 + 2 * share from cohort
      where selection = (select number from selection where job = :job and state = 1)
        and cohort.patient = version.patient and share < 2), 4)
  when patient < 0 then
    (select max(ifnull(share < 2, 0)) + 2 * max(ifnull(share = 1, 0)) + 4 * max(ifnull(share = 2, 1))
       from shared left join cohort
         on selection = (select number from selection where job = :job and state = 1)
        and cohort.patient = shared.patient
      where shared.key = version.key)
  else 0
end
