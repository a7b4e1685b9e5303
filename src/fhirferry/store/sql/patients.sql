-- name: find
-- Codes of the ids in :ids (a JSON list), by their place in that list.
select given.key, code from json_each(:ids) as given cross join patient on patient.id = given.value

-- name: newest
select ifnull(max(code), 0) from patient

-- name: add
insert into patient (code, id) values (?, ?)

-- name: share
insert or ignore into shared (key, patient) values (?, ?)

-- name: copy
insert into shared (key, patient) select ?, patient from shared where key = ?
