"""What the store knows of Provenance: filled on demand, in steps, kept true by pruning, and as cheap as the cohort is small."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
import pytest

from fhirferry.fhir.resource import Deletion, Resource
from fhirferry.model.cohort import Share
from fhirferry.model.errors import TransientError
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.sqltext import statements
from fhirferry.store import cohorts, provenance, relevance, sql
from fhirferry.store.opening import APPLICATION_ID, SCHEMAS
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Ticking, export, of, resource


def about(name: str, *targets: str, value: object = 0) -> Resource:
    return resource(f"Provenance/{name}", value, target=[{"reference": one} for one in targets])


def rows(path: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def targets(path: str) -> int:
    return int(rows(path, "select count(*) from target")[0][0])


@pytest.fixture
def filled(store: SqliteStore) -> SqliteStore:
    """Ten patients, each with an Observation and a Provenance of it."""
    for number in range(10):
        store.write([resource(f"Patient/{number}"), resource(f"Observation/{number}", subject=of(str(number)))])
        store.write([about(str(number), f"Observation/{number}")])
    return store


def test_nothing_is_looked_up_before_somebody_asks(filled: SqliteStore, path: str) -> None:
    t = filled.snapshot("job")
    assert len(export_of(filled, t, level="system")) == 30
    assert len(export_of(filled, t, level="patient", types=("Patient", "Observation"))) == 20
    assert len(export_of(filled, t, level="patient", include_associated_data=("RelevantProvenanceResources",))) == 20
    filled.prune()
    assert (targets(path), rows(path, "select targets from state")) == (0, [(None,)])
    assert filled.associated(t, ["Observation/3"], latest=False) == ["Provenance/3"]
    assert targets(path) == 10


def export_of(store: SqliteStore, t: int, **request: Any) -> dict[str, Any]:
    return export(store, t, **request).values


def test_what_is_known_costs_one_read(filled: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    t = filled.snapshot("job")
    assert provenance.index(filled) == 10
    monkeypatch.setattr(filled, "writing", pytest.fail)
    assert provenance.index(filled) == 0
    assert filled.associated(t, ["Observation/3", "Observation/4"], latest=True) == ["Provenance/3", "Provenance/4"]


def test_who_is_interrupted_goes_on_where_it_was(
    filled: SqliteStore, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "AT_ONCE", 3)
    monkeypatch.setattr(provenance, "ROWS", 1)
    with filled.writing() as db:
        assert provenance.step(db) == 3
    with monkeypatch.context() as broken, filled.writing() as db:
        broken.setattr(provenance, "_rows", lambda key, body: iter([1 // 0]))
        with pytest.raises(ZeroDivisionError):
            provenance.step(db)
    assert targets(path) == 3
    filled.write([Deletion("Provenance", "9"), about("0", "Observation/1", "Observation/2", value=1)])
    assert provenance.index(filled) == 9
    assert targets(path) == 10 + 1 + 2
    t = filled.snapshot("job")
    assert filled.associated(t, ["Observation/0", "Observation/1", "Observation/9"], latest=False) == [
        "Provenance/0",
        "Provenance/1",
    ]


def test_a_batch_is_bounded_by_bytes(filled: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "AT_ONCE_BYTES", 1)
    with filled.writing() as db:
        assert provenance.step(db) == 1
    assert provenance.index(filled) == 9


def test_an_unreadable_one_is_about_nothing(filled: SqliteStore, path: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        keys = [key for (key,) in db.execute("select key from version where id = '3' or id = '4' order by key")]
        db.execute("update body set body = '[' where key = ?", (keys[-1],))
        db.execute("delete from body where key = ?", (keys[-2],))
        db.commit()
    t = filled.snapshot("job")
    found = filled.associated(t, [f"Observation/{number}" for number in range(10)], latest=False)
    assert found == [f"Provenance/{number}" for number in (0, 1, 2, 5, 6, 7, 8, 9)]


def test_pruning_takes_the_targets_along_and_leaves_deletions_theirs(filled: SqliteStore, path: str) -> None:
    since = filled.snapshot("one")
    provenance.index(filled)
    filled.write([about("1", "Observation/2", value=1), Deletion("Provenance", "3")])
    filled.write([about("1", "Observation/4", value=2)])
    t = filled.snapshot("two")
    filled.release("one")
    filled.prune()  # what came since was not indexed yet
    assert export(filled, t, level="patient", patients=("3",), since=since).deleted == ["Provenance/3"]
    assert targets(path) == 10
    assert filled.associated(t, ["Observation/1", "Observation/2"], latest=False) == ["Provenance/2"]


def test_a_deletion_whose_predecessor_went_before_anybody_asked_is_about_nothing(filled: SqliteStore) -> None:
    since = filled.snapshot("one")
    filled.release("one")
    filled.write([Deletion("Provenance", "3")])
    filled.snapshot("between")
    filled.release("between")
    filled.prune()
    t = filled.snapshot("two")
    assert export(filled, t, level="patient", patients=("3",), since=since).deleted == []


def test_an_older_store_is_brought_up_to_date(path: str, clock: Ticking) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for name in SCHEMAS[: SCHEMAS.index("schema-4")]:
            for statement in statements(sql.script(name), sqlite3.complete_statement):
                db.execute(statement)
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.execute(f"pragma user_version = {SCHEMAS.index('schema-4')}")
        db.execute("insert into type values (1, 'Provenance', (1 << 40) + 1, 1, 100, 0, 1)")
        db.execute("insert into version values ((1 << 40) + 1, 1, 5, 9223372036854775807, 80, 1, 5, x'', 'p', 0)")
        body = b'{"resourceType":"Provenance","id":"p","target":[{"reference":"Observation/o"}]}'
        db.execute("insert into body values ((1 << 40) + 1, ?)", (body.decode(),))
    with SqliteStore(path, clock=clock, create=True) as store:
        t = store.snapshot("job")
        assert store.associated(t, ["Observation/o"], latest=True) == ["Provenance/p"]


@contextmanager
def counted(store: SqliteStore) -> Iterator[Callable[[], int]]:
    """How much SQLite works meanwhile, in tens of its instructions."""
    ticks = [0]

    def tick() -> int:
        ticks[0] += 1
        return 0

    with store.reading() as db:
        connection = db
    connection.set_progress_handler(tick, 10)
    yield lambda: ticks[0]
    connection.set_progress_handler(None, 10)


def test_a_small_cohort_costs_what_it_has(store: SqliteStore) -> None:
    costs = []
    for size in (30, 300):
        store.write([resource(f"Patient/{number}") for number in range(size)])
        store.write([resource(f"Observation/{number}", subject=of(str(number))) for number in range(size)])
        store.write([about(f"{number}-{n}", f"Observation/{number}") for n in range(3) for number in range(size)])
        job = f"job {size}"
        t = store.snapshot(job)
        provenance.index(store)
        store.select(job, t, [("7", Share.SINCE), ("8", Share.SINCE)])
        request = ExportRequest(level="patient", patients=("7", "8"), types=("Provenance",))
        with counted(store) as cost:
            plans = list(store.partitions(request, t, 10**9, None, job))
            count = sum(store.read(plan.bounds, None, 1000, 10**6).count for plan in plans)
            costs.append(cost())
        assert count == 6
    assert costs[1] < 1.3 * costs[0]


@pytest.mark.parametrize("wide", [0, 10**9], ids=["narrow", "wide"])
def test_a_job_that_is_taken_up_reads_on(
    filled: SqliteStore, path: str, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohorts, "WIDE", wide)
    monkeypatch.setattr(relevance, "PATIENTS", 1)
    monkeypatch.setattr(relevance, "VERSIONS", 3)
    request = ExportRequest(level="patient", patients=("3", "4", "5"), types=("Provenance",))
    chosen = [(ident, Share.SINCE) for ident in ("3", "4", "5")]
    t = filled.snapshot("job")
    filled.select("job", t, chosen)
    (plan,) = filled.partitions(request, t, 10**9, None, "job")
    page = filled.read(plan.bounds, None, 10, 10**6)
    assert page.count == 3
    assert rows(path, "select count(*) from relevant") == [(3,)]
    filled.release("job")
    assert rows(path, "select count(*) from relevant") == [(0,)]
    with pytest.raises(TransientError, match="not selected"):
        filled.read(plan.bounds, None, 10, 10**6)
    filled.renew("job", t)
    filled.select("job", t, chosen)
    assert filled.read(plan.bounds, None, 10, 10**6) == page


def test_who_is_interrupted_while_a_cohort_is_looked_through_begins_again(
    filled: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohorts, "WIDE", 0)
    monkeypatch.setattr(relevance, "PATIENTS", 1)
    request = ExportRequest(level="patient", patients=("3", "4", "5"), types=("Provenance",))
    t = filled.snapshot("job")
    filled.select("job", t, [(ident, Share.SINCE) for ident in ("3", "4", "5")])
    asked = iter([None, None, ZeroDivisionError()])
    held = cohorts.must_be_selected

    def must_be_selected(db: sqlite3.Connection, job_id: str) -> None:
        held(db, job_id)
        error = next(asked, None)
        if error is not None:
            raise error

    with monkeypatch.context() as broken:
        broken.setattr(cohorts, "must_be_selected", must_be_selected)
        with pytest.raises(ZeroDivisionError):
            relevance.prepare(filled, request, t, "job")
    with filled.reading() as db, pytest.raises(TransientError, match="go on with the job"):
        relevance.must_be_known(db, "job")
    assert (
        sum(filled.read(p.bounds, None, 9, 10**6).count for p in filled.partitions(request, t, 10**9, None, "job")) == 3
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("wide", [0, 10**9], ids=["narrow", "wide"])
def test_any_history_against_the_naive_way(store: SqliteStore, wide: int, seed: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(cohorts, "WIDE", wide)
    monkeypatch.setattr(relevance, "PATIENTS", 2)
    monkeypatch.setattr(relevance, "VERSIONS", 5)
    monkeypatch.setattr(provenance, "AT_ONCE", 4)
    chance = random.Random(seed)
    naive, instants = MemorySource(clock=Ticking()), []
    pool = [f"{kind}/{name}" for kind in ("Patient", "Observation", "Encounter", "Group") for name in "abcd"]
    both = (store, naive)
    for source in both:
        source.write([about("x", "Observation/a")])
    store.associated(store.snapshot("first"), [], latest=False)
    naive.snapshot("first")
    for step in range(30):
        kind = chance.choice(
            ["Patient", "Observation", "Observation", "Encounter", "Provenance", "Provenance", "Group"]
        )
        name = chance.choice("abcd")
        whose = chance.sample("abcd", chance.choice([0, 1, 1, 2]))
        item: Resource | Deletion = resource(f"{kind}/{name}", step, subject=of(whose[0]) if whose else {})
        if chance.random() < 0.25:
            item = Deletion(kind, name)
        elif kind == "Provenance":
            item = about(name, *chance.sample(pool, chance.randrange(4)), value=step)
        elif kind == "Group":
            item = resource(f"Group/{name}", step, member=[{"entity": of(one)} for one in whose])
        for source in both:
            source.write([item])
        if step % 6 == 5:
            found = {source.snapshot(f"job {step}") for source in both}
            instants += found
            assert len(found) == 1
        if step == 20:
            for source in both:
                source.release("first")
                source.prune()
    for t in instants:
        for chosen in (None, ("a",), ("a", "b", "d")):
            since = chance.choice([None, *(one for one in instants if one < t)])
            request: dict[str, Any] = {"level": "patient", "types": ("Provenance",), "since": since}
            if chosen:
                request["patients"] = chosen
            if since and chosen:
                request["left_members"] = "delete"
            asked, job = ExportRequest(**request), f"{t} {chosen}"
            came = []
            for source in both:
                if chosen:
                    shares = dict.fromkeys("abcd", Share.LEFT) if since else {}
                    shares.update(dict.fromkeys(chosen, Share.SINCE), **({"a": Share.WHOLE} if since else {}))
                    source.select(job, t, sorted(shares.items()))
                plans = list(source.partitions(asked, t, 200, None, job))
                pages = [(plan.kind, source.read(plan.bounds, None, 100, 10**6).body) for plan in plans]
                came.append(sorted((kind, line) for kind, body in pages for line in body.splitlines()))
            assert names(came[0]) == names(came[1]), (t, chosen, since)


def names(lines: list[tuple[str, bytes]]) -> list[str]:
    """What came, and what is told as deleted."""
    found = []
    for _, line in lines:
        body = msgspec.json.decode(line)
        found += [entry["request"]["url"] for entry in body.get("entry", ())] or [f"{body['id']} {body['value']}"]
    return sorted(found)
