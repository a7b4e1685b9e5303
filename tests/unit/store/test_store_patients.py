"""What the store keeps about patients: memberships, the way from schema 1, cohorts, and what reading them costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from fhirferry.fhir.resource import Deletion
from fhirferry.model.errors import StoreDamaged, StoreNotIndexed, TransientError
from fhirferry.model.request import ExportRequest
from fhirferry.sqltext import statements
from fhirferry.store import cohorts, groups, indexing, opening, sql
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Ticking, export, group, of, pages, resource, shares
from tests.unit.store.test_store_paging import page_costs, steps

PEOPLE = ("a", "b", "c")


def fill(store: SqliteStore) -> None:
    for ident in PEOPLE:
        store.write([resource(f"Patient/{ident}"), resource(f"Observation/{ident}", subject=of(ident))])
    store.write([resource("Provenance/ab", target=[of("a"), of("b")]), resource("Organization/o")])
    store.write([group("g", "Patient/a"), group("h", "Patient/b"), resource("Observation/gone", subject=of("a"))])
    store.write([resource("Provenance/gone", target=[of("a"), of("c")]), Deletion("Patient", "c")])
    store.write([Deletion("Observation", "gone"), Deletion("Provenance", "gone"), Deletion("Group", "h")])


def seen(store: SqliteStore, t: int) -> list[object]:
    who: list[dict[str, object]] = [
        {"level": "patient"},
        {"level": "patient", "patients": ("a",)},
        {"level": "group", "group_id": "g", "patients": ("a",)},
    ]
    found = []
    for request in who:
        for since in (None, 1):
            one = export(store, t, since=since, **request)
            found.append((sorted(one.lines), sorted(one.deleted)))
    return found


@pytest.fixture
def old_store(store: SqliteStore, path: str) -> str:
    """A filled store as the first schema has it."""
    fill(store)
    store.close()
    old = sqlite3.connect(path + ".old", isolation_level=None)
    old.execute("pragma page_size = 16384")
    old.execute("pragma journal_mode = wal")
    for statement in statements(sql.script("schema-1"), sqlite3.complete_statement):
        old.execute(statement)
    old.execute("delete from state")
    old.execute(f"attach '{path}' as filled")
    for table in ("state", "type", "version", "body", "pin", "total"):
        columns = ", ".join(row[1] for row in old.execute(f"pragma main.table_info({table})"))
        old.execute(f"insert into main.{table} ({columns}) select {columns} from filled.{table}")
    old.execute("detach filled")
    old.execute("pragma user_version = 1")
    old.execute(f"pragma application_id = {opening.APPLICATION_ID}")
    old.close()
    return path + ".old"


def test_a_store_of_schema_1_is_refused_for_patients_until_it_is_indexed(old_store: str, path: str) -> None:
    with SqliteStore(path, clock=Ticking()) as fresh, SqliteStore(old_store, clock=Ticking()) as store:
        t = store.snapshot("job")
        assert fresh.snapshot("job") == t
        assert export(store, t).values == export(fresh, t).values, "the system level needs no memberships"
        request = ExportRequest(level="patient", patients=("a",))
        asked: list[Callable[[], object]] = [
            lambda: store.members(request, t),
            lambda: store.select("job", t, []),
            lambda: store.totals(ExportRequest(level="patient"), t),
            lambda: list(store.partitions(ExportRequest(level="patient"), t, 1)),
        ]
        for ask in asked:
            with pytest.raises(StoreNotIndexed, match="fhirferry store index"):
                ask()
        told: list[tuple[int, int]] = []
        assert store.index(lambda done, total: told.append((done, total))) == 16
        assert told[-1] == (16, 16)
        assert seen(store, t) == seen(fresh, t)
        assert store.index(lambda done, total: told.append((done, total))) == 0


def test_indexing_goes_on_where_it_was_interrupted_and_beside_writers(
    old_store: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "AT_ONCE", 2)
    with SqliteStore(path, clock=Ticking()) as fresh, SqliteStore(old_store, clock=Ticking()) as store:

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        changes = (
            [resource("Observation/new", subject=of("a")), Deletion("Provenance", "ab")],
            [resource("Observation/b", "now a's", subject=of("a"))],
            [Deletion("Observation", "new"), Deletion("Observation", "a")],
        )
        for batch in changes:
            with pytest.raises(KeyboardInterrupt):
                store.index(stop)
            store.write(batch)
            fresh.write(batch)
            with pytest.raises(StoreNotIndexed):
                store.totals(ExportRequest(level="patient"), store.snapshot("early"))
            fresh.snapshot("early")
        counts: list[int] = []
        store.index(lambda done, total: counts.append(done))
        assert [b - a for a, b in pairwise(counts)][:-1] == [2] * (len(counts) - 2)
        fresh._clock.now = store._clock.now  # type: ignore[attr-defined]
        assert seen(store, store.snapshot("job")) == seen(fresh, fresh.snapshot("job"))


def test_an_empty_store_of_schema_1_needs_no_index(path: str) -> None:
    old = sqlite3.connect(path, isolation_level=None)
    for statement in statements(sql.script("schema-1"), sqlite3.complete_statement):
        old.execute(statement)
    old.execute("pragma user_version = 1")
    old.execute(f"pragma application_id = {opening.APPLICATION_ID}")
    old.close()
    with SqliteStore(path, clock=Ticking()) as store:
        store.write([resource("Patient/a")])
        assert export(store, store.snapshot("job"), level="patient").values == {"Patient/a": 0}


def test_pruning_leaves_no_membership_behind(store: SqliteStore) -> None:
    fill(store)
    store.write([resource("Provenance/ab", "new", target=[of("c")])])
    store.prune()
    rows = store._db.execute("select count(*), count(version.key) from shared left join version using (key)").fetchone()
    assert rows == (2, 2), "those of the deletion of Provenance/gone"


def test_a_cohort_is_gone_when_its_job_is(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "AT_ONCE", 2)
    fill(store)
    for job in ("one", "two"):
        t = store.snapshot(job)
        store.select(job, t, shares(PEOPLE))
    store.release("one")

    def rows() -> tuple[int, int]:
        (here,) = store._db.execute("select count(*) from cohort").fetchone()
        (selections,) = store._db.execute("select count(*) from selection").fetchone()
        return here, selections

    assert rows() == (3, 1)
    store._db.execute("delete from pin")
    store.prune()
    assert rows() == (0, 0)


def test_a_selection_that_was_interrupted_is_made_again(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "AT_ONCE", 1)
    fill(store)
    t = store.snapshot("job")

    def broken() -> object:
        yield "a", False
        yield "b", False
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.select("job", t, broken())  # type: ignore[arg-type]
    with pytest.raises(TransientError, match="not selected"):
        store.totals(ExportRequest(level="patient", patients=("a",)), t, "job")
    assert store.select("job", t, shares("c")).patients == 1
    assert store._db.execute("select count(*) from cohort").fetchone() == (1,)


def test_a_worker_that_lost_the_job_while_selecting_stops(
    store: SqliteStore, path: str, clock: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohorts, "AT_ONCE", 1)
    fill(store)
    t = store.snapshot("job")
    with SqliteStore(path, clock=clock) as other:

        def slow() -> object:
            yield "a", False
            assert other.select("job", t, shares("bc")).patients == 2
            yield "a", False

        with pytest.raises(TransientError, match="somebody else"):
            store.select("job", t, slow())  # type: ignore[arg-type]
        assert store.select("job", t, []).patients == 2


def test_a_group_that_cannot_be_read_is_damage_and_odd_members_are_said(store: SqliteStore) -> None:
    odd = [
        {"entity": of("a"), "inactive": "no"},
        {"entity": of("b"), "period": {"start": "soon"}},
        {"entity": of("c")},
        5,
    ]
    store.write([resource("Group/g", member=odd)])
    t = store.snapshot("job")
    cohort = store.members(ExportRequest(level="group", group_id="g"), t)
    assert cohort is not None
    assert (list(cohort.patients), ["3 members" in issue.diagnostics for issue in cohort.issues]) == (["c"], [True])
    store._db.execute("update body set body = 'secret'")
    with pytest.raises(StoreDamaged, match="Group/g") as caught:
        store.members(ExportRequest(level="group", group_id="g"), t)
    assert "secret" not in caught.value.message


def test_members_come_in_order_and_leave_nothing_behind(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "AT_ONCE", 2)
    store.write([group("g", *(f"Patient/p{n * 7 % 10}" for n in range(10)), "Group/h"), group("h", "Patient/p3")])
    t = store.snapshot("job")
    request = ExportRequest(level="group", group_id="g")
    one, other = store.members(request, t), store.members(request, t)
    assert one is not None
    assert other is not None
    assert [next(one.patients), *other.patients, *one.patients] == [
        "p0",
        *(f"p{n}" for n in range(10)),
        *(f"p{n}" for n in range(1, 10)),
    ]
    assert store._db.execute("select count(*) from temp.chosen").fetchone() == (0,)


# What it costs


def test_l8_the_walk_of_a_cohort_searches_and_sorts_nothing(store: SqliteStore) -> None:
    from fhirferry.store.walks import queries

    names = [
        "type",
        "t",
        "c0",
        "k0",
        "c1",
        "k1",
        "limit",
        "job",
        "id",
        "first",
        "last",
        "since",
        "late",
        "only",
        "patients",
        "whole",
        "former",
    ]
    for name, statement in queries("cohort", "all").items():
        with store.reading() as db:
            plan = "\n".join(
                row[3].decode() for row in db.execute("explain query plan " + statement, dict.fromkeys(names, 1))
            )
        assert "TEMP B-TREE" not in plan, name
        for table in ("cohort", "version", "body", "shared", "selection", " c\n", " v\n", " s\n", " o\n", " m\n"):
            assert f"SCAN {table.strip()}\n" not in plan + "\n", (name, plan)
        if name not in ("last", "horizon"):
            assert "USING COVERING INDEX version_member (patient=? AND key>? AND key<?)" in plan, (name, plan)


def test_l9_cost_follows_the_cohort(store: SqliteStore) -> None:
    for start in range(0, 4_000, 1_000):
        people = [f"p{number}" for number in range(start, start + 1_000)]
        store.write([resource(f"Patient/{ident}") for ident in people])
        store.write([resource(f"Observation/{ident}-{n}", subject=of(ident)) for ident in people for n in range(3)])
    t = store.snapshot("job")
    whole = steps(store, lambda: export(store, t, target_bytes=10**9, max_resources=1000, max_bytes=10**9))
    found = []
    cost = steps(store, lambda: found.append(export(store, t, level="patient", patients=("p5", "p77", "p3999"))))
    assert len(found[0].values) == 12
    assert cost < whole / 100


def test_l8_a_patient_with_much_costs_the_same_on_each_page(store: SqliteStore) -> None:
    store.write([resource(f"Observation/{number}", subject=of("a")) for number in range(4_000)])
    store.write([resource(f"Provenance/{number}", target=[of("a"), of("b")]) for number in range(4_000)])
    t = store.snapshot("job")
    store.write([resource("Patient/a"), resource("Patient/b"), *(resource(f"Patient/x{n}") for n in range(100))])
    store.select("job", t, shares("ab"))
    request = ExportRequest(level="patient", patients=("a", "b"))
    assert store._db.execute("select wide from selection").fetchone() == (0,)
    for plan in store.partitions(request, t, 10**9, None, "job"):
        costs = page_costs(store, plan)[:8]
        assert max(costs) <= min(costs) * 1.3


def test_one_step_passes_a_bounded_number_of_patients(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirferry.store.walks.PATIENTS", 5)
    monkeypatch.setattr(cohorts, "WIDE", 0)
    people = [f"p{number:02}" for number in range(40)]
    store.write([resource(f"Patient/{ident}") for ident in people])
    store.write([resource("Observation/first", subject=of("p00")), resource("Observation/last", subject=of("p39"))])
    t = store.snapshot("job")
    store.select("job", t, shares(people))
    request = ExportRequest(level="patient", patients=tuple(people), types=("Observation",))
    (plan,) = store.partitions(request, t, 10**9, None, "job")
    read = list(pages(store, plan))
    assert len(read) >= 8
    assert sum(page.count for page in read) == 2


def test_totals_of_many_are_estimated_by_their_beginning(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirferry.store.totals.WEIGHED", 50)
    people = [f"p{number:02}" for number in range(40)]
    store.write([resource(f"Observation/{ident}-{n}", subject=of(ident)) for ident in people for n in range(10)])
    t = store.snapshot("job")
    chosen = people[::2]
    for wide in (0, 10**9):
        monkeypatch.setattr(cohorts, "WIDE", wide)
        store.release("job")
        store.renew("job", t)
        store.select("job", t, shares(chosen))
        totals = store.totals(ExportRequest(level="patient", patients=tuple(chosen)), t, "job")
        assert 150 <= totals["Observation"].resources <= 250
    everybody = store.totals(ExportRequest(level="patient"), t)
    assert everybody["Observation"].resources == 400


def test_an_older_file_beside_stays_readable(old_store: str) -> None:
    """Opening brings the schema up to date once, and keeps what is there."""
    for _ in range(2):
        with SqliteStore(old_store, clock=Ticking()) as store:
            assert store.info().types["Patient"].versions == 4
    assert Path(old_store).exists()
