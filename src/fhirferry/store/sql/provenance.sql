-- Which Provenance refers to what; see provenance.py.

-- name: behind
-- The stretch of keys whose targets are not known yet; no row where there is none.
select ifnull(targets, code << 40) as after, last_key, code
  from type cross join state where name = 'Provenance' and last_key > ifnull(targets, 0)

-- name: in_use
select targets is not null from state

-- name: versions
select version.key, size, id, body
  from version left join body on body.key = version.key
 where version.key > :after and version.key <= :last order by version.key limit :limit

-- name: add
insert or ignore into target (reference, key, recorded) values (?, ?, ?)

-- name: inherit
-- A deletion is about what its predecessor was about.
insert or ignore into target (reference, key, recorded)
select reference, :key, recorded from target indexed by target_key
 where key = (select max(key) from version indexed by version_former
               where type = :type and id = :id and ended < 9223372036854775807 and key < :key)

-- name: went_on
update state set targets = ?

-- name: remove
delete from target where key in (select value from json_each(?))

-- name: all
-- Ids of Provenance at :t about one of :references (a JSON list).
select distinct version.id
  from json_each(:references) as given
       cross join target on target.reference = given.value
       cross join version on version.key = target.key
 where changed <= :t and ended > :t and size > 0

-- name: latest
-- Of each reference the newest only.
select distinct id from (
  select version.id,
         row_number() over (partition by given.key order by recorded desc, changed desc, version.key desc) as place
    from json_each(:references) as given
         cross join target on target.reference = given.value
         cross join version on version.key = target.key
   where changed <= :t and ended > :t and size > 0)
 where place = 1
