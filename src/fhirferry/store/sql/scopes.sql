-- Which versions of those that a walk passes are meant. Takes the place of `/* scope */` in the walks.

-- name: all

-- name: patients
-- In the compartment of any patient.
and patient <> 0

-- name: cohort
-- In the compartment of a patient of the job's cohort.
and case
      when patient > 0 then exists (
        select 1 from cohort
         where selection = (select number from selection where job = :job and state = 1)
           and cohort.patient = version.patient and share < 2)
      when patient < 0 then exists (
        select 1 from shared cross join cohort
         where shared.key = version.key
           and selection = (select number from selection where job = :job and state = 1)
           and cohort.patient = shared.patient and share < 2)
      else 0
    end

-- name: one
-- A single resource.
and id = :id

-- name: about_patients
-- Provenance that is in the compartment of any patient, or has a target that is at :t, or was before it was deleted.
and (patient <> 0 or exists (
      select 1
        from target indexed by target_key cross join type on type.name = substr(reference, 1, instr(reference, '/') - 1)
       where target.key = version.key
         and (exists (
               select 1 from version as v indexed by version_current
                where v.type = type.code and v.id = substr(reference, instr(reference, '/') + 1)
                  and v.ended = 9223372036854775807 and v.changed <= :t and v.patient <> 0)
              or exists (
               select 1 from version as v indexed by version_former
                where v.type = type.code and v.id = substr(reference, instr(reference, '/') + 1)
                  and v.ended < 9223372036854775807 and v.ended > :t and v.changed <= :t and v.patient <> 0))))

-- name: updated
-- Behind any of these: by meta.lastUpdated, as far as a filter bounds it.
and updated >= :updated_from and updated < :updated_to
