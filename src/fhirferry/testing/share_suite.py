"""The conformance suite of how much of a patient a job takes: members, those who joined, those who left. Used as
`source_suite.SourceSuite` is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fhirferry.model.cohort import Share
from fhirferry.model.errors import PatientNotFound
from fhirferry.model.instant import Instant
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.testing.cohort_suite import ALL, fill, kinds, names
from fhirferry.testing.source_suite import Dock, Exported, export, group, of, pages, shares


def after(dock: Dock, t: Instant, since: Instant, members: str, left: str, **options: Any) -> Exported:
    """An export of these patients that continues one that had those who left too, and tells of them."""
    options = {"left_members": "delete", **options}
    return export(dock.source, t, level="patient", patients=tuple(members), since=since, left=left, **options)


class ShareSuite:
    """What `Source.select` and what follows it promise about shares, as tests."""

    def test_b29_what_patients_have_who_left_is_told_as_deleted(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c", "d")
        dock.put("Provenance/ab", target=[of("a"), of("b")])
        dock.put("Provenance/bc", target=[of("b"), of("c")])
        dock.put("Observation/gone-before", subject=of("b"))
        dock.delete("Observation/gone-before")
        since = dock.source.snapshot("one")
        dock.put("Observation/new", subject=of("b"))
        dock.put("Observation/a", "new", subject=of("a"))
        dock.delete("Encounter/b")
        t = dock.source.snapshot("two")
        dock.put("Observation/later", subject=of("b"))
        found = after(dock, t, since, "a", "bc")
        assert names(found) == {"Observation/a"}
        own = kinds(ALL, "b", "c") | {"Observation/new"}
        assert set(found.deleted) == own | {"Provenance/bc"}, "not what is a's too, and each once"
        assert set(after(dock, t, since, "a", "bc", types=("Patient",)).deleted) == {"Patient/b", "Patient/c"}

    def test_b29_of_nobody_who_left_unless_it_is_asked_for(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        since = dock.source.snapshot("one")
        dock.delete("Encounter/b")
        t = dock.source.snapshot("two")
        found = after(dock, t, since, "a", "b", left_members="keep")
        assert (found.values, found.deleted) == ({}, [])

    def test_b29_a_group_that_all_have_left_still_tells_of_them(self, dock: Dock) -> None:
        fill(dock, "a")
        dock.write([group("g")])
        since = dock.source.snapshot("one")
        t = dock.source.snapshot("two")
        request: dict[str, Any] = {"level": "group", "group_id": "g", "since": since, "left_members": "delete"}
        found = export(dock.source, t, left="a", **request)
        assert (found.values, set(found.deleted)) == ({}, kinds(ALL, "a"))

    def test_b83_what_a_member_has_now_is_there_and_not_deleted(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        since = dock.source.snapshot("one")
        dock.put("Observation/b", "now a's", subject=of("a"))
        dock.put("Observation/a", "now b's", subject=of("b"))
        dock.put("Encounter/b", "now both's", subject=of("a"), participant=[{"individual": of("b")}])
        dock.delete("Encounter/b")
        t = dock.source.snapshot("two")
        found = after(dock, t, since, "ac", "b", whole="c")
        assert names(found) == {"Observation/b"} | kinds(ALL, "c")
        assert set(found.deleted) == {"Patient/b", "Observation/a", "Encounter/b"}

    def test_who_left_is_not_counted_and_no_member(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        since = dock.source.snapshot("one")
        t = dock.source.snapshot("two")
        request = ExportRequest(level="patient", patients=("a", "x"), since=since, left_members="delete")
        chosen = dock.source.select("two", t, shares("ax", whole="a", left="bcy"))
        assert (chosen.patients, chosen.absent) == (1, 1)
        totals = dock.source.totals(request, t, "two")
        assert {name: total.resources for name, total in totals.items()} == dict.fromkeys(ALL, 1)

    def test_l10_what_is_shared_with_who_left_comes_once_for_the_member(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.put("Provenance/old", target=[of("a"), of("c")])
        since = dock.source.snapshot("one")
        dock.put("Provenance/ac", target=[of("a"), of("c")])
        dock.put("Provenance/cb", target=[of("c"), of("b")])
        t = dock.source.snapshot("two")
        for whole in ("", "c"):
            found = after(dock, t, since, "c", "ab", whole=whole)
            old = {"Provenance/old", *kinds(ALL, "c")} if whole else set()
            assert names(found) == {"Provenance/ac", "Provenance/cb"} | old
            assert set(found.deleted) == kinds(ALL, "a", "b")

    def test_who_is_given_twice_counts_once_and_as_the_most(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        since = dock.source.snapshot("one")
        t = dock.source.snapshot("two")
        given = [("a", Share.LEFT), ("a", Share.SINCE), ("b", Share.SINCE), ("b", Share.WHOLE), ("b", Share.LEFT)]
        chosen = dock.source.select("two", t, [*given, ("c", Share.LEFT), ("c", Share.LEFT)])
        assert chosen.patients == 2
        request = ExportRequest(level="patient", patients=("a", "b"), since=since, left_members="delete")
        found: dict[Kind, set[str]] = {Kind.OUTPUT: set(), Kind.DELETED: set()}
        for plan in dock.source.partitions(request, t, 10**6, None, "two"):
            for page in pages(dock.source, plan):
                for line in page.body.splitlines():
                    body = msgspec.json.decode(line)
                    entries = body.get("entry", [{"request": {"url": f"{body['resourceType']}/{body.get('id')}"}}])
                    found[plan.kind].update(entry["request"]["url"] for entry in entries)
        assert found == {Kind.OUTPUT: kinds(ALL, "b"), Kind.DELETED: kinds(ALL, "c")}

    def test_partitions_of_who_left_are_even_fixed_and_resumable(self, dock: Dock) -> None:
        people = "abcdefgh"
        fill(dock, *people)
        for number in range(60):
            dock.put(f"Observation/{number}", subject=of(people[number % 8]), performer=[of(people[number % 5])])
        since = dock.source.snapshot("one")
        fill(dock, *people)
        dock.delete("Observation/f")
        t = dock.source.snapshot("two")
        dock.source.select("two", t, shares("acg", left="bdefh"))
        request = ExportRequest(level="patient", patients=tuple("acg"), since=since, left_members="delete")
        plans = list(dock.source.partitions(request, t, 600, None, "two"))
        told = [plan for plan in plans if plan.kind is Kind.DELETED]
        assert len(told) > 6
        assert all(0 < plan.bytes <= 640 for plan in told)
        dock.put("Observation/later", subject=of("b"))
        plans = [msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan) for plan in plans]
        for number, plan in enumerate(plans):
            assert list(dock.source.partitions(request, t, 600, plan, "two")) == plans[number + 1 :]
        urls = [
            entry["request"]["url"]
            for plan in told
            for page in pages(dock.source, plan, max_resources=2)
            for line in page.body.splitlines()
            for entry in msgspec.json.decode(line)["entry"]
        ]
        mixed = {f"Observation/{n}" for n in range(60) if not {people[n % 8], people[n % 5]} & set("acg")}
        assert sorted(urls) == sorted(kinds(ALL, *"bdefh") | mixed)

    @pytest.mark.parametrize("level", ["system", "patient", "group", "named"])
    def test_b42_deletions_are_told_without_since_when_they_are_asked_for(self, dock: Dock, level: str) -> None:
        fill(dock, "a", "b")
        dock.write([group("g", "Patient/a")])
        dock.put("Practitioner/p")
        for gone in ("Observation/a", "Observation/b", "Practitioner/p"):
            dock.delete(gone)
        dock.put("Encounter/a", "back", subject=of("a"))
        until = dock.source.snapshot("one") + 1
        dock.delete("Encounter/b")
        t = dock.source.snapshot("two")
        dock.delete("Encounter/a")
        requests: dict[str, dict[str, Any]] = {
            "system": {},
            "patient": {"level": "patient"},
            "group": {"level": "group", "group_id": "g"},
            "named": {"level": "patient", "patients": ("a",)},
        }
        request = requests[level]
        expected = {
            "system": {"Observation/a", "Observation/b", "Practitioner/p", "Encounter/b"},
            "patient": {"Observation/a", "Observation/b", "Encounter/b"},
        }.get(level, {"Observation/a"})
        request["include_associated_data"] = ("_deleted",)
        found = export(dock.source, t, **request)
        assert set(found.deleted) == expected
        assert "Encounter/a" in found.values
        assert set(export(dock.source, t, until=until, **request).deleted) == expected - {"Encounter/b"}

    def test_b39_b41_patients_of_a_list_beside_the_request(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.write([group("g", "Patient/a", "Patient/c")])
        t = dock.source.snapshot("job")
        listed = ExportRequest(level="patient", patient_list="00")
        of_group = ExportRequest(level="group", group_id="g", patient_list="00")

        def whom(request: ExportRequest, *named: str) -> list[str]:
            cohort = dock.source.members(request, t, named)
            assert cohort is not None
            return list(cohort.patients)

        assert whom(listed, "a", "b") == ["a", "b"]
        assert whom(of_group, "a", "c") == ["a", "c"]
        assert whom(listed) == whom(of_group) == [], "L1: nobody is not everybody"
        for request, named in ((listed, ("a", "x")), (of_group, ("a", "b"))):
            with pytest.raises(PatientNotFound, match=named[1]):
                whom(request, *named)
        for request in (listed, of_group):
            with pytest.raises(ValueError, match="list"):
                dock.source.members(request, t)
        dock.source.select("job", t, shares("a"))
        types = {plan.resource_type for plan in dock.source.partitions(of_group, t, 10**6, None, "job")}
        assert types == set(ALL), "B39: the Group would tell who else is in it"
