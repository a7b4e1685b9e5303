-- Whose compartments a walk goes through, by scope. Takes the place of `/* whose */` in the walk of organised output.

-- name: patients
-- Everybody that something refers to.
(select code as patient, 0 as share from patient)

-- name: cohort
(select patient, share from cohort
  where selection = (select number from selection where job = :job and state = 1) and share < 2)
