-- name: state
select last_t, last_stamp from state

-- name: types
select name, code, last_key, resources, bytes, deletions, versions from type

-- name: heads
-- The current versions of the ids in :ids (a JSON list), by their place in that list.
select given.key, version.key, version, changed, updated, size, digest, patient
  from json_each(:ids) as given cross join version indexed by version_current
 where version.type = :type and version.id = given.value and ended = 9223372036854775807

-- name: end
update version set ended = ? where key = ?

-- name: version
insert into version (key, type, changed, ended, size, version, updated, digest, id, patient)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: body
-- Large ones come as bytes; the cast leaves text alone.
insert into body (key, body) values (?, cast(? as text))

-- name: type
insert into type (name, code, last_key, resources, bytes, deletions, versions) values (?, ?, ?, ?, ?, ?, ?)
on conflict (code) do update set last_key = excluded.last_key, resources = excluded.resources, bytes = excluded.bytes,
  deletions = excluded.deletions, versions = excluded.versions

-- name: stamped
update state set last_stamp = max(last_stamp, ?)

-- name: get
select body from body where key = (
  select version.key from version indexed by version_current join type on type.code = version.type
   where type.name = ? and id = ? and ended = 9223372036854775807)
