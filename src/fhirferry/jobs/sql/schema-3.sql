-- The ledger, schema 3: secrets, for those who keep them here. The ledger itself never looks at them.

-- token: encrypted, with a key that is kept elsewhere; see `vaults/ledger.py`.
create table secret (
    name  text primary key,
    token text not null
) without rowid;
