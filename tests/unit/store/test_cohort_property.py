"""Cohorts in the store against a naive evaluation: any history, any T, any request, read either way."""

from __future__ import annotations

import tempfile
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.resource import Deletion, Resource
from fhirferry.model.errors import FerryError
from fhirferry.model.partition import PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.store import cohorts, naming, walks
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import START, Ticking, export, group, of, resource, shares

PEOPLE = ["a", "b", "c", "d"]
PERSON = st.sampled_from(PEOPLE)
SOME = st.lists(PERSON, max_size=3)
NAME = st.sampled_from(["1", "2", "3"])
MEMBER = st.sampled_from([*(f"Patient/{p}" for p in PEOPLE), "Group/1", "Group/2", "Group/9", "Device/a"])
ITEM = st.one_of(
    st.tuples(st.just("Patient"), PERSON, SOME),
    st.tuples(st.sampled_from(["Observation", "Provenance", "Practitioner"]), NAME, SOME),
    st.tuples(st.just("Group"), NAME, st.lists(MEMBER, max_size=4), st.booleans()),
    st.tuples(
        st.sampled_from(["Patient", "Observation", "Provenance", "Group"]), st.sampled_from(["a", "b", "1", "2"])
    ),
)
KIND = st.sampled_from(["Observation", "Provenance", "Practitioner", "Group", "Device"])
STEP = st.one_of(st.lists(ITEM, min_size=1, max_size=8), st.just("snapshot"), st.just("prune"))
WHO = st.one_of(
    st.just({"level": "patient"}),
    st.builds(lambda some: {"level": "patient", "patients": tuple(some)}, st.lists(PERSON, min_size=1)),
    st.builds(lambda name: {"level": "group", "group_id": name}, NAME),
    st.builds(
        lambda name, some: {"level": "group", "group_id": name, "patients": tuple(some)},
        NAME,
        st.lists(PERSON, min_size=1, max_size=2),
    ),
)
WHO_OR_ALL = st.one_of(WHO, st.just({"level": "system"}))
WHAT = st.sampled_from(
    [
        {},
        {"types": ("Observation", "Patient")},
        {"types": ("Group", "Provenance")},
        {"include_associated_data": ("_deleted", "LatestProvenanceResources")},
    ]
)
REFERENCE = st.builds("/".join, st.one_of(st.tuples(st.just("Patient"), PERSON), st.tuples(KIND, NAME)))
NAMED = st.lists(st.dictionaries(REFERENCE, st.booleans(), min_size=3, max_size=12), max_size=2)


class Ask(msgspec.Struct):
    """An export. narrowed: to what changed since an earlier T. early: not of the last T."""

    who: dict[str, Any]
    what: dict[str, Any]
    whole: list[str]
    left: list[str]
    named: list[dict[str, bool]]
    narrowed: bool
    until: bool
    early: bool


ASK = st.builds(
    Ask, WHO_OR_ALL, WHAT, SOME, SOME, NAMED, narrowed=st.booleans(), until=st.booleans(), early=st.booleans()
)


def written(item: tuple[Any, ...], number: int) -> Resource | Deletion:
    """`number` makes each content a new one."""
    kind, ident, *rest = item
    if not rest:
        return Deletion(kind, ident)
    if kind == "Group":
        return group(ident, *rest[0], value=number, **({} if rest[1] else {"active": False}))
    people = [of(person) for person in rest[0]]
    members = {
        "Patient": {"link": [{"other": one} for one in people]},
        "Observation": {"subject": people[0] if people else None, "performer": people[1:]},
        "Provenance": {"target": people},
        "Practitioner": {"subject": people},
    }[kind]
    return resource(f"{kind}/{ident}", number, **members)


def seen(source: MemorySource | SqliteStore, t: int, ask: Ask, request: dict[str, Any]) -> object:
    """All that can be known of an export. The order within a type is the source's own affair."""
    asked = ExportRequest(**request)
    job = asked.hash(f"{t} {ask}")
    sizes = {"target_bytes": 400, "max_resources": 2, "max_bytes": 300}
    try:
        cohort = source.members(asked, t)
        whom = None if cohort is None else list(cohort.patients)
        left = sorted(set(ask.left) - set(whom or ()))
        rounds = [list(round_.items()) for round_ in ask.named]
        found = export(source, t, job=job, whole=ask.whole, left=left, rounds=rounds, **sizes, **request)
        lines = sorted(found.lines)
        totals = source.totals(asked, t, job)
        here = [(name, line) for name, line in zip(found.values, found.lines, strict=True) if not found.rounds[name]]
        if asked.level == "system":  # an estimate where T is not pinned
            totals = {}
        else:
            assert totals.keys() == {name.split("/")[0] for name, _ in here}
            assert sum(total.bytes for total in totals.values()) == sum(len(line) for _, line in here)
        return whom, lines, sorted(found.deleted), len(found.issues), totals, found.rounds
    except FerryError as error:
        return type(error)


@pytest.mark.parametrize("wide", [0, 10**9], ids=["by patient", "by key"])
@given(steps=st.lists(STEP, min_size=2, max_size=8), asked=st.lists(ASK, min_size=2, max_size=4))
def test_the_store_exports_what_a_naive_evaluation_does(wide: int, steps: list[Any], asked: list[Ask]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(cohorts, "WIDE", wide)
        patched.setattr(walks, "PATIENTS", 2)
        patched.setattr(walks, "CHUNK", 3)
        patched.setattr(naming, "AT_ONCE", 4)
        ours, theirs = Ticking(), Ticking()
        memory = MemorySource(clock=theirs)
        with SqliteStore(f"{folder}/s", clock=ours, create=True) as store:
            store._db.execute("pragma synchronous = off")
            moments = [START]
            for number, step in enumerate(steps):
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
            moments.append(store.snapshot("end"))
            theirs.now = ours.now - 1
            assert moments[-1] == memory.snapshot("end")
            for ask in asked:
                t = moments[-2] if ask.early else moments[-1]
                request = {**ask.who, **ask.what}
                if ask.narrowed:
                    request["since"] = moments[0] if ask.early or len(moments) < 3 else moments[-2]
                    if ask.left and ExportRequest(**request).has_cohort:
                        request["left_members"] = "delete"
                if ask.until:
                    request["until"] = moments[len(moments) // 2] + 1
                if request.get("until", t) > request.get("since", 0):
                    assert seen(store, t, ask, request) == seen(memory, t, ask, request), request


def test_a_plan_goes_on_as_it_began_when_the_cohort_is_judged_otherwise(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Selected anew after its pin lapsed, with more patients in the store, a wide cohort may be none any more."""
    people = [f"p{number}" for number in range(9)]
    for ident in people:
        store.write(
            [resource(f"Patient/{ident}"), *(resource(f"Observation/{ident}{n}", subject=of(ident)) for n in "ab")]
        )
    since = store.snapshot("before")
    store.write([resource(f"Observation/{ident}a", "new", subject=of(ident)) for ident in people])
    store.write([Deletion("Observation", f"{ident}b") for ident in people])
    t = store.snapshot("job")
    for request in (
        ExportRequest(level="patient", patients=tuple(people[2:8])),
        ExportRequest(level="patient", patients=tuple(people[2:8]), since=since),
    ):
        for first, then in ((0, 10**9), (10**9, 0)):
            monkeypatch.setattr(cohorts, "WIDE", first)
            store.release("job")
            store.renew("job", t)
            store.select("job", t, shares(people[2:8], whole=["p3"]))
            plans: list[PartitionPlan] = list(store.partitions(request, t, 100, None, "job"))
            monkeypatch.setattr(cohorts, "WIDE", then)
            store.release("job")
            store.renew("job", t)
            store.select("job", t, shares(people[2:8], whole=["p3"]))
            for number, plan in enumerate(plans):
                assert list(store.partitions(request, t, 100, plan, "job")) == plans[number + 1 :]
