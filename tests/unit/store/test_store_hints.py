"""What filters narrow in the store, against walks that know nothing of filters."""

from __future__ import annotations

import tempfile
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.resource import Deletion, Resource, read_resource
from fhirferry.model.errors import SnapshotGone
from fhirferry.model.instant import DAY, format_instant
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.store import cohorts, hints, walks
from fhirferry.store.hints import Hint, hints_of
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.cohort_suite import fill
from fhirferry.testing.hints_suite import matching
from fhirferry.testing.source_suite import START, Dock, Ticking, export, of, resource


def hint(*texts: str) -> Hint:
    return hints_of(ExportRequest(type_filters=texts)).get(texts[0].partition("?")[0], hints.NONE)


def test_hints_are_bounded_and_unknown_shapes_give_none() -> None:
    assert hint("Patient?_id=b,a") == Hint(ids=("a", "b"))
    assert hint("Patient?gender=male") == hint("Patient?_id=a", "Patient?gender=male") == hints.NONE
    many = ",".join(f"p{number}" for number in range(hints.MOST_IDS + 1))
    assert hint(f"Patient?_id={many}") == hints.NONE
    assert hint("Observation?subject=Patient/1") == Hint(patients=("1",))
    few, more = (",".join(f"Patient/p{n}" for n in range(hints.MOST_PATIENTS + extra)) for extra in (0, 1))
    assert hint(f"Observation?patient={few}").patients is not None
    assert hint(f"Observation?patient={more}") == hints.NONE
    assert hint("Patient?_lastUpdated=lt1500").updated is not None
    assert hint("Patient?_lastUpdated=lt1500").since == hint("Patient?_lastUpdated=ge1500").since == -1
    assert hint("Patient?_lastUpdated=ge2020-01-01").since == 1_577_836_799_999_999
    assert hints_of(ExportRequest(type_filters=("what?",))) == {}, "who evaluates it says what is wrong"


def test_a_store_that_does_not_know_whose_versions_are_is_walked_as_a_whole(store: SqliteStore, clock: Ticking) -> None:
    fill(Dock(store, clock, store.write, store.prune, lambda: store), "a", "b")
    t = store.snapshot("job")
    store._db.execute("update state set unindexed = 0")
    request = ExportRequest(types=("Observation",), type_filters=("Observation?patient=Patient/a",))
    store._db.execute("update version set patient = 0")
    assert matching(export(store, t, types=request.types, type_filters=request.type_filters), request.type_filters) == {
        "Observation/a"
    }
    (plan,) = store.partitions(request, t, 10**9)
    assert plan.bounds["by"] == "key"
    store.index(lambda *_: None)
    assert list(store.partitions(request, t, 10**9, plan)) == [], "goes on as it began"
    (hinted,) = store.partitions(request, t, 10**9)
    assert hinted.bounds["by"] == "about"


def test_plans_of_a_fhirferry_without_hints_go_on(store: SqliteStore) -> None:
    store.write([resource(f"Observation/{number}", size=100) for number in range(20)])
    store.write([resource(f"Patient/{number}", size=100) for number in range(20)])
    t = store.snapshot("job")
    before = list(store.partitions(ExportRequest(), t, 500))
    now = ExportRequest(types=("Observation", "Patient"), type_filters=("Observation?_id=1", "Patient?_id=1"))
    observations = [plan for plan in before[1:] if plan.resource_type == "Observation"]
    *rest, patient = store.partitions(now, t, 500, before[0])
    assert rest == observations
    assert patient.bounds["by"] == "ids", "what was not begun takes the shorter way"


def test_a_way_by_time_that_is_none_shorter_is_not_taken(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "ALWAYS", 0)
    store.write([resource(f"Observation/{number}", updated=START - number * DAY) for number in range(40)])
    t = store.snapshot("job")
    for days, by in ((10, "time"), (11, "key"), (100, "key")):
        text = f"Observation?_lastUpdated=gt{format_instant(START - days * DAY)}"
        request = ExportRequest(types=("Observation",), type_filters=(text,))
        (plan,) = store.partitions(request, t, 10**9)
        assert (plan.bounds["by"], plan.bytes > 0) == (by, True)
        assert len(export(store, t, types=("Observation",), type_filters=(text,)).values) == min(days, 40)
    plans = list(store.partitions(request, t, 500))
    store.write([resource(f"Observation/later{number}") for number in range(400)])
    assert list(store.partitions(request, t, 500, plans[0])) == plans[1:], "goes on as it began"


def test_only_what_is_named_is_read(store: SqliteStore) -> None:
    """Ids, patients and `updated` each leave out nearly everything, without looking at it."""
    store.write(
        [
            resource(f"Observation/{n}", subject=of(f"p{n % 50}"), updated=START - n * DAY, size=500)
            for n in range(1_000)
        ]
    )
    t = store.snapshot("job")
    for text, most in (
        ("_id=1,2,3", 3),
        ("patient=Patient/p7", 20),
        (f"_lastUpdated=ge{format_instant(START - 9 * DAY)}", 10),
        (f"_lastUpdated=lt{format_instant(START - 989 * DAY)}", 10),
    ):
        request = ExportRequest(types=("Observation",), type_filters=(f"Observation?{text}",))
        (total,) = store.totals(request, t).values()
        assert total.resources == most
        values = export(store, t, types=("Observation",), type_filters=request.type_filters).values
        assert len(values) == most


@pytest.mark.parametrize("by", ["ids", "about"])
@pytest.mark.parametrize("scope", ["all", "patients", "cohort", "about_patients"])
def test_every_query_finds_its_rows_by_an_index(store: SqliteStore, by: str, scope: str) -> None:
    walk = walks.Walk(by=by, type="Patient", code=1, t=1, after=(0, 0), to=(0, 0), scope=scope, updated=(0, 1))
    for name, text in walk.queries.items():
        plan = store._db.execute(f"explain query plan {text}", walk.parameters((0, 0), (0, 0), 1)).fetchall()
        steps = [step[-1].decode() for step in plan]
        tables = ("version", "shared", "patient", "body", "target", "cohort", "type")
        assert not [step for step in steps if step.startswith(tuple(f"SCAN {table}" for table in tables))], (
            name,
            steps,
        )
        assert not [step for step in steps if "FOR ORDER BY" in step and by == "about"], (name, steps)


PEOPLE = ["a", "b", "c"]
NAME = st.sampled_from(["1", "2", "3", "4"])
DAYS = st.integers(-3, 3)
STAMP = st.one_of(
    st.none(),
    st.builds(lambda days, micros: format_instant(START + days * DAY + micros), DAYS, st.integers(0, 999_999)),
    st.builds(
        lambda days, tail: format_instant(START + days * DAY)[:19] + tail,
        DAYS,
        st.sampled_from([".123456789Z", "+05:30", ".1-11:00", " 01:00", ".0000009Z"]),
    ),
)
REFERENCE = st.builds(
    lambda before, who, behind: f"{before}{who}{behind}",
    st.sampled_from(
        ["Patient/"] * 5 + ["http://h/Patient/", "HTTPS://h/x/Patient/", "Group/", "", "/Patient/", "x/Patient/"]
    ),
    st.sampled_from(PEOPLE),
    st.sampled_from([""] * 5 + ["/_history/1", "/_history/", "/_history/1/2", "?x", "#x"]),
)
REFERENCES = st.lists(
    st.builds(lambda text, kind: {"reference": text, **kind}, REFERENCE, st.sampled_from([{}, {"type": "Patient"}])),
    max_size=3,
)
ITEM = st.one_of(
    st.tuples(NAME, REFERENCES, STAMP),
    st.tuples(NAME, REFERENCES, STAMP),
    st.tuples(NAME),
)
STEP = st.one_of(st.lists(ITEM, min_size=1, max_size=6), st.just("snapshot"), st.just("prune"), st.just("day"))
DATE = st.one_of(
    DAYS.map(lambda days: format_instant(START + days * DAY)[:10]),
    st.builds(lambda days, micros: format_instant(START + days * DAY + micros), DAYS, st.integers(-2, 2)),
)
CRITERION = st.one_of(
    st.lists(NAME, min_size=1, max_size=3).map(lambda ids: "_id=" + ",".join(ids)),
    st.builds(
        lambda prefix, dates: "_lastUpdated=" + ",".join(prefix + date for date in dates),
        st.sampled_from(["", "ge", "gt", "sa", "ap", "eq", "lt", "le", "eb", "ne"]),
        st.lists(DATE, min_size=1, max_size=2),
    ),
    st.builds(
        lambda name, values: f"{name}=" + ",".join(values),
        st.sampled_from(["patient", "subject", "performer", "subject:Patient"]),
        st.lists(
            st.one_of(st.sampled_from(PEOPLE), st.sampled_from(PEOPLE).map("Patient/{}".format)), min_size=1, max_size=2
        ),
    ),
    st.sampled_from(["patient=http://h/Patient/a", "performer=Patient/a,Practitioner/b", "status=final", "_id:not=1"]),
)
FILTERS = st.lists(
    st.lists(CRITERION, min_size=1, max_size=2, unique=True).map(lambda parts: "Observation?" + "&".join(parts)),
    min_size=1,
    max_size=2,
    unique=True,
)
WHO = st.sampled_from(
    [
        {},
        {},
        {"level": "patient"},
        {"level": "patient", "patients": ("a", "b")},
        {"level": "patient", "patients": ("c",)},
    ]
)


def written(item: tuple[Any, ...], number: int) -> Resource | Deletion:
    name, *rest = item
    if not rest:
        return Deletion("Observation", name)
    references, stamp = rest
    body: dict[str, Any] = {"resourceType": "Observation", "id": name, "value": number, "status": "final"}
    if references:
        body |= {"subject": references[0], "performer": references[1:]}
    if stamp:
        body["meta"] = {"lastUpdated": stamp}
    return read_resource(msgspec.json.encode(body))


class Ask(msgspec.Struct):
    filters: list[str]
    who: dict[str, Any]
    whole: list[str]
    narrowed: bool
    until: bool
    early: bool


ASK = st.builds(
    Ask, FILTERS, WHO, st.lists(st.sampled_from(PEOPLE), max_size=1), st.booleans(), st.booleans(), st.booleans()
)


@pytest.mark.parametrize("wide", [0, 10**9], ids=["by patient", "by key"])
@given(
    steps=st.lists(STEP, min_size=1, max_size=6),
    asked=st.lists(ASK, min_size=2, max_size=5),
    always=st.sampled_from([0, 1, 1_000, 1_000]),
)
def test_no_hint_loses_what_the_filters_let_through(wide: int, steps: list[Any], asked: list[Ask], always: int) -> None:
    """The source in memory gives everything to the filters."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(cohorts, "WIDE", wide)
        patched.setattr(walks, "CHUNK", 2)
        patched.setattr(hints, "ALWAYS", always)
        ours, theirs = Ticking(), Ticking()
        memory = MemorySource(clock=theirs)
        with SqliteStore(f"{folder}/s", clock=ours, create=True) as store:
            store._db.execute("pragma synchronous = off")
            for source in (store, memory):
                source.write([resource(f"Patient/{ident}") for ident in PEOPLE])
            moments = [store.snapshot("start")]
            theirs.now = ours.now - 1
            assert memory.snapshot("start") == moments[0]
            for number, step in enumerate([*steps, "snapshot"]):
                theirs.now = ours.now = max(ours.now, theirs.now)
                if step == "snapshot":
                    moments.append(store.snapshot(str(number)))
                    assert memory.snapshot(str(number)) == moments[-1]
                elif step == "prune":
                    store.prune()
                    memory.prune()
                elif step == "day":
                    ours.now = theirs.now = ours.now + DAY // 2
                else:
                    batch = [written(item, 100 * number + place) for place, item in enumerate(step)]
                    assert store.write(batch) == memory.write(batch)
            for ask in asked:
                request = {**ask.who, "types": ("Observation",), "type_filters": ask.filters, "whole": ask.whole}
                if ask.narrowed:
                    request["since"] = moments[0]
                if ask.until:
                    request["until"] = moments[len(moments) // 2] + 1
                t = moments[-2] if ask.early else moments[-1]
                everything = kept(memory, t, request)
                assert kept(store, t, request) == everything, request


def kept(source: Any, t: int, request: dict[str, Any]) -> object:
    try:
        exported = export(source, t, target_bytes=300, max_resources=2, max_bytes=300, **request)
    except SnapshotGone as gone:  # its pin lapsed
        return type(gone)
    passing = matching(exported, request["type_filters"])
    lines = {name: line for name, line in zip(exported.values, exported.lines, strict=True) if name in passing}
    return lines, sorted(exported.deleted)
