"""What the store keeps for rounds, and for those who left: its cost, its going, its coming from an older schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from fhirferry.model.cohort import Share
from fhirferry.model.errors import TransientError
from fhirferry.model.request import ExportRequest
from fhirferry.sqltext import statements
from fhirferry.store import named, naming, opening, sql, walks
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Ticking, export, of, pages, resource, shares
from tests.unit.store.test_store_paging import page_costs, steps

OBSERVATIONS = ExportRequest(types=("Observation",))
ASKED = (*walks.Walk(by="key", type="", code=1, t=1, after=(0, 0), to=(0, 0)).parameters((0, 0), (0, 0)), "ids")


def rows(store: SqliteStore) -> tuple[int, int]:
    """Of naming and named."""
    count = "select (select count(*) from naming), (select count(*) from named)"
    found: tuple[int, int] = store._db.execute(count).fetchone()
    return found


def plan(store: SqliteStore, statement: str) -> str:
    with store.reading() as db:
        steps = db.execute("explain query plan " + statement, dict.fromkeys(ASKED, 1))
        return "\n".join(row[3].decode() for row in steps) + "\n"


def test_l8_the_walks_of_rounds_and_of_who_left_search_and_sort_nothing(store: SqliteStore) -> None:
    for by in ("named", "left"):
        for name, statement in walks.queries(by, "all").items():
            found = plan(store, statement)
            assert "TEMP B-TREE" not in found, (by, name, found)
            for table in ("named", "naming", "version", "body", "cohort", "selection", "c", "v", "s", "o", "m"):
                assert f"SCAN {table}\n" not in found, (by, name, found)


@pytest.mark.parametrize("whose", ["all", "patients", "cohort"])
def test_naming_searches(store: SqliteStore, whose: str) -> None:
    queries = naming._queries(whose)
    current, before = plan(store, queries["current"]), plan(store, queries["before"])
    assert "SEARCH version USING INDEX version_current (type=? AND id=?)" in current
    assert "SEARCH version USING INDEX version_ended (ended>? AND ended<?)" in before
    for table in ("named", "naming", "version", "shared", "cohort", "selection"):
        assert f"SCAN {table}\n" not in current + before


def test_l8_each_page_of_a_round_costs_the_same_and_what_it_brings(store: SqliteStore) -> None:
    store.write([resource(f"Patient/{number}") for number in range(12_000)])
    t = store.snapshot("job")
    store.name(OBSERVATIONS, t, "job", 1, ((f"Patient/{number}", True) for number in range(0, 12_000, 2)))
    store.name(OBSERVATIONS, t, "job", 2, [("Patient/1", True), ("Patient/11999", True)])
    (one,) = store.partitions(OBSERVATIONS, t, 10**9, None, "job", 1)
    costs = page_costs(store, one)[:12]
    assert max(costs) <= min(costs) * 1.2
    few = steps(store, lambda: list(pages(store, *store.partitions(OBSERVATIONS, t, 10**9, None, "job", 2))))
    assert few < max(costs)


def test_l9_what_changed_after_t_is_found_among_what_ended_since(store: SqliteStore) -> None:
    store.write([resource(f"Patient/{number}") for number in range(8_000)])
    t = store.snapshot("job")
    store.write([resource(f"Patient/{number}", "later") for number in range(5)])
    many = steps(
        store, lambda: store.name(OBSERVATIONS, t, "job", 1, ((f"Patient/{n}", True) for n in range(5, 8_000)))
    )
    few = steps(store, lambda: store.name(OBSERVATIONS, t, "job", 1, ((f"Patient/{n}", True) for n in range(5))))
    assert few < many / 100
    assert rows(store) == (1, 8_000)


def test_a_naming_that_was_cut_off_is_no_round_until_it_is_repeated(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "AT_ONCE", 2)
    store.write([resource(f"Patient/{number}") for number in range(5)])
    t = store.snapshot("job")

    def broken() -> Iterator[tuple[str, bool]]:
        for number in range(4):
            yield f"Patient/{number}", True
        raise OSError

    with pytest.raises(OSError):
        store.name(OBSERVATIONS, t, "job", 1, broken())
    assert rows(store) == (1, 4)
    with pytest.raises(TransientError, match="go on with the job"):
        list(store.partitions(OBSERVATIONS, t, 1, None, "job", 1))
    store.name(OBSERVATIONS, t, "job", 1, ((f"Patient/{number}", True) for number in range(5)))
    assert len(list(store.partitions(OBSERVATIONS, t, 1, None, "job", 1))) == 5


def test_a_naming_whose_job_is_released_meanwhile_ends(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "AT_ONCE", 1)
    store.write([resource("Patient/a"), resource("Patient/b")])
    t = store.snapshot("job")

    def slow() -> Iterator[tuple[str, bool]]:
        yield "Patient/a", True
        store.release("job")
        store.name(OBSERVATIONS, t, "other", 1, [])  # gets the number that is free again
        yield "Patient/b", True

    with pytest.raises(TransientError, match="dropped"):
        store.name(OBSERVATIONS, t, "job", 1, slow())
    assert rows(store) == (1, 0)


def test_rounds_go_with_the_pin_in_small_transactions(
    store: SqliteStore, clock: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, "AT_ONCE", 3)
    store.write([resource(f"Patient/{number}") for number in range(10)])
    for forget in (lambda: store.release("job"), store.prune):
        t = store.snapshot("job")
        for round_ in (1, 2):
            names = [(f"Patient/{number}", True) for number in range(round_ * 5)]
            store.name(OBSERVATIONS, t, "job", round_, names)
        assert rows(store) == (2, 10)
        store.prune()
        assert rows(store) == (2, 10)
        clock.now += 2 * 24 * 3600 * 10**6
        removed: list[str] = []
        store._db.set_trace_callback(removed.append)
        forget()
        store._db.set_trace_callback(None)
        assert sum("delete from named" in statement.lower() for statement in removed) == 4, "3, 2, 3 and 2 of them"
        assert rows(store) == (0, 0)


def test_a_cohort_of_schema_2_is_understood(store: SqliteStore, path: str) -> None:
    store.write([resource(f"Patient/{ident}") for ident in "abc"])
    since = store.snapshot("before")
    store.write([resource("Observation/a", subject=of("a")), resource("Observation/b", subject=of("b"))])
    t = store.snapshot("job")
    store.select("job", t, shares("ab", whole="b"))
    store.close()
    old = path + ".old"
    db = sqlite3.connect(old, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    for schema in ("schema-1", "schema-2"):
        for statement in statements(sql.script(schema), sqlite3.complete_statement):
            db.execute(statement)
    db.execute("delete from state")
    db.execute(f"attach '{path}' as filled")
    for table in ("state", "type", "version", "body", "pin", "total", "patient", "shared", "selection", "cohort"):
        columns = [row[1] for row in db.execute(f"pragma main.table_info({table})")]
        taken = ", ".join(columns).replace("whole", "share")
        db.execute(f"insert into main.{table} ({', '.join(columns)}) select {taken} from filled.{table}")
    db.execute("detach filled")
    db.execute("pragma user_version = 2")
    db.execute(f"pragma application_id = {opening.APPLICATION_ID}")
    db.close()
    with SqliteStore(old, clock=Ticking()) as opened:
        request = {"level": "patient", "patients": ("a", "b"), "since": since}
        found = export(opened, t, job="job", **request)  # type: ignore[arg-type]
        assert set(found.values) == {"Patient/b", "Observation/a", "Observation/b"}


def test_who_left_does_not_make_a_cohort_wide(store: SqliteStore) -> None:
    people = [f"p{number}" for number in range(30)]
    store.write([resource(f"Patient/{ident}") for ident in people])
    t = store.snapshot("job")
    store.select("job", t, shares(people[:2], left=people[2:]))
    assert store._db.execute("select patients, wide from selection").fetchone() == (2, 0)
    store.select("wide", t, [*shares(people[:3]), ("p0", Share.LEFT)])
    assert store._db.execute("select patients, wide from selection where job = 'wide'").fetchone() == (3, 1)
