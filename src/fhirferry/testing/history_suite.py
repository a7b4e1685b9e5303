"""The conformance suite of what a source shows of superseded versions (`_history`). Used as `source_suite.SourceSuite` is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from fhirferry.model.errors import SnapshotGone, TransientError
from fhirferry.model.instant import DAY, Instant
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.testing.source_suite import Dock, group, of, pages, resource, shares


class Found(msgspec.Struct):
    """What came: `Type/id` and value of each line, in any order; sorted. lines: of both, as bytes."""

    current: list[tuple[str, Any]]
    former: list[tuple[str, Any]]
    deleted: list[str]
    lines: list[bytes]


def asked(**request: Any) -> ExportRequest:
    """A request for superseded versions."""
    return ExportRequest(**{"include_associated_data": ("_history",), **request})


def begin(dock: Dock, job: str, t: Instant, request: ExportRequest, whole: Sequence[str] = ()) -> Instant:
    """What a job does before it is planned; from when on all versions are there."""
    dock.source.renew(job, t)
    assert request.history_after is not None
    kept = dock.source.keep_history(job, request.history_after)
    cohort = dock.source.members(request, t)
    if cohort is not None:
        dock.source.select(job, t, shares(cohort.patients, whole=whole))
    return kept


def plans(dock: Dock, job: str, t: Instant, request: ExportRequest, size: int = 500) -> list[PartitionPlan]:
    """All of round 0, as the ledger keeps them."""
    made = dock.source.partitions(request, t, size, None, job)
    return [msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan) for plan in made]


def read(dock: Dock, job: str, t: Instant, request: ExportRequest, size: int = 500, most: int = 3) -> Found:
    """A whole export, in small pieces."""
    found: dict[Kind, list[Any]] = {kind: [] for kind in Kind}
    lines: list[bytes] = []
    for plan in plans(dock, job, t, request, size):
        for page in pages(dock.source, plan, max_resources=most, max_bytes=600):
            assert page.count == len(page.body.splitlines())
            for line in page.body.splitlines():
                body = msgspec.json.decode(line)
                if plan.kind is Kind.DELETED:
                    found[plan.kind] += [entry["request"]["url"] for entry in body["entry"]]
                else:
                    assert body["resourceType"] == plan.resource_type
                    found[plan.kind].append((f"{body['resourceType']}/{body['id']}", body["value"]))
                    lines.append(line)
    current, former, deleted = (sorted(found[kind], key=str) for kind in (Kind.OUTPUT, Kind.HISTORY, Kind.DELETED))
    return Found(current, former, deleted, sorted(lines))


def history(dock: Dock, t: Instant, *, whole: Sequence[str] = (), **request: Any) -> Found:
    """An export with superseded versions, under a job of its own."""
    wanted = asked(**request)
    job = wanted.hash(f"{t} {whole}")
    begin(dock, job, t, wanted, whole)
    found = read(dock, job, t, wanted)
    assert read(dock, job, t, wanted, size=10**9, most=1000) == found, "however it is cut"
    dock.source.release(job)
    return found


class HistorySuite:
    """Every promise about superseded versions, as a test."""

    def test_every_version_by_t_once_and_no_later_one(self, dock: Dock) -> None:
        for number in range(4):
            dock.put("Patient/a", number)
            dock.put(f"Patient/once{number}", number)
        dock.put("Patient/gone", 0)
        dock.put("Patient/gone", 1)
        dock.delete("Patient/gone")
        dock.put("Patient/back", 0)
        dock.delete("Patient/back")
        dock.put("Patient/back", 1)
        t = dock.source.snapshot("job")
        dock.put("Patient/a", "later")
        dock.delete("Patient/once1")
        found = history(dock, t)
        once = [(f"Patient/once{number}", number) for number in range(4)]
        assert found.current == [("Patient/a", 3), ("Patient/back", 1), *once]
        former = [("Patient/a", 0), ("Patient/a", 1), ("Patient/a", 2), ("Patient/back", 0)]
        assert found.former == [*former, ("Patient/gone", 0), ("Patient/gone", 1)]
        assert found.deleted == []
        assert history(dock, t, include_associated_data=("_history", "_deleted")).deleted == ["Patient/gone"]

    def test_only_when_it_is_asked_for(self, dock: Dock) -> None:
        dock.put("Patient/a", 0)
        dock.put("Patient/a", 1)
        t = dock.source.snapshot("job")
        assert {plan.kind for plan in dock.source.partitions(ExportRequest(), t, 1000)} == {Kind.OUTPUT}
        assert {plan.kind for plan in dock.source.partitions(ExportRequest(since=1), t, 1000)} == {Kind.OUTPUT}

    def test_increments_with_history_bring_every_version_once(self, dock: Dock) -> None:
        """As the current one, or as a superseded one that was current at the T before, or never at any T."""
        written: list[tuple[str, Any]] = []
        seen: list[tuple[str, Any]] = []
        since = None
        for number in range(5):
            for place in range(6):
                name = f"Observation/{(number + place) % 4}"
                written.append((name, [number, place]))
                dock.put(*written[-1])
            dock.delete(f"Observation/{number % 4}")
            t = dock.source.snapshot(f"round {number}")
            found = history(dock, t, since=since)
            assert all(version in seen or version not in found.current for version in found.former)
            seen += found.current + [version for version in found.former if version not in seen]
            since = t
        assert sorted(seen, key=str) == sorted(written, key=str)

    def test_since_counts_when_a_version_ended_and_until_when_it_changed(self, dock: Dock) -> None:
        dock.put("Patient/a", 0)
        first = dock.source.snapshot("one")
        dock.put("Patient/a", 1)
        dock.put("Patient/b", 0)
        second = dock.source.snapshot("two")
        dock.put("Patient/a", 2)
        dock.put("Patient/b", 1)
        t = dock.source.snapshot("three")
        assert history(dock, t, since=first).former == [("Patient/a", 0), ("Patient/a", 1), ("Patient/b", 0)]
        assert history(dock, t, since=second).former == [("Patient/a", 1), ("Patient/b", 0)]
        assert history(dock, t, since=t).former == []
        assert history(dock, t, until=first + 1).former == [("Patient/a", 0)]
        assert history(dock, t, since=first, until=second + 1).former == [
            ("Patient/a", 0), ("Patient/a", 1), ("Patient/b", 0),
        ]  # fmt: skip
        assert history(dock, second).former == [("Patient/a", 0)]

    def test_versions_of_one_instant(self, dock: Dock) -> None:
        """All of a batch end together."""
        for value in range(3):
            dock.clock.now -= 1
            kinds = ("Patient", "Encounter")
            dock.write([resource(f"{kind}/{number}", value) for number in range(20) for kind in kinds])
        t = dock.source.snapshot("job")
        expected = [(f"{kind}/{n}", value) for kind in ("Encounter", "Patient") for n in range(20) for value in (0, 1)]
        assert history(dock, t).former == sorted(expected, key=str)

    def test_types_and_compartments_are_judged_by_the_version_itself(self, dock: Dock) -> None:
        for ident in "abc":
            dock.put(f"Patient/{ident}", 0)
        dock.put("Observation/1", 0, subject=of("a"))
        dock.put("Observation/1", 1, subject=of("b"))
        dock.put("Observation/1", 2, subject=of("c"))
        dock.put("Observation/1", 3)
        dock.put("Observation/2", 0, subject=of("a"), performer=[of("b")])
        dock.put("Observation/2", 1, subject=of("c"))
        dock.put("Practitioner/p", 0)
        dock.put("Practitioner/p", 1)
        t = dock.source.snapshot("job")
        one = [("Observation/1", number) for number in range(3)]
        both = [*one, ("Observation/2", 0)]
        assert history(dock, t).former == [*both, ("Practitioner/p", 0)]
        assert history(dock, t, types=("Practitioner",)).former == [("Practitioner/p", 0)]
        assert history(dock, t, level="patient").former == both
        found = history(dock, t, level="patient", patients=("a", "b"))
        assert found.former == [*one[:2], ("Observation/2", 0)]
        assert ("Observation/2", 1) not in found.current
        assert history(dock, t, level="patient", patients=("c",)).former == [one[2]]

    def test_b29_all_versions_of_who_is_taken_whole(self, dock: Dock) -> None:
        for ident in "ab":
            for value in range(3):
                dock.put(f"Patient/{ident}", value)
        dock.put("Observation/1", 0, subject=of("a"), performer=[of("b")])
        dock.put("Observation/1", 1, subject=of("a"))
        since = dock.source.snapshot("one")
        dock.put("Patient/a", 3)
        dock.put("Patient/b", 3)
        t = dock.source.snapshot("two")
        options: dict[str, Any] = {"level": "patient", "patients": ("a", "b"), "since": since, "new_members": "full"}
        assert history(dock, t, **options).former == [("Patient/a", 2), ("Patient/b", 2)]
        assert history(dock, t, whole=["b"], **options).former == [
            ("Observation/1", 0), ("Patient/a", 2), ("Patient/b", 0), ("Patient/b", 1), ("Patient/b", 2),
        ]  # fmt: skip

    def test_l2_no_earlier_version_of_the_group(self, dock: Dock) -> None:
        """It would tell who was in it."""
        for ident in "ab":
            dock.put(f"Patient/{ident}", 0)
        dock.write([group("g", "Patient/a", "Patient/b", value=0)])
        dock.write([group("g", "Patient/a", value=1)])
        t = dock.source.snapshot("job")
        found = history(dock, t, level="group", group_id="g")
        assert (found.current, found.former) == ([("Group/g", 1), ("Patient/a", 0)], [])
        assert history(dock, t).former == [("Group/g", 0)] == history(dock, t, level="patient").former

    def test_provenance_by_its_own_compartments(self, dock: Dock) -> None:
        dock.put("Patient/a", 0)
        dock.put("Observation/1", 0, subject=of("a"))
        dock.put("Provenance/own", 0, target=[of("a")])
        dock.put("Provenance/own", 1, target=[of("a")])
        dock.put("Provenance/about", 0, target=[{"reference": "Observation/1"}])
        dock.put("Provenance/about", 1, target=[{"reference": "Observation/1"}])
        t = dock.source.snapshot("job")
        for level in ({"level": "patient"}, {"level": "patient", "patients": ("a",)}):
            found = history(dock, t, types=("Provenance",), **level)
            assert found.former == [("Provenance/own", 0)]
            assert found.current == [("Provenance/about", 1), ("Provenance/own", 1)]
        only = ("RelevantProvenanceResources", "_history")
        assert history(dock, t, include_associated_data=only).former == []

    def test_a_job_keeps_them_from_pruning(self, dock: Dock) -> None:
        for value in range(3):
            dock.put("Patient/a", value)
            dock.put("Patient/b", value)
        since = dock.source.snapshot("one")
        dock.source.release("one")
        dock.put("Patient/a", 3)
        dock.put("Patient/a", 4)
        t = dock.source.snapshot("job")
        request = asked(since=since)
        assert begin(dock, "job", t, request) == since
        before = read(dock, "job", t, request)
        assert before.former == [("Patient/a", 2), ("Patient/a", 3)]
        dock.put("Patient/a", 5)
        dock.prune()
        assert read(dock, "job", t, request) == before
        assert dock.source.keep_history("job", since) == since
        dock.source.release("job")
        with pytest.raises(TransientError):
            plans(dock, "job", t, request)
        dock.prune()
        with pytest.raises(SnapshotGone):
            plans(dock, "job", t, request)

    def test_what_was_pruned_before_is_not_there_and_the_job_knows(self, dock: Dock) -> None:
        for value in range(3):
            dock.put("Patient/a", value)
        since = dock.source.snapshot("one")
        dock.put("Patient/a", 3)
        dock.put("Patient/a", 4)
        dock.source.release("one")
        t = dock.source.snapshot("job")
        dock.prune()
        request = asked(since=since)
        kept = begin(dock, "job", t, request)
        assert since < kept <= t
        found = read(dock, "job", t, request)
        assert found.former == []
        dock.put("Patient/a", 5)
        later = dock.source.snapshot("later")
        assert history(dock, later, since=since).former == [("Patient/a", 4)]
        assert begin(dock, "job", t, request) == kept, "taken up again it is the same"

    def test_a_job_that_lost_its_pin_fails_rather_than_bring_less(self, dock: Dock) -> None:
        for value in range(3):
            dock.put("Patient/a", value)
        t = dock.source.snapshot("job")
        request = asked()
        kept = begin(dock, "job", t, request)
        (_, plan) = plans(dock, "job", t, request)
        dock.put("Patient/a", 3)
        dock.clock.now += 2 * DAY
        keeper = dock.source.snapshot("keeper")
        dock.source.release("keeper")
        assert keeper > t
        with pytest.raises(TransientError):
            dock.source.keep_history("nobody", 0)
        dock.source.renew("job", t)
        assert dock.source.keep_history("job", kept) == kept, "nobody pruned meanwhile"
        assert read(dock, "job", t, request).former == [("Patient/a", 0), ("Patient/a", 1)]
        dock.clock.now += 2 * DAY
        dock.source.release("job")
        dock.source.renew("job", t)
        dock.prune()  # up to T, which is pinned
        with pytest.raises(SnapshotGone):
            dock.source.read(plan.bounds, None, 10, 1000)
        assert dock.source.keep_history("job", kept) > kept

    def test_plans_are_fixed_and_resumable(self, dock: Dock) -> None:
        for value in range(4):
            for number in range(12):
                dock.put(f"Observation/{number}", value, subject=of(f"p{number % 3}"), size=100)
                dock.put(f"Condition/{number}", value, subject=of(f"p{number % 3}"), size=100)
        since = dock.source.snapshot("one")
        for number in range(12):
            dock.put(f"Observation/{number}", "new", subject=of(f"p{number % 3}"), size=100)
        dock.delete("Condition/1")
        t = dock.source.snapshot("job")
        for number, request in enumerate(
            (
                asked(),
                asked(since=since),
                asked(level="patient"),
                asked(level="patient", patients=("p0", "p1")),
                asked(level="patient", patients=("p0", "p1"), since=since, new_members="full"),
            )
        ):
            job = f"job {number}"
            dock.source.renew(job, t)
            dock.source.keep_history(job, request.history_after or 0)
            dock.source.select(job, t, shares(("p0", "p1"), whole=["p1"] if request.new_members == "full" else []))
            made = plans(dock, job, t, request)
            assert len({plan.kind for plan in made}) > 1
            dock.put("Observation/3", number, subject=of("p0"))
            dock.delete("Condition/2")
            for place, plan in enumerate(made):
                rest = list(dock.source.partitions(request, t, 500, plan, job))
                again = [msgspec.json.decode(msgspec.json.encode(each), type=PartitionPlan) for each in rest]
                assert again == made[place + 1 :]
