"""The conformance suite of rounds: what is named for them, and what they export. Used as `source_suite.SourceSuite` is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fhirferry.model.errors import SnapshotGone, TransientError
from fhirferry.model.instant import DAY
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.testing.cohort_suite import ALL, fill, kinds
from fhirferry.testing.source_suite import Dock, Exported, export, group, of, pages, shares


def in_round(exported: Exported, number: int = 1) -> set[str]:
    """What came in a round."""
    return {name for name, round_ in exported.rounds.items() if round_ == number}


EVERYTHING = [
    f"{kind}/{ident}"
    for kind in (*ALL, "Provenance", "Group", "Practitioner", "Medication")
    for ident in ("a", "b", "c", "ab", "p", "g")
]
"""What `fill` and the tests may have made."""


class NamedSuite:
    """What `Source.name` and the rounds promise, as tests."""

    def test_b47_a_round_exports_what_is_named_for_it_once(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        dock.put("Practitioner/p", "at T")
        dock.put("Practitioner/gone")
        dock.delete("Practitioner/gone")
        t = dock.source.snapshot("job")
        dock.put("Practitioner/p", "later")
        dock.put("Practitioner/new")
        dock.delete("Patient/b")
        named = ["Patient/a", "Patient/a", "Patient/b", "Practitioner/p", "Observation/a", "Encounter/a"]
        unknown = ["Practitioner/gone", "Practitioner/new", "Practitioner/never", "Starship/p", "Patient/", "Patient"]
        found = export(dock.source, t, types=("Observation", "Encounter"), rounds=[[*named, *unknown]])
        assert in_round(found) == {"Patient/a", "Patient/b", "Practitioner/p"}
        assert found.values["Practitioner/p"] == "at T"
        assert found.deleted == []

    def test_b47_what_an_earlier_round_exports_is_passed_over(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        t = dock.source.snapshot("job")
        rounds = [
            ["Patient/a", "Encounter/a"],
            ["Patient/a", "Patient/b", "Observation/a"],
            [*kinds(ALL, "a", "b", "c")],
        ]
        found = export(dock.source, t, types=("Observation",), rounds=rounds)
        assert in_round(found, 1) == {"Patient/a", "Encounter/a"}
        assert in_round(found, 2) == {"Patient/b"}
        assert in_round(found, 3) == {"Patient/c", "Encounter/b", "Encounter/c"}
        assert in_round(export(dock.source, t, rounds=[EVERYTHING])) == set(), "all of it went out at first"

    def test_b39_never_what_is_somebody_elses_who_is_not_in_the_cohort(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.put("Provenance/ab", target=[of("a"), of("b")])
        dock.put("Provenance/c", target=[of("b"), of("c")])
        dock.put("Medication/p")
        dock.put("Practitioner/p")
        dock.write([group("g", "Patient/a", "Patient/b")])
        since = dock.source.snapshot("one")
        t = dock.source.snapshot("two")
        only: dict[str, Any] = {"types": ("Observation",), "rounds": [EVERYTHING]}
        free = {"Medication/p", "Practitioner/p"}
        who: list[dict[str, Any]] = [{"level": "group", "group_id": "g"}, {"level": "patient", "patients": ("a", "b")}]
        for request in who:
            found = in_round(export(dock.source, t, **request, **only))
            assert found == kinds(["Encounter", "Patient"], "a", "b") | {"Provenance/ab"} | free
        alone = in_round(export(dock.source, t, level="patient", patients=("a",), **only))
        assert alone == kinds(["Encounter", "Patient"], "a") | free
        request = {"level": "patient", "patients": ("a",), "since": since, "left_members": "delete"}
        assert in_round(export(dock.source, t, left="b", **request, **only)) == (alone | {"Observation/a"}), (
            "who left is not in the cohort"
        )
        all_patients = in_round(export(dock.source, t, level="patient", **only))
        assert all_patients == kinds(["Encounter", "Patient"], "a", "b", "c") | {"Provenance/ab", "Provenance/c"} | free

    def test_l2_no_group_but_from_the_system(self, dock: Dock) -> None:
        fill(dock, "a")
        dock.write([group("g", "Patient/a"), group("h")])
        t = dock.source.snapshot("job")
        only: dict[str, Any] = {"types": ("Patient",), "rounds": [["Group/g", "Group/h"]]}
        for request in (
            {"level": "group", "group_id": "g"},
            {"level": "patient"},
            {"level": "patient", "patients": ("a",)},
        ):
            assert in_round(export(dock.source, t, **request, **only)) == set()
        assert in_round(export(dock.source, t, **only)) == {"Group/g", "Group/h"}

    def test_b47_wanted_is_all_of_it_else_what_changed_since(self, dock: Dock) -> None:
        for name in ("old", "new", "gone", "gone-before", "wanted", "wanted-gone"):
            dock.put(f"Practitioner/{name}")
        dock.put("Observation/a")
        dock.delete("Practitioner/gone-before")
        since = dock.source.snapshot("one")
        dock.put("Practitioner/new", "new")
        for gone in ("Practitioner/gone", "Practitioner/wanted-gone", "Observation/a"):
            dock.delete(gone)
        t = dock.source.snapshot("two")
        dock.put("Practitioner/gone", "back")
        named = [(f"Practitioner/{name}", "wanted" in name) for name in ("old", "new", "gone", "gone-before", "wanted")]
        named += [("Practitioner/wanted-gone", True), ("Observation/a", False)]
        found = export(dock.source, t, types=("Observation",), since=since, rounds=[named])
        assert set(found.values) == {"Practitioner/new", "Practitioner/wanted"}
        assert found.deleted == ["Observation/a", "Practitioner/gone"]
        assert in_round(found, 0) == {"Observation/a"}, "told at first"

    def test_b29_what_round_0_took_of_whom_counts(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        dock.put("Provenance/ab", target=[of("a"), of("b")])
        since = dock.source.snapshot("one")
        dock.put("Observation/a", "new", subject=of("a"))
        t = dock.source.snapshot("two")
        dock.put("Observation/b", "later", subject=of("b"))
        request: dict[str, Any] = {"level": "patient", "patients": ("a", "b"), "whole": "b", "since": since}
        found = export(dock.source, t, rounds=[EVERYTHING], **request)
        assert in_round(found, 0) == kinds(ALL, "b") | {"Provenance/ab", "Observation/a"}
        assert in_round(found, 1) == {"Patient/a", "Encounter/a"}
        old = export(dock.source, t, rounds=[EVERYTHING], until=since + 1, **{**request, "since": 1})
        assert in_round(old, 1) == {"Observation/a"}, "visible at T, though not before `until`"

    def test_b43_provenance_comes_with_what_it_is_of(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        dock.put("Provenance/a", target=[of("a")])
        dock.put("Provenance/ab", target=[of("a"), of("b")])
        t = dock.source.snapshot("job")
        named = ["Provenance/a", "Provenance/ab"]
        asked: dict[str, Any] = {"include_associated_data": ("LatestProvenanceResources",)}
        for request in ({}, {"level": "patient"}, {"level": "patient", "patients": ("a",)}):
            found = export(dock.source, t, job=str(request), rounds=[named], **asked, **request)
            assert in_round(found) == set(named) - ({"Provenance/ab"} if "patients" in request else set())
            totals = dock.source.totals(ExportRequest(**asked, **request), t, str(request))
            assert set(totals) == set(ALL)

    def test_naming_adds_and_may_be_repeated(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        t = dock.source.snapshot("job")
        request = ExportRequest(types=("Observation",))
        for names in (["Patient/a"], [], ["Patient/b", "Patient/a"], ["Patient/a"]):
            dock.source.name(request, t, "job", 1, [(name, True) for name in names])
        dock.source.name(request, t, "other", 1, [("Encounter/a", True)])
        (plan,) = dock.source.partitions(request, t, 10**6, None, "job", 1)
        assert (plan.resource_type, plan.round, plan.kind) == ("Patient", 1, Kind.OUTPUT)
        assert sum(page.count for page in pages(dock.source, plan)) == 2

    def test_a_round_that_is_not_named_is_not_read(self, dock: Dock) -> None:
        fill(dock, "a")
        t = dock.source.snapshot("job")
        request = ExportRequest(types=("Observation",))

        def plans(number: int = 1) -> list[PartitionPlan]:
            return list(dock.source.partitions(request, t, 10**6, None, "job", number))

        def name() -> None:
            dock.source.name(request, t, "job", 1, [("Patient/a", True)])

        with pytest.raises(TransientError, match="not named"):
            plans()
        name()
        (plan,) = plans()
        with pytest.raises(TransientError, match="not named"):
            plans(2)
        dock.source.name(request, t, "job", 2, [])
        assert plans(2) == []
        for forget in (self._release, self._lapse):
            forget(dock)
            with pytest.raises(TransientError, match="not named"):
                dock.source.read(plan.bounds, None, 10, 1000)
            with pytest.raises(TransientError, match="not named"):
                plans()
            dock.source.renew("job", t)
            name()
            assert plans() == [plan]
            assert dock.source.read(plan.bounds, None, 10, 1000).count == 1

    @staticmethod
    def _release(dock: Dock) -> None:
        dock.source.release("job")

    @staticmethod
    def _lapse(dock: Dock) -> None:
        dock.clock.now += 2 * DAY
        dock.prune()

    def test_a_round_of_a_cohort_needs_it_to_be_named(self, dock: Dock) -> None:
        fill(dock, "a")
        t = dock.source.snapshot("job")
        request = ExportRequest(level="patient", patients=("a",), types=("Observation",))
        with pytest.raises(TransientError, match="not selected"):
            dock.source.name(request, t, "job", 1, [("Patient/a", True)])
        with pytest.raises(TransientError, match="not named"):
            list(dock.source.partitions(request, t, 10**6, None, "job", 1))
        dock.source.select("job", t, shares("a"))
        dock.source.name(request, t, "job", 1, [("Patient/a", True)])
        assert len(list(dock.source.partitions(request, t, 10**6, None, "job", 1))) == 1

    def test_s46_what_was_pruned_is_not_named_nor_read(self, dock: Dock) -> None:
        fill(dock, "a")
        t = dock.source.snapshot("job")
        request = ExportRequest(types=("Observation",))
        dock.source.name(request, t, "job", 1, [("Patient/a", True)])
        (plan,) = dock.source.partitions(request, t, 10**6, None, "job", 1)
        self._prune_past(dock)
        for ask in (
            lambda: dock.source.name(request, t, "job", 1, []),
            lambda: list(dock.source.partitions(request, t, 10**6, None, "job", 1)),
            lambda: dock.source.read(plan.bounds, None, 10, 1000),
        ):
            with pytest.raises((SnapshotGone, TransientError)):
                ask()

    @staticmethod
    def _prune_past(dock: Dock) -> None:
        dock.put("Patient/a", "later")
        dock.clock.now += 2 * DAY
        dock.prune()

    def test_l8_rounds_are_even_fixed_and_resumable(self, dock: Dock) -> None:
        for number in range(60):
            dock.put(f"Patient/{number}", size=100)
            dock.put(f"Practitioner/{number}", size=100)
        since = dock.source.snapshot("one")
        for number in range(0, 60, 3):
            dock.delete(f"Practitioner/{number}")
        t = dock.source.snapshot("two")
        request = ExportRequest(types=("Observation",), since=since)
        given = [
            (f"{kind}/{number}", kind == "Patient") for kind in ("Patient", "Practitioner") for number in range(50)
        ]
        dock.source.name(request, t, "two", 1, given)
        plans = list(dock.source.partitions(request, t, 1_000, None, "two", 1))
        assert len([plan for plan in plans if plan.kind is Kind.OUTPUT]) > 6
        assert len([plan for plan in plans if plan.kind is Kind.DELETED]) > 1
        assert all(0 < plan.bytes < 1_300 for plan in plans)
        dock.put("Patient/1", "later")
        dock.prune()
        plans = [msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan) for plan in plans]
        dock.source.release("two")
        dock.source.renew("two", t)
        dock.source.name(request, t, "two", 1, sorted(given, reverse=True))
        for number, plan in enumerate(plans):
            assert list(dock.source.partitions(request, t, 1_000, plan, "two", 1)) == plans[number + 1 :]
        count = 0
        for plan in plans:
            for page in pages(dock.source, plan, max_resources=3, max_bytes=400):
                if plan.kind is Kind.DELETED:
                    (bundle,) = page.body.splitlines()
                    count += len(msgspec.json.decode(bundle)["entry"])
                else:
                    assert len(page.body) <= 400
                    count += page.count
        assert count == 50 + 17
