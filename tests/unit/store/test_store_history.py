"""Superseded versions in the store: against a naive evaluation, by indexes, and through an upgrade of the store."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.resource import Deletion, Resource
from fhirferry.model.errors import FerryError
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.sqltext import statements
from fhirferry.store import cohorts, sql, walks
from fhirferry.store.opening import APPLICATION_ID, SCHEMAS
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.history_suite import asked, begin, read
from fhirferry.testing.source_suite import START, Dock, Ticking, group, of, resource

PEOPLE = ["a", "b", "c"]
SOME = st.lists(st.sampled_from(PEOPLE), max_size=2)
NAME = st.sampled_from(["1", "2"])
ITEM = st.one_of(
    st.tuples(st.just("Patient"), st.sampled_from(PEOPLE), SOME),
    st.tuples(st.sampled_from(["Observation", "Observation", "Provenance", "Group"]), NAME, SOME),
    st.tuples(st.sampled_from(["Observation", "Patient"]), st.sampled_from(["1", "a"])),
)
STEP = st.one_of(
    st.lists(ITEM, min_size=1, max_size=6),
    st.lists(ITEM, min_size=1, max_size=6),
    st.sampled_from(["snapshot", "prune"]),
)
WHO = st.sampled_from(
    [
        {},
        {"level": "patient"},
        {"level": "patient", "patients": ("a", "b")},
        {"level": "patient", "patients": ("a", "b"), "new_members": "full"},
        {"level": "group", "group_id": "1"},
        {"types": ("Observation", "Provenance")},
    ]
)


class Ask(msgspec.Struct):
    """since, until, t: places among the moments."""

    who: dict[str, Any]
    whole: list[str]
    since: int | None
    until: int | None
    early: bool


ASK = st.builds(Ask, WHO, SOME, st.sampled_from([None, 0, 1]), st.sampled_from([None, None, -1, -2]), st.booleans())


def written(item: tuple[Any, ...], number: int) -> Resource | Deletion:
    kind, ident, *rest = item
    if not rest:
        return Deletion(kind, ident)
    people = [of(person) for person in rest[0]]
    if kind == "Group":
        return group(ident, *(f"Patient/{person}" for person in rest[0]), value=number)
    members = {
        "Patient": {"link": [{"other": one} for one in people]},
        "Observation": {"subject": people[0] if people else None, "performer": people[1:]},
        "Provenance": {"target": people},
    }[kind]
    return resource(f"{kind}/{ident}", number, **members)


def seen(source: Any, clock: Ticking, t: int, ask: Ask, request: ExportRequest) -> object:
    dock = Dock(source, clock, source.write, source.prune, lambda: source)
    try:
        kept = begin(dock, "ask", t, request, ask.whole if request.new_members == "full" else ())
        return kept, read(dock, "ask", t, request, size=400, most=2)
    except FerryError as error:
        return type(error)
    finally:
        source.release("ask")


@pytest.mark.parametrize("wide", [0, 10**9], ids=["by patient", "by time"])
@given(steps=st.lists(STEP, min_size=2, max_size=7), asks=st.lists(ASK, min_size=2, max_size=4))
def test_the_store_brings_the_versions_that_a_naive_evaluation_does(
    wide: int, steps: list[Any], asks: list[Ask]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(cohorts, "WIDE", wide)
        patched.setattr(walks, "PATIENTS", 2)
        patched.setattr(walks, "CHUNK", 2)
        ours, theirs = Ticking(), Ticking()
        memory = MemorySource(clock=theirs)
        with SqliteStore(f"{folder}/s", clock=ours, create=True) as store:
            store._db.execute("pragma synchronous = off")
            moments = [START]
            for number, step in enumerate([*steps, "snapshot"]):
                theirs.now = ours.now = max(ours.now, theirs.now)
                if step == "snapshot":
                    moments.append(store.snapshot(str(number)))
                    assert memory.snapshot(str(number)) == moments[-1]
                elif step == "prune":
                    store.prune()
                    memory.prune()
                else:
                    batch = [written(item, 100 * number + place) for place, item in enumerate(step)]
                    assert store.write(batch) == memory.write(batch)
            for ask in asks:
                t = moments[-2] if ask.early and len(moments) > 2 else moments[-1]
                since = None if ask.since is None else moments[min(ask.since, len(moments) - 1)]
                until = None if ask.until is None else moments[max(ask.until, -len(moments))] + 1
                if ask.who.get("new_members") and since is None:
                    since = moments[0]
                if since is not None and until is not None and since >= until:
                    continue
                request = asked(since=since, until=until, **ask.who)
                assert seen(store, ours, t, ask, request) == seen(memory, theirs, t, ask, request), request


@pytest.mark.parametrize("scope", ["all", "patients", "cohort"])
def test_the_walk_goes_along_the_index_of_what_ended(store: SqliteStore, scope: str) -> None:
    walk = walks.Walk(by="history", type="Patient", code=1, t=1, after=(0, 0), to=(1, 0), scope=scope)
    for name, text in walk.queries.items():
        plan = store._db.execute(f"explain query plan {text}", walk.parameters((0, 0), (1, 0), 1)).fetchall()
        steps = [step[-1].decode() for step in plan]
        assert not [step for step in steps if "FOR ORDER BY" in step or step.startswith("SCAN version")], (name, steps)
        if name != "last":
            assert [step for step in steps if "version_ended (ended>? AND ended<?)" in step], (name, steps)


def test_a_store_of_the_schema_before_learns_to_keep_history(path: str, clock: Ticking) -> None:
    """Its pins stay as they are."""
    before = SCHEMAS.index("schema-5")
    with closing(sqlite3.connect(path)) as db:
        for name in SCHEMAS[:before]:
            for statement in statements(sql.script(name), sqlite3.complete_statement):
                db.execute(statement)
        db.execute("insert into pin values ('old', 5, 9000000000000000)")
        db.execute(f"pragma user_version = {before}")
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.commit()
    with SqliteStore(path, clock=clock) as store:
        assert store.info().pins == {"old": (5, 9_000_000_000_000_000)}
        store.write([resource("Patient/a", 0)])
        store.write([resource("Patient/a", 1)])
        assert store.prune().watermark == 5
        assert store.keep_history("old", 3) == 5, "what was pruned is not promised"


def test_pruning_goes_as_far_as_the_oldest_history(store: SqliteStore) -> None:
    for value in range(6):
        store.write([resource("Patient/a", value)])
    since = store.snapshot("one")
    store.write([resource("Patient/a", "new")])
    t = store.snapshot("two")
    store.release("one")
    assert store.keep_history("two", since) == since
    assert store.prune().watermark == since
    assert store.keep_history("two", 0) == since, "asked again it says the same"
    store.renew("two", t)
    store.snapshot("three")
    assert store.prune(before=t).watermark == since
    store.release("two")
    assert store.prune().watermark > since
