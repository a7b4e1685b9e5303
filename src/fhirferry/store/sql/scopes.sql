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
           and cohort.patient = version.patient)
      when patient < 0 then exists (
        select 1 from shared cross join cohort
         where shared.key = version.key
           and selection = (select number from selection where job = :job and state = 1)
           and cohort.patient = shared.patient)
      else 0
    end

-- name: one
-- A single resource.
and id = :id
