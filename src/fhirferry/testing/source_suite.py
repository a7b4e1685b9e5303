"""The conformance suite of `sources.protocol.Source`: what an engine may rely on, whatever it reads from.

Use: subclass `SourceSuite` in a test module and give it a fixture `dock` that returns a fresh, empty `Dock`:

    class TestMine(SourceSuite, CohortSuite):
        @pytest.fixture
        def dock(self, tmp_path): ...

What a source does for exports of patients and groups is in `cohort_suite.CohortSuite`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from fhirferry.fhir.resource import Deletion, Resource, read_resource
from fhirferry.model.cohort import Share
from fhirferry.model.errors import SnapshotGone
from fhirferry.model.instant import DAY, SECOND, Instant, format_instant
from fhirferry.model.partition import Issue, Kind, Page, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source

START = 1_800_000_000 * SECOND


class Ticking:
    """A clock that a test owns: every look at it moves it on by a microsecond."""

    def __init__(self) -> None:
        self.now: Instant = START

    def __call__(self) -> Instant:
        self.now += 1
        return self.now


class Dock(msgspec.Struct, frozen=True):
    """A source under test, and the ways to change what it holds.

    write: applies resources and deletions in order, committed on return. prune: forgets what no pinned T needs.
    reopen: the same data through a new object, as after a crash.
    """

    source: Source
    clock: Ticking
    write: Callable[[list[Resource | Deletion]], object]
    prune: Callable[[], object]
    reopen: Callable[[], Source]

    def put(
        self, name: str, value: object = 0, *, updated: Instant | None = None, size: int = 0, **members: Any
    ) -> None:
        """Write a resource called `Type/id`."""
        self.write([resource(name, value, updated=updated, size=size, **members)])

    def delete(self, name: str) -> None:
        self.write([Deletion(*name.split("/"))])


def resource(
    name: str, value: object = 0, *, updated: Instant | None = None, size: int = 0, **members: Any
) -> Resource:
    """A small resource called `Type/id`, with these members; `size` pads it to about that many bytes."""
    kind, ident = name.split("/")
    body: dict[str, Any] = {"resourceType": kind, "id": ident}
    if updated is not None:
        body["meta"] = {"versionId": "7", "lastUpdated": format_instant(updated)}
    return read_resource(msgspec.json.encode({**body, **members, "value": value, "pad": "x" * size}))


def of(patient: str) -> dict[str, str]:
    """A reference to `Patient/<patient>`."""
    return {"reference": f"Patient/{patient}"}


def group(name: str, *members: str, value: object = 0, **root: Any) -> Resource:
    """A Group with active members, each a reference."""
    return resource(f"Group/{name}", value, member=[{"entity": {"reference": one}} for one in members], **root)


def pages(
    source: Source, plan: PartitionPlan, *, max_resources: int = 1000, max_bytes: int = 4_000_000
) -> Iterator[Page]:
    """All pages of a partition."""
    continuation = None
    while True:
        page = source.read(plan.bounds, continuation, max_resources, max_bytes)
        yield page
        continuation = page.continuation
        if continuation is None:
            return


class Exported(msgspec.Struct):
    """What an export brought: values of resources, and names of deleted ones, in the order they came. rounds: in which
    round what came."""

    values: dict[str, Any] = {}
    deleted: list[str] = []
    issues: list[Issue] = []
    lines: list[bytes] = []
    rounds: dict[str, int] = {}


def shares(
    members: Iterable[str], *, whole: Container[str] = (), left: Iterable[str] = ()
) -> Iterator[tuple[str, Share]]:
    """A cohort as `select` is given it."""
    for ident in members:
        yield ident, Share.WHOLE if ident in whole else Share.SINCE
    for ident in left:
        yield ident, Share.LEFT


def export(
    source: Source,
    t: Instant,
    *,
    target_bytes: int = 2_000,
    max_resources: int = 7,
    max_bytes: int = 1_000,
    job: str = "",
    whole: Sequence[str] = (),
    left: Sequence[str] = (),
    rounds: Sequence[Iterable[str | tuple[str, bool]]] = (),
    **request: Any,
) -> Exported:
    """Run a whole export with small partitions and pages; checks on the way what every page promises (S18). job: whose
    cohort is made for it, where it has one, with these patients whole, and these who left. rounds: what each of the
    rounds is given to name, wanted where nothing else is said."""
    result = Exported()
    asked = ExportRequest(**request)
    given = [[(one, True) if isinstance(one, str) else one for one in round_] for round_ in rounds]
    job = job or asked.hash(f"{t} {sorted(whole)} {sorted(left)} {given}")
    cohort = source.members(asked, t)
    if cohort is not None:
        result.issues += cohort.issues
        source.select(job, t, shares(cohort.patients, whole=whole, left=left))
    for number in range(len(given) + 1):
        if number:
            source.name(asked, t, job, number, given[number - 1])
        for plan in source.partitions(asked, t, target_bytes, None, job, number):
            assert plan.round == number
            plan = msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan)  # as the ledger keeps it
            for page in pages(source, plan, max_resources=max_resources, max_bytes=max_bytes):
                result.issues += page.issues
                for name in _taken(result, plan, page):
                    assert name not in result.rounds, "once, and only once, there or deleted (B83)"
                    result.rounds[name] = number
    return result


def _taken(result: Exported, plan: PartitionPlan, page: Page) -> Iterator[str]:
    """Add a page to the result; the names of what is in it."""
    lines = page.body.splitlines(keepends=True)
    assert page.count == len(lines)
    assert all(line.endswith(b"}\n") and len(line) > 2 for line in lines)
    for line in lines:
        body = msgspec.json.decode(line)
        if plan.kind is Kind.DELETED:
            assert (body["resourceType"], body["type"]) == ("Bundle", "transaction")
            assert all(entry["request"]["method"] == "DELETE" for entry in body["entry"])
            names = [entry["request"]["url"] for entry in body["entry"]]
            assert all(name.startswith(f"{plan.resource_type}/") for name in names)
            result.deleted += names
            yield from names
        else:
            name = f"{body['resourceType']}/{body['id']}"
            assert body["resourceType"] == plan.resource_type
            result.values[name] = body["value"]
            result.lines.append(line)
            yield name


class SourceSuite:
    """Every promise of the protocol, as a test."""

    def test_s46_a_snapshot_shows_all_before_it_and_nothing_after(self, dock: Dock) -> None:
        dock.put("Patient/a")
        dock.put("Patient/b")
        t = dock.source.snapshot("job")
        dock.put("Patient/b", "later")
        dock.put("Patient/c")
        dock.delete("Patient/a")
        assert export(dock.source, t).values == {"Patient/a": 0, "Patient/b": 0}

    def test_s46_also_through_a_new_object(self, dock: Dock) -> None:
        dock.put("Patient/a")
        t = dock.source.snapshot("job")
        dock.put("Patient/a", "later")
        again = dock.reopen()
        assert again.snapshot("job") == t
        assert export(again, t).values == {"Patient/a": 0}
        again.close()

    def test_snapshot_is_idempotent_and_t_grows_strictly(self, dock: Dock) -> None:
        first = dock.source.snapshot("one")
        assert dock.source.snapshot("one") == first
        frozen = dock.clock.now
        later = [first]
        for number in range(5):
            dock.clock.now = frozen - 1
            later.append(dock.source.snapshot(f"job {number}"))
        assert later == sorted(set(later))

    def test_the_clock_goes_back_and_nothing_is_lost_or_doubled(self, dock: Dock) -> None:
        dock.put("Patient/a", "early")
        first = dock.source.snapshot("one")
        dock.clock.now = START - DAY
        dock.put("Patient/a", "late")
        dock.put("Patient/b", "late")
        second = dock.source.snapshot("two")
        assert second > first
        assert export(dock.source, first).values == {"Patient/a": "early"}
        assert export(dock.source, second).values == {"Patient/a": "late", "Patient/b": "late"}
        assert export(dock.source, second, since=first).values == {"Patient/a": "late", "Patient/b": "late"}

    def test_s47_exports_chain_without_gap_or_overlap(self, dock: Dock) -> None:
        replayed: dict[str, Any] = {}
        since = None
        for round_ in range(6):
            for number in range(4):
                dock.put(f"Patient/{(round_ + number) % 5}", f"{round_} {number}")
                dock.put(f"Observation/{round_}-{number}", number)
            dock.delete(f"Patient/{round_ % 5}")
            dock.delete(f"Observation/{round_ - 1}-1")
            t = dock.source.snapshot(f"round {round_}")
            increment = export(dock.source, t, since=since)
            assert not set(increment.values) & set(increment.deleted)
            replayed.update(increment.values)
            for name in increment.deleted:
                replayed.pop(name, None)
            assert replayed == export(dock.source, t).values
            since = t
        assert export(dock.source, dock.source.snapshot("again"), since=since) == Exported()

    def test_s47_since_is_exclusive_and_until_too(self, dock: Dock) -> None:
        moments = [START - DAY + n for n in range(4)]
        for number, moment in enumerate(moments):
            dock.put(f"Patient/{number}", number, updated=moment)
        t = dock.source.snapshot("job")
        assert set(export(dock.source, t, since=moments[1]).values) == {"Patient/2", "Patient/3"}
        assert set(export(dock.source, t, until=moments[2]).values) == {"Patient/0", "Patient/1"}
        assert set(export(dock.source, t, since=moments[0], until=moments[3]).values) == {"Patient/1", "Patient/2"}

    def test_s47_an_increment_whose_times_run_against_the_order_of_writing(self, dock: Dock) -> None:
        for number in range(20):
            dock.put(f"Patient/{number}", number, updated=START - DAY - number // 3)
        t = dock.source.snapshot("job")
        found = export(dock.source, t, since=START - DAY - 5, max_resources=2, target_bytes=600)
        assert set(found.values) == {f"Patient/{number}" for number in range(15)}

    def test_l16_microseconds_are_exact_at_both_ends(self, dock: Dock) -> None:
        moments = [START - 10 + n for n in range(5)]
        for number, moment in enumerate(moments):
            dock.put(f"Patient/{number}", number, updated=moment)
        t = dock.source.snapshot("job")
        cuts = [None, moments[1], moments[3], None]
        found = [
            set(export(dock.source, t, since=low, until=None if high is None else high + 1).values)
            for low, high in pairwise(cuts)
        ]
        assert found == [{"Patient/0", "Patient/1"}, {"Patient/2", "Patient/3"}, {"Patient/4"}]

    def test_what_is_loaded_late_with_an_old_lastupdated_is_in_the_next_increment(self, dock: Dock) -> None:
        first = dock.source.snapshot("one")
        dock.put("Patient/a", updated=START - 365 * DAY)
        dock.put("Patient/b", updated=START + 365 * DAY)
        second = dock.source.snapshot("two")
        assert set(export(dock.source, second, since=first).values) == {"Patient/a", "Patient/b"}

    def test_b81_b82_an_increment_brings_deletions(self, dock: Dock) -> None:
        for number in range(30):
            dock.put(f"Patient/{number}")
        since = dock.source.snapshot("one")
        for number in range(20):
            dock.delete(f"Patient/{number}")
        dock.put("Observation/short")
        dock.delete("Observation/short")
        t = dock.source.snapshot("two")
        dock.delete("Patient/25")
        increment = export(dock.source, t, since=since, target_bytes=500)
        expected = {f"Patient/{number}" for number in range(20)} | {"Observation/short"}
        assert set(increment.deleted) == expected
        assert len(increment.deleted) == len(expected)
        assert export(dock.source, t).deleted == []

    def test_b83_what_came_back_is_not_deleted(self, dock: Dock) -> None:
        dock.put("Patient/a")
        since = dock.source.snapshot("one")
        dock.delete("Patient/a")
        dock.put("Patient/a", "back")
        t = dock.source.snapshot("two")
        found = export(dock.source, t, since=since)
        assert (found.values, found.deleted) == ({"Patient/a": "back"}, [])

    def test_until_holds_for_deletions_too(self, dock: Dock) -> None:
        dock.put("Patient/a")
        dock.put("Patient/b")
        since = dock.source.snapshot("one")
        dock.delete("Patient/a")
        middle = dock.source.snapshot("two")
        dock.delete("Patient/b")
        t = dock.source.snapshot("three")
        assert export(dock.source, t, since=since, until=middle + 1).deleted == ["Patient/a"]

    def test_s48_s50_pages_follow_one_another_to_none(self, dock: Dock) -> None:
        for number in range(25):
            dock.put(f"Patient/{number}")
        t = dock.source.snapshot("job")
        (plan,) = dock.source.partitions(ExportRequest(), t, 10**9)
        read = list(pages(dock.source, plan, max_resources=10))
        assert [page.count for page in read] == [10, 10, 5]
        assert [page.continuation is None for page in read] == [False, False, True]
        assert list(pages(dock.source, plan, max_resources=10)) == read, "the same arguments give the same page"
        assert [page.count for page in pages(dock.source, plan, max_resources=25)] == [25]

    def test_l7_pages_are_bounded_by_bytes(self, dock: Dock) -> None:
        sizes = [100, 3_000, 100, 100, 50_000, 100, 2_000, 2_000]
        for number, size in enumerate(sizes):
            dock.put(f"Patient/{number}", number, size=size)
        t = dock.source.snapshot("job")
        (plan,) = dock.source.partitions(ExportRequest(), t, 10**9)
        read = list(pages(dock.source, plan, max_bytes=4_000))
        assert all(len(page.body) <= 4_000 or page.count == 1 for page in read)
        assert sum(page.count for page in read) == len(sizes)
        assert max(len(page.body) for page in read) > 50_000

    def test_l7_a_resource_of_25_mb_is_a_page_of_its_own(self, dock: Dock) -> None:
        dock.put("Binary/1")
        dock.put("Binary/2", size=25_000_000)
        dock.put("Binary/3")
        t = dock.source.snapshot("job")
        (plan,) = dock.source.partitions(ExportRequest(), t, 10**9)
        read = [(page.count, len(page.body) > 25_000_000) for page in pages(dock.source, plan) if page.count]
        assert read == [(1, False), (1, True), (1, False)]

    def test_l27_only_types_with_data(self, dock: Dock) -> None:
        dock.put("Patient/a")
        dock.put("Observation/a")
        dock.delete("Observation/a")
        t = dock.source.snapshot("job")
        dock.put("Encounter/later")
        request = ExportRequest(types=("Account", "Encounter", "Observation", "Patient"))
        assert {plan.resource_type for plan in dock.source.partitions(request, t, 1000)} == {"Patient"}
        assert set(dock.source.totals(request, t)) == {"Patient"}
        assert export(dock.source, t, types=("Account",)) == Exported()

    def test_totals_are_what_the_export_brings(self, dock: Dock) -> None:
        for number in range(12):
            dock.put(f"Patient/{number}", "äöü€", size=number * 10)
            dock.put(f"Observation/{number}")
        since = dock.source.snapshot("one")
        dock.put("Patient/3", "new")
        dock.delete("Observation/1")
        t = dock.source.snapshot("two")
        dock.put("Patient/4", "later")
        dock.delete("Observation/2")
        for request in ({}, {"types": ("Patient",)}, {"since": since}, {"until": since + 1}):
            lines = export(dock.source, t, **request).lines
            totals = dock.source.totals(ExportRequest(**request), t)
            assert sum(total.resources for total in totals.values()) == len(lines)
            assert sum(total.bytes for total in totals.values()) == sum(map(len, lines))

    @pytest.mark.parametrize("narrowed", [False, True], ids=["whole", "increment"])
    def test_partitions_are_lazy_even_fixed_and_resumable(self, dock: Dock, narrowed: bool) -> None:
        since = dock.source.snapshot("before") if narrowed else None
        for number in range(60):
            dock.put(f"Patient/{number}", size=100)
            dock.put(f"Observation/{number}", size=100)
        for number in range(0, 60, 2):
            dock.delete(f"Observation/{number}")
        t = dock.source.snapshot("job")
        request = ExportRequest(since=since)
        plans = list(dock.source.partitions(request, t, 2_000))
        assert len(plans) > 8
        dock.put("Patient/3", "later")
        dock.put("Account/later")
        dock.prune()
        assert list(dock.source.partitions(request, t, 2_000)) == plans
        for number, plan in enumerate(plans):
            assert list(dock.source.partitions(request, t, 2_000, after=plan)) == plans[number + 1 :]
        for plan in plans:
            if plan.kind is Kind.OUTPUT:
                assert sum(len(page.body) for page in pages(dock.source, plan)) < 2_300
        begun = dock.source.partitions(request, t, 2_000)
        next(begun)
        dock.put("Patient/written-while-planning")  # a generator at rest holds no lock
        assert list(begun) == plans[1:]

    def test_a_pinned_t_survives_pruning(self, dock: Dock) -> None:
        dock.put("Patient/a", 1)
        dock.put("Patient/b", 1)
        t = dock.source.snapshot("job")
        dock.put("Patient/a", 2)
        dock.delete("Patient/b")
        dock.prune()
        assert export(dock.source, t).values == {"Patient/a": 1, "Patient/b": 1}
        dock.source.release("job")
        dock.source.release("job")
        dock.prune()
        with pytest.raises(SnapshotGone):
            list(dock.source.partitions(ExportRequest(), t, 1000))
        with pytest.raises(SnapshotGone):
            dock.source.renew("job", t)
        after = dock.source.snapshot("next")
        assert export(dock.source, after).values == {"Patient/a": 2}

    def test_a_page_fails_rather_than_bring_less(self, dock: Dock) -> None:
        for number in range(20):
            dock.put(f"Patient/{number}")
        t = dock.source.snapshot("job")
        (plan,) = dock.source.partitions(ExportRequest(), t, 10**9)
        first = dock.source.read(plan.bounds, None, 5, 10**6)
        dock.put("Patient/10", "later")
        dock.source.release("job")
        dock.prune()
        with pytest.raises(SnapshotGone):
            dock.source.read(plan.bounds, first.continuation, 5, 10**6)

    def test_a_pin_lapses_after_a_day_unless_renewed(self, dock: Dock) -> None:
        dock.put("Patient/a", 1)
        kept, lapsed = dock.source.snapshot("kept"), dock.source.snapshot("lapsed")
        assert kept < lapsed
        dock.clock.now += DAY - SECOND
        dock.source.renew("kept", kept)
        dock.put("Patient/a", 2)
        dock.clock.now += 2 * SECOND
        dock.prune()
        assert export(dock.source, kept).values == {"Patient/a": 1}
        dock.clock.now += DAY
        dock.prune()
        with pytest.raises(SnapshotGone):
            export(dock.source, kept)

    def test_renew_pins_again_after_release(self, dock: Dock) -> None:
        dock.put("Patient/a", 1)
        t = dock.source.snapshot("job")
        dock.put("Patient/a", 2)
        dock.source.release("job")
        dock.source.renew("job", t)
        dock.prune()
        assert export(dock.source, t).values == {"Patient/a": 1}
        assert dock.source.snapshot("job") == t

    def test_a_t_that_was_never_handed_out_here_cannot_be_pinned(self, dock: Dock) -> None:
        """A store restored from a copy older than the job: what it writes next may come before the job's T."""
        dock.put("Patient/a", 1)
        t = dock.source.snapshot("job")
        with pytest.raises(SnapshotGone):
            dock.source.renew("other", t + 1)
        dock.clock.now += 2
        dock.source.snapshot("later")
        dock.source.renew("other", t + 1)  # now nothing can come before it any more

    def test_current_deletions_survive_pruning(self, dock: Dock) -> None:
        dock.put("Patient/a")
        since = dock.source.snapshot("one")
        dock.source.release("one")
        dock.delete("Patient/a")
        dock.prune()
        assert export(dock.source, dock.source.snapshot("two"), since=since).deleted == ["Patient/a"]

    def test_many_superseded_versions_do_not_hide_one(self, dock: Dock) -> None:
        dock.put("Patient/first")
        for number in range(50):
            dock.put("Patient/busy", number)
        dock.put("Patient/last")
        t = dock.source.snapshot("job")
        assert export(dock.source, t).values == {"Patient/first": 0, "Patient/busy": 49, "Patient/last": 0}

    def test_bytes_in_bytes_out(self, dock: Dock) -> None:
        body = b'{"id":"a","resourceType":"Observation","value":1.50,"big":1e400,"text":"\\u00e9 \xc3\xa9 \\/"'
        given = body + b',"meta":{"lastUpdated":"2020-02-03T04:05:06+01:00"}}'
        dock.write([read_resource(given)])
        t = dock.source.snapshot("job")
        (plan,) = dock.source.partitions(ExportRequest(), t, 10**9)
        assert [page.body for page in pages(dock.source, plan)] == [given + b"\n"]

    def test_the_same_export_through_any_page_size(self, dock: Dock) -> None:
        for number in range(40):
            dock.put(f"Patient/{number}", size=number * 7 % 50)
        t = dock.source.snapshot("job")
        digests = {
            hashlib.sha256(
                b"".join(export(dock.source, t, target_bytes=target, max_resources=most, max_bytes=most_bytes).lines)
            ).digest()
            for target, most, most_bytes in [(1, 1, 1), (900, 3, 500), (10**9, 1000, 10**9), (2_000, 7, 10**9)]
        }
        assert len(digests) == 1

    def test_close_is_idempotent(self, dock: Dock) -> None:
        dock.source.snapshot("job")
        dock.source.close()
        dock.source.close()
