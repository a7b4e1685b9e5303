-- name: state
select watermark, last_t from state

-- name: types
select name, resources, bytes, deletions, versions from type where versions > 0 order by name

-- name: codes
select name, code from type where versions > 0

-- name: pins
select job, t, expires from pin order by t, job

-- name: resources
select resources from type where code = ?
