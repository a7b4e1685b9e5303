-- Queries of the secrets in a SQLite ledger; its table comes with the ledger's schema 3.

-- name: get
select token from secret where name = :name;

-- name: set
insert into secret (name, token) values (:name, :token) on conflict (name) do update set token = excluded.token;

-- name: delete
delete from secret where name = :name;

-- name: all
select name, token from secret order by name;
