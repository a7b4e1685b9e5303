-- name: current
-- Of the ids in :ids (a JSON list): when the current version began, its size, its body's key.
select given.value, changed, size, version.key
  from json_each(:ids) as given cross join version indexed by version_current
 where version.type = (select code from type where name = :type) and version.id = given.value
   and ended = 9223372036854775807

-- name: earlier
-- What was there at T of ids that changed since: it is among what ended since then.
select id, key from version indexed by version_ended
 where ended > :t and ended < 9223372036854775807 and key > :first and key <= :last and changed <= :t and size > 0
   and id in (select value from json_each(:ids))

-- name: body
select body from body where key = ?

-- name: chosen
-- Members may be a million: they wait, and are sorted, in a temporary table that SQLite puts on the disk.
create temp table if not exists chosen (run integer not null, id text not null, primary key (run, id)) without rowid

-- name: run
select ifnull(max(run), 0) + 1 from temp.chosen

-- name: begun
-- A run is known by the empty id, which nobody has.
insert into temp.chosen (run, id) values (?, '')

-- name: choose
insert or ignore into temp.chosen (run, id) values (?, ?)

-- name: missing
select value from json_each(:ids) as given
 where not exists (select 1 from temp.chosen where run = :run and id = given.value)

-- name: in_order
select id from temp.chosen where run = :run and id > :last order by id limit :limit

-- name: any
select exists (select 1 from temp.chosen where run = ? and id > '')

-- name: done
delete from temp.chosen where run = ?
