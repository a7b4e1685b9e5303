"""The conformance suite of organised output: patient by patient, in whole blocks (B51, B78-B80). Used as
`source_suite.SourceSuite` is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from fhirferry.model.instant import Instant
from fhirferry.model.partition import BLOCKS, Kind, Page, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.testing.cohort_suite import ALL, fill, kinds
from fhirferry.testing.source_suite import Dock, export, group, of, pages, shares

Blocks = dict[str, list[str]]
"""`Type/id` of the resources of each patient, in their order."""


def asked(**options: Any) -> ExportRequest:
    """A request for organised output, of all patients unless it says otherwise."""
    return ExportRequest(**{"level": "patient", "organize_output_by": "Patient", **options})


def lines_of(page: Page) -> Iterator[tuple[str, str, int]]:
    """Whose, `Type/id` and size of each line; checks that the blocks are what is there."""
    lines = page.body.splitlines(keepends=True)
    assert (page.count, sum(block.bytes for block in page.blocks)) == (len(lines), len(page.body))
    assert page.count == sum(block.lines for block in page.blocks)
    owners = [block.patient for block in page.blocks]
    assert len(owners) == len(set(owners))
    for block in page.blocks:
        own, lines = lines[: block.lines], lines[block.lines :]
        assert sum(map(len, own)) == block.bytes > 0
        for line in own:
            body = msgspec.json.decode(line)
            yield block.patient, f"{body['resourceType']}/{body['id']}", len(line)


def organised(
    dock: Dock,
    t: Instant,
    request: ExportRequest,
    *,
    job: str = "job",
    most: int = 1000,
    max_bytes: int = 4_000_000,
    target: int = 10**9,
) -> Blocks:
    """All blocks. Checks that none is in two partitions, and what a page promises of its end."""
    result: Blocks = {}
    for plan in dock.source.partitions(request, t, target, None, job):
        if plan.kind is Kind.DELETED:
            continue
        assert plan.resource_type == BLOCKS
        plan = msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan)
        here: Blocks = {}
        open_: str | None = None  # whose block goes on
        left: int | None = None  # and how much of it is to come, where that was told
        for page in pages(dock.source, plan, max_resources=most, max_bytes=max_bytes):
            assert page.count <= most
            assert page.count < 2 or len(page.body) <= max_bytes
            assert not page.rest or len(page.blocks) < 2, "a page that breaks off holds a part of one block"
            for owner, lines in groupby(lines_of(page), itemgetter(0)):
                some = list(lines)
                assert owner == open_ or owner not in here, "a block in two pieces"
                size = sum(size for _, _, size in some)
                left = page.rest if owner not in here else left and left - size
                here.setdefault(owner, []).extend(name for _, name, _ in some)
                open_ = owner
            if not page.rest:
                assert not left, "what was said to come has come"
                open_ = None if page.blocks else open_
        assert result.keys().isdisjoint(here), "a block in two partitions"
        result.update(here)
    return result


def alone(dock: Dock, t: Instant, patient: str, **options: Any) -> set[str]:
    """What an export of this patient holds."""
    return set(export(dock.source, t, level="patient", patients=(patient,), **options).values)


class OrganisedSuite:
    """What `Source` promises of requests with `organize_output_by`, as tests."""

    @pytest.mark.parametrize(("most", "max_bytes", "target"), [(1000, 4_000_000, 10**9), (1, 1, 1), (3, 400, 700)])
    def test_b80_each_patients_compartment_with_the_patient_first(
        self, dock: Dock, most: int, max_bytes: int, target: int
    ) -> None:
        people = [f"p{number}" for number in range(6)]
        for ident in people:
            dock.put(f"Observation/{ident}", subject=of(ident))
        dock.put("Patient/link", link=[{"other": of("p2"), "type": "seealso"}, {"other": of("p3"), "type": "refer"}])
        fill(dock, *people)
        for number in range(20):
            pair = people[number % 6], people[number * 3 % 6], people[number // 4]
            dock.put(f"Provenance/{number}", target=[of(one) for one in pair])
        dock.put("Observation/orphan", subject=of("nobody"))
        dock.put("Practitioner/p")
        t = dock.source.snapshot("job")
        dock.put("Observation/later", subject=of("p1"))
        found = organised(dock, t, asked(), most=most, max_bytes=max_bytes, target=target)
        assert found.keys() == {*people, "link", "nobody"}
        for ident in (*people, "link"):
            names = found[ident]
            assert names[0] == f"Patient/{ident}"
            assert len(names) == len(set(names)), "each once in a block"
            assert set(names) == alone(dock, t, ident)
        assert found["nobody"] == ["Observation/orphan"], "although that Patient is not there"
        assert "Patient/link" in found["p2"], "in several compartments: in several blocks"

    def test_b39_of_a_cohort_only_its_members_and_nothing_is_repeated_for_others(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.put("Observation/ab", subject=of("a"), performer=[of("b")])
        dock.write([group("g", "Patient/a", "Patient/c")])
        t = dock.source.snapshot("job")
        dock.source.select("job", t, shares("ac"))
        expected = {"a": kinds(ALL, "a") | {"Observation/ab"}, "c": kinds(ALL, "c")}
        for request in (asked(patients=("a", "c")), asked(level="group", group_id="g")):
            found = organised(dock, t, request)
            assert {ident: set(names) for ident, names in found.items()} == expected, "and no Group"

    def test_l1_of_nobody_nothing(self, dock: Dock) -> None:
        fill(dock, "a")
        dock.write([group("g")])
        t = dock.source.snapshot("job")
        dock.source.select("job", t, [])
        request = asked(level="group", group_id="g")
        assert organised(dock, t, request) == {}
        assert dock.source.totals(request, t, "job") == {}

    def test_b34_only_the_types_that_are_asked_for(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        t = dock.source.snapshot("job")
        found = organised(dock, t, asked(types=("Observation", "Encounter")))
        assert {ident: sorted(names) for ident, names in found.items()} == {
            ident: [f"Encounter/{ident}", f"Observation/{ident}"] for ident in "ab"
        }
        assert organised(dock, t, asked(types=("Patient",))) == {"a": ["Patient/a"], "b": ["Patient/b"]}

    def test_b28_b29_what_changed_and_of_new_members_everything(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.put("Observation/ab", subject=of("a"), performer=[of("b")])
        since = dock.source.snapshot("one")
        dock.put("Patient/a", "new")
        dock.put("Observation/b", "new", subject=of("b"))
        until = dock.source.snapshot("two") + 1
        dock.put("Observation/a", "new", subject=of("a"))
        dock.delete("Encounter/c")
        t = dock.source.snapshot("job")
        assert organised(dock, t, asked(since=since)) == {"a": ["Patient/a", "Observation/a"], "b": ["Observation/b"]}
        assert organised(dock, t, asked(since=since, until=until)) == {"a": ["Patient/a"], "b": ["Observation/b"]}
        dock.source.select("job", t, shares("abc", whole="b"))
        found = organised(dock, t, asked(patients=tuple("abc"), since=since, new_members="full"))
        assert found["a"] == ["Patient/a", "Observation/a"]
        assert set(found["b"]) == {"Patient/b", "Encounter/b", "Observation/ab", "Observation/b"}
        assert found.keys() == {"a", "b"}

    def test_b81_deletions_are_told_as_without(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.put("Provenance/1", target=[{"reference": "Encounter/a"}])
        since = dock.source.snapshot("one")
        for name in ("Encounter/a", "Provenance/1", *kinds(ALL, "b")):
            dock.delete(name)
        t = dock.source.snapshot("job")
        for plain in (ExportRequest(level="patient", since=since), asked(level="patient", since=since)):
            told = [
                entry["request"]["url"]
                for plan in dock.source.partitions(plain, t, 10**6, None, "job")
                if plan.kind is Kind.DELETED
                for page in pages(dock.source, plan)
                for line in page.body.splitlines()
                for entry in msgspec.json.decode(line)["entry"]
            ]
            assert sorted(told) == sorted({"Encounter/a", "Provenance/1"} | kinds(ALL, "b"))

    def test_what_is_in_no_compartment_by_itself_is_left_out(self, dock: Dock) -> None:
        fill(dock, "a")
        dock.put("Provenance/1", target=[{"reference": "Encounter/a"}])
        dock.write([group("g", "Patient/a")])
        t = dock.source.snapshot("job")
        plain = set(export(dock.source, t, level="patient").values)
        assert plain == kinds(ALL, "a") | {"Provenance/1", "Group/g"}
        assert set(organised(dock, t, asked())["a"]) == kinds(ALL, "a")

    def test_s48_partitions_are_even_fixed_and_resumable(self, dock: Dock) -> None:
        people = [f"p{number}" for number in range(12)]
        fill(dock, *people)
        for number in range(60):
            dock.put(f"Observation/{number}", subject=of(people[number % 12]))
        since = dock.source.snapshot("one")
        for ident in people:
            dock.put(f"Patient/{ident}", "new", size=600)
            dock.put(f"Encounter/{ident}", "new", subject=of(ident), size=600)
        dock.delete("Encounter/p3")
        t = dock.source.snapshot("job")
        dock.source.select("job", t, shares(people))
        for request in (asked(), asked(since=since), asked(patients=tuple(people), since=since)):
            plans = list(dock.source.partitions(request, t, 3000, None, "job"))
            dock.put("Observation/later", subject=of("p4"))
            dock.put("Observation/last", subject=of("stranger"))
            assert sum(plan.resource_type == BLOCKS for plan in plans) > 2
            assert all(0 < plan.bytes <= 3000 for plan in plans)
            plans = [msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan) for plan in plans]
            for number, plan in enumerate(plans):
                assert list(dock.source.partitions(request, t, 3000, plan, "job")) == plans[number + 1 :]
            whole = organised(dock, t, request)
            assert organised(dock, t, request, target=3000) == whole

    def test_l27_totals_count_what_goes_out(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        dock.put("Observation/ab", subject=of("a"), performer=[of("b")])
        t = dock.source.snapshot("job")
        totals = dock.source.totals(asked(), t)
        assert totals.keys() == {BLOCKS}
        assert totals[BLOCKS].resources == 8, "the one in two blocks twice"
        plans = list(dock.source.partitions(asked(), t, 10**9))
        bodies = [page.body for plan in plans for page in pages(dock.source, plan)]
        assert totals[BLOCKS].bytes == sum(map(len, bodies))
