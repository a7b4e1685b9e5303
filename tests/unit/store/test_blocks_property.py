"""Organised output of the store against a naive evaluation: any history, any T, any cohort, in pages of any size."""

from __future__ import annotations

import tempfile
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.model.errors import FerryError
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.store import blocks, walks
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.organised_suite import organised
from fhirferry.testing.source_suite import START, Ticking, shares
from tests.unit.store.test_cohort_property import SOME, STEP, WHO, written

WHAT = st.sampled_from([{}, {"types": ("Observation", "Patient")}, {"types": ("Group", "Provenance")}])
PAGE = st.sampled_from([(1, 1), (2, 300), (3, 10**6), (1000, 10**6)])


def seen(source: Any, t: int, request: ExportRequest, job: str, whole: list[str], page: tuple[int, int]) -> object:
    """Whose, which first where that is the Patient, and which; or why not. The order of the others is the source's affair."""
    try:
        cohort = source.members(request, t)
        if cohort is not None:
            source.select(job, t, shares(cohort.patients, whole=whole))
        found = organised(
            SimpleNamespace(source=source),  # type: ignore[arg-type]
            t, request, job=job, most=page[0], max_bytes=page[1], target=600,
        )  # fmt: skip
    except FerryError as error:
        return type(error)
    totals = source.totals(request, t, job)
    assert sum(total.resources for total in totals.values()) == sum(map(len, found.values()))
    for ident, names in found.items():
        assert len(names) == len(set(names))
        assert f"Patient/{ident}" not in names[1:]
    return {ident: sorted(names) for ident, names in found.items()}


@given(
    steps=st.lists(STEP, min_size=2, max_size=8),
    asked=st.lists(st.tuples(WHO, WHAT, SOME, st.booleans(), st.booleans(), PAGE), min_size=2, max_size=4),
)
def test_the_stores_blocks_are_those_of_a_naive_evaluation(steps: list[Any], asked: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(walks, "PATIENTS", 2)
        patched.setattr(blocks, "CHUNK", 3)
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
            for number, (who, what, whole, narrowed, early, page) in enumerate(asked):
                t = moments[-2] if early else moments[-1]
                request = ExportRequest(
                    **who, **what, organize_output_by="Patient", since=moments[len(moments) // 2] if narrowed else None
                )
                given_ = (t, request, f"job{number}", whole, page)
                assert seen(store, *given_) == seen(memory, *given_), request
