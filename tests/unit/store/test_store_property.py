"""The store against its rules in plain Python: any history, any T, any increment."""

from __future__ import annotations

import tempfile

from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.resource import Deletion
from fhirferry.model.errors import SnapshotGone
from fhirferry.model.instant import DAY
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import START, Exported, Ticking, export, resource

NAMES = st.sampled_from(["Patient/a", "Patient/b", "Patient/c", "Observation/a", "Observation/b"])
GIVEN = st.one_of(st.none(), st.integers(-6, 6), st.sampled_from([-DAY, DAY]))
ITEM = st.one_of(st.tuples(NAMES, st.integers(0, 3), GIVEN), st.tuples(NAMES))
STEP = st.one_of(
    st.tuples(st.just("write"), st.lists(ITEM, min_size=1, max_size=6), st.booleans()),
    st.tuples(st.just("clock"), st.one_of(st.integers(-8, 8), st.sampled_from([-DAY, DAY + 1]))),
    st.tuples(st.sampled_from(["snapshot", "release", "renew"]), st.integers(0, 3)),
    st.tuples(st.just("prune"), st.one_of(st.none(), st.integers(-10, 10))),
)


def seen(source: MemorySource | SqliteStore, t: int, since: int | None, until: int | None) -> object:
    """All that can be known of T: content in order, deletions, totals."""
    try:
        found = export(source, t, since=since, until=until, target_bytes=300, max_resources=2, max_bytes=250)
    except SnapshotGone:
        return "gone"
    assert isinstance(found, Exported)
    return found.lines, found.deleted, found.issues


@given(steps=st.lists(STEP, min_size=3, max_size=14))
def test_the_store_does_what_its_rules_say(steps: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Ticking(), Ticking()
        memory = MemorySource(clock=theirs)
        with SqliteStore(f"{folder}/s", clock=ours, create=True) as store:
            store._db.execute("pragma synchronous = off")
            moments: list[int] = [START]
            for step in steps:
                theirs.now = ours.now = max(ours.now, theirs.now)
                match step:
                    case ("write", items, force):
                        batch = [
                            Deletion(*item[0].split("/"))
                            if len(item) == 1
                            else resource(
                                item[0], item[1], updated=None if item[2] is None else max(0, ours.now + item[2])
                            )
                            for item in items
                        ]
                        assert store.write(batch, force=force) == memory.write(batch, force=force)
                    case ("clock", by):
                        ours.now += by
                        theirs.now = ours.now
                    case ("snapshot", job):
                        t = store.snapshot(str(job))
                        assert t == memory.snapshot(str(job))
                        moments.append(t)
                    case ("release", job):
                        store.release(str(job))
                        memory.release(str(job))
                    case ("renew", job):
                        results = []
                        for source in (store, memory):
                            try:
                                source.renew(str(job), moments[-1])
                                results.append(True)
                            except SnapshotGone:
                                results.append(False)
                        assert results[0] == results[1]
                    case ("prune", by):
                        before = None if by is None else moments[-1] + by
                        store.prune(before)
                        memory.prune(before)
            t = store.snapshot("end")
            theirs.now = ours.now - 1
            assert t == memory.snapshot("end")
            for name in ("Patient/a", "Observation/b"):
                assert store.get(*name.split("/")) == memory.get(*name.split("/"))
            assert store.totals(ExportRequest(), t) == memory.totals(ExportRequest(), t)
            for moment in {*moments[-3:], t}:
                assert seen(store, moment, None, None) == seen(memory, moment, None, None)
                for other in {*moments[-3:]}:
                    if other < moment:
                        assert seen(store, moment, other, None) == seen(memory, moment, other, None)
                        assert seen(store, t, other, moment) == seen(memory, t, other, moment)
                        totals = [source.totals(ExportRequest(since=other), moment) for source in (store, memory)]
                        assert totals[0] == totals[1] or seen(memory, moment, other, None) == "gone"
