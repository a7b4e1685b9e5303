"""SQL as source: a schema is applied statement by statement, inside of one transaction."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from fhirferry.sqltext import statements

SCRIPT = """-- a comment; with a semicolon
create table a (b text default ';');

create trigger t after insert on a begin
    update a set b = '1;';
    delete from a where b = '2';
end;
insert into a values ('x');
"""


def test_a_trigger_and_a_quoted_semicolon_are_one_statement_each() -> None:
    parts = [" ".join(part.split()[-2:]) for part in statements(SCRIPT, sqlite3.complete_statement)]
    assert parts == ["default ';');", "'2'; end;", "values ('x');"]


def test_a_script_that_is_run_by_its_statements_can_be_rolled_back() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("begin")
        for statement in statements(SCRIPT, sqlite3.complete_statement):
            db.execute(statement)
        db.execute("rollback")
        assert db.execute("select count(*) from sqlite_master").fetchone() == (0,)
