"""The conformance suite of a source's Provenance: found by what it is about. Used as `source_suite.SourceSuite` is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from fhirferry.model.errors import SnapshotGone
from fhirferry.model.instant import SECOND, Instant, format_instant
from fhirferry.model.request import ExportRequest
from fhirferry.testing.source_suite import START, Dock, Exported, export, group, of, pages, shares


def about(dock: Dock, name: str, *targets: str, value: object = 0, **members: Any) -> None:
    """Write a Provenance with these targets, each a reference."""
    dock.put(f"Provenance/{name}", value, target=[{"reference": one} for one in targets], **members)


def at(seconds: int) -> dict[str, str]:
    """The member that says when."""
    return {"recorded": format_instant(START + seconds * SECOND)}


def found(dock: Dock, t: Instant, *references: str, latest: bool = False) -> list[str]:
    """Ids of what is about one of these."""
    names = dock.source.associated(t, references, latest=latest)
    assert len(set(names)) == len(names), "each once"
    assert all(name.startswith("Provenance/") for name in names)
    return sorted(name.removeprefix("Provenance/") for name in names)


def of_patients(dock: Dock, t: Instant, *patients: str, **options: Any) -> Exported:
    """An export of these patients; of all without any."""
    return export(dock.source, t, level="patient", patients=patients or None, **options)


def provenance(exported: Exported) -> list[str]:
    """Ids of the Provenance that came."""
    return sorted(name.removeprefix("Provenance/") for name in exported.values if name.startswith("Provenance/"))


def fill(dock: Dock) -> None:
    """Patients a, b and c, an Observation and an Encounter of each, a Practitioner, and Provenance of all sorts."""
    for ident in "abc":
        dock.put(f"Patient/{ident}")
        dock.put(f"Observation/{ident}", subject=of(ident))
        dock.put(f"Encounter/{ident}", subject=of(ident))
        about(dock, f"direct-{ident}", f"Patient/{ident}")
        about(dock, f"{ident}1", f"Observation/{ident}")
        about(dock, f"{ident}2", f"Observation/{ident}", f"Encounter/{ident}")
    dock.put("Practitioner/p")
    about(dock, "nobody", "Practitioner/p", "Observation/missing")
    about(dock, "ab", "Observation/a", "Encounter/b")
    about(dock, "both-a", "Patient/a", "Observation/a")


A = ["a1", "a2", "ab", "both-a", "direct-a"]
B = ["ab", "b1", "b2", "direct-b"]
C = ["c1", "c2", "direct-c"]
BOTH = sorted({*A, *B})
EVERYBODY = sorted({*A, *B, *C})


class ProvenanceSuite:
    """What is promised of Provenance, as tests."""

    def test_b44_all_that_is_about_a_resource(self, dock: Dock) -> None:
        fill(dock)
        t = dock.source.snapshot("job")
        assert found(dock, t, "Observation/a") == ["a1", "a2", "ab", "both-a"]
        assert found(dock, t, "Observation/a", "Encounter/a", "Encounter/b") == ["a1", "a2", "ab", "b2", "both-a"]
        assert found(dock, t, "Patient/a", "Practitioner/p") == ["both-a", "direct-a", "nobody"]
        assert found(dock, t) == found(dock, t, "Observation/aa", "Encounter/missing") == []

    def test_b44_which_references_count(self, dock: Dock) -> None:
        good = ["Observation/o", "Observation/o/_history/3", "http://any.base/Observation/o"]
        good += ["https://h/r4/Observation/o/_history/1"]
        wrong = ["#o", "urn:uuid:o", "Observation/oo", "Observation?identifier=o", "o", "/Observation/o", "Patient/o"]
        for number, reference in enumerate([*good, *wrong]):
            about(dock, str(number), "Practitioner/p", reference)
        dock.put("Provenance/none")
        dock.put("Provenance/identifier", target=[{"identifier": {"value": "o"}}])
        dock.put("Provenance/odd", recorded=7, target=[None, 3, {"reference": 7}, {"reference": "Observation/o"}])
        dock.put("Provenance/alone", target={"reference": "Observation/o"})
        dock.put("Provenance/text", target="Observation/o")
        t = dock.source.snapshot("job")
        expected = sorted(["alone", "odd", *(str(number) for number in range(len(good)))])
        assert found(dock, t, "Observation/o") == expected

    def test_b44_c22_the_newest_of_each_resource(self, dock: Dock) -> None:
        about(dock, "newest", "Observation/x", **at(5))
        about(dock, "newer", "Observation/x", "Observation/y", **at(3))
        about(dock, "older", "Observation/y", "Observation/z", recorded="2001-01-01T23:00:00.5+14:00")
        about(dock, "without", "Observation/z", "Observation/w")
        about(dock, "not-an-instant", "Observation/w", recorded="2099-01-01")
        t = dock.source.snapshot("job")
        assert found(dock, t, "Observation/x", latest=True) == ["newest"]
        assert found(dock, t, "Observation/x", "Observation/y", latest=True) == ["newer", "newest"]
        assert found(dock, t, "Observation/z", latest=True) == ["older"], "one that says when is newer"
        assert found(dock, t, "Observation/w", latest=True) == ["not-an-instant"], "else what was written last"
        assert found(dock, t, "Observation/x") == ["newer", "newest"]

    def test_b44_instants_are_compared_as_instants(self, dock: Dock) -> None:
        about(dock, "early", "Observation/x", recorded="2026-01-01T12:00:00+02:00")
        about(dock, "late", "Observation/x", recorded="2026-01-01T11:30:00.25Z")
        about(dock, "between", "Observation/x", recorded="2026-01-01T06:30:00-05:00")
        t = dock.source.snapshot("job")
        assert found(dock, t, "Observation/x", latest=True) == ["late"]

    @pytest.mark.parametrize("when", [{}, at(1)], ids=["missing", "equal"])
    def test_b44_ties_go_to_what_changed_last(self, dock: Dock, when: Mapping[str, str]) -> None:
        about(dock, "z", "Observation/x", updated=START - 5, **when)
        about(dock, "a", "Observation/x", updated=START - 1, **when)
        about(dock, "m", "Observation/x", updated=START - 3, **when)
        about(dock, "n", "Observation/y", updated=START - 3, **when)
        about(dock, "k", "Observation/y", updated=START - 3, **when)
        t = dock.source.snapshot("job")
        assert found(dock, t, "Observation/x", latest=True) == ["a"]
        assert found(dock, t, "Observation/y", latest=True) == ["k"], "of one instant what was written last"

    def test_s46_targets_are_those_at_t(self, dock: Dock) -> None:
        about(dock, "moved", "Observation/x")
        about(dock, "deleted", "Observation/x")
        first = dock.source.snapshot("one")
        assert found(dock, first, "Observation/x") == ["deleted", "moved"]
        about(dock, "moved", "Observation/y", value=1)
        about(dock, "later", "Observation/x")
        dock.delete("Provenance/deleted")
        second = dock.source.snapshot("two")
        for _ in range(2):
            assert found(dock, first, "Observation/x") == ["deleted", "moved"]
            assert found(dock, first, "Observation/y") == []
            assert found(dock, second, "Observation/x") == ["later"]
            assert found(dock, second, "Observation/y") == ["moved"]
            dock.prune()
        dock.source.release("one")
        dock.prune()
        with pytest.raises(SnapshotGone):
            found(dock, first, "Observation/x")
        assert found(dock, second, "Observation/x", "Observation/y") == ["later", "moved"]

    def test_a_provenance_of_many_and_many_of_one(self, dock: Dock) -> None:
        about(dock, "wide", *(f"Observation/{number}" for number in range(300)), **at(1))
        for number in range(40):
            about(dock, f"p{number:02}", "Observation/7", **at(number))
        t = dock.source.snapshot("job")
        everything = [f"Observation/{number}" for number in range(300)]
        assert len(found(dock, t, *everything)) == 41
        assert found(dock, t, *everything, latest=True) == ["p39", "wide"]
        assert found(dock, t, "Observation/299", "Observation/299") == ["wide"]

    def test_b45_c23_what_is_about_the_compartment_comes_along(self, dock: Dock) -> None:
        fill(dock)
        dock.write([group("g", "Patient/a", "Patient/b")])
        t = dock.source.snapshot("job")
        assert provenance(of_patients(dock, t, "a")) == A, "what is about b too: its bytes name both"
        assert provenance(of_patients(dock, t, "c")) == C
        assert provenance(of_patients(dock, t)) == EVERYBODY
        in_group = export(dock.source, t, level="group", group_id="g")
        assert provenance(in_group) == BOTH
        assert provenance(export(dock.source, t)) == sorted([*EVERYBODY, "nobody"])
        only = of_patients(dock, t, "a", types=("Provenance",), max_resources=1, target_bytes=1)
        assert (sorted(only.values), provenance(only)) == ([f"Provenance/{ident}" for ident in A], A)
        assert provenance(of_patients(dock, t, "a", types=("Observation",))) == []

    @pytest.mark.parametrize("which", ["LatestProvenanceResources", "RelevantProvenanceResources"])
    def test_b43_asked_for_with_what_it_is_of_it_does_not_come_by_itself(self, dock: Dock, which: str) -> None:
        fill(dock)
        dock.write([group("g", "Patient/a", "Patient/b")])
        t = dock.source.snapshot("job")
        levels: list[dict[str, Any]] = [{}, {"level": "patient"}, {"level": "group", "group_id": "g"}]
        for level in levels:
            found = export(dock.source, t, include_associated_data=(which,), **level)
            assert provenance(found) == []
            assert "Observation/a" in found.values

    def test_b45_whose_the_targets_were_at_t(self, dock: Dock) -> None:
        fill(dock)
        t = dock.source.snapshot("job")
        dock.put("Observation/a", "b's now", subject=of("b"))
        about(dock, "a2", "Observation/c", value="c's now")
        about(dock, "new", "Observation/c")
        dock.put("Observation/missing", subject=of("c"))
        later = dock.source.snapshot("next")
        assert provenance(of_patients(dock, t, "a")) == A
        assert provenance(of_patients(dock, t, "b")) == B
        assert provenance(of_patients(dock, t)) == EVERYBODY
        assert provenance(of_patients(dock, later, "a")) == ["both-a", "direct-a"]
        assert provenance(of_patients(dock, later, "b")) == sorted([*B, "a1", "both-a"])
        assert provenance(of_patients(dock, later, "c")) == sorted([*C, "a2", "new", "nobody"])

    def test_b45_a_target_that_was_deleted_is_still_whose_it_was(self, dock: Dock) -> None:
        fill(dock)
        since = dock.source.snapshot("one")
        dock.delete("Observation/a")
        t = dock.source.snapshot("two")
        for _ in range(2):
            assert provenance(of_patients(dock, t, "a")) == A
            assert provenance(of_patients(dock, t)) == EVERYBODY
            increment = of_patients(dock, t, "a", since=since)
            assert (increment.values, increment.deleted) == ({}, ["Observation/a"])
            dock.source.release("one")
            dock.prune()

    def test_b45_since_is_of_the_provenance_itself(self, dock: Dock) -> None:
        fill(dock)
        since = dock.source.snapshot("one")
        about(dock, "new", "Observation/a")
        about(dock, "new-of-c", "Encounter/c")
        about(dock, "b1", "Observation/a", "Observation/b", value="about a too")
        dock.put("Encounter/a", "new", subject=of("a"))
        t = dock.source.snapshot("two")
        assert provenance(of_patients(dock, t, "a", since=since)) == ["b1", "new"]
        assert provenance(of_patients(dock, t, "b", since=since)) == ["b1"]
        assert provenance(of_patients(dock, t, since=since)) == ["b1", "new", "new-of-c"]
        assert provenance(of_patients(dock, t, "a", until=since + 1)) == A
        assert provenance(of_patients(dock, t, until=since + 1)) == sorted({*EVERYBODY} - {"b1"})

    def test_b29_all_of_those_who_joined_and_nothing_but_deletions_of_those_who_left(self, dock: Dock) -> None:
        fill(dock)
        since = dock.source.snapshot("one")
        about(dock, "new", "Observation/a")
        dock.delete("Provenance/b2")
        dock.delete("Provenance/c2")
        t = dock.source.snapshot("two")
        joined = of_patients(dock, t, "a", "b", whole=["b"], since=since)
        assert provenance(joined) == ["ab", "b1", "direct-b", "new"]
        assert joined.deleted == ["Provenance/b2"]
        parted = of_patients(dock, t, "a", left=["b"], since=since, left_members="delete", types=("Provenance",))
        assert provenance(parted) == ["new"]
        assert sorted(parted.deleted) == [f"Provenance/{ident}" for ident in ("b1", "b2", "direct-b")], "ab is a's too"
        kept = of_patients(dock, t, "a", left=["b"], since=since, types=("Provenance",))
        assert (provenance(kept), kept.deleted) == (["new"], [])
        assert of_patients(dock, t, "c", since=since).deleted == ["Provenance/c2"]

    def test_b81_a_deletion_is_about_what_the_deleted_was_about(self, dock: Dock) -> None:
        fill(dock)
        about(dock, "moved", "Observation/b")
        since = dock.source.snapshot("one")
        assert provenance(of_patients(dock, since, "a")) == A
        about(dock, "moved", "Observation/a", value=1)
        about(dock, "passing", "Observation/a")
        for ident in ("a1", "b1", "ab", "nobody", "moved", "direct-c", "passing"):
            dock.delete(f"Provenance/{ident}")
        dock.delete("Observation/a")
        t = dock.source.snapshot("two")
        dock.source.release("one")
        a = {"Provenance/a1", "Provenance/ab", "Provenance/moved", "Provenance/passing", "Observation/a"}
        b = {"Provenance/b1", "Provenance/ab"}
        for _ in range(3):
            assert set(of_patients(dock, t, "a", since=since).deleted) == a
            assert set(of_patients(dock, t, "b", since=since).deleted) == b
            assert set(of_patients(dock, t, since=since).deleted) == a | b | {"Provenance/direct-c"}
            assert found(dock, t, "Observation/a", "Observation/b") == ["a2", "b2", "both-a"]
            dock.prune()

    def test_l2_a_group_is_nobodys(self, dock: Dock) -> None:
        fill(dock)
        dock.write([group("g", "Patient/a"), group("other", "Patient/a", "Patient/b"), group("things", "Device/d")])
        about(dock, "of-g", "Group/g")
        about(dock, "of-other", "Group/other")
        about(dock, "of-things", "Group/things")
        t = dock.source.snapshot("job")
        assert provenance(export(dock.source, t, level="group", group_id="g")) == A
        assert provenance(of_patients(dock, t, "a")) == A
        assert provenance(of_patients(dock, t)) == sorted([*EVERYBODY, "of-g", "of-other"]), "those Groups come too"

    def test_l1_nobody_has_nothing(self, dock: Dock) -> None:
        fill(dock)
        dock.write([group("g")])
        t = dock.source.snapshot("job")
        found = export(dock.source, t, level="group", group_id="g", since=1)
        assert (found.values, found.deleted) == ({}, [])

    def test_totals_count_it(self, dock: Dock) -> None:
        fill(dock)
        t = dock.source.snapshot("job")
        requests: Sequence[dict[str, Any]] = [{}, {"patients": ("a",)}, {"patients": ("a", "b"), "since": 1}]
        for request in requests:
            asked = ExportRequest(level="patient", types=("Provenance",), **request)
            job = f"job {len(request)}"
            assert dock.source.snapshot(job) > t
            lines = export(dock.source, t, job=job, level="patient", types=("Provenance",), **request).lines
            (total,) = dock.source.totals(asked, t, job).values()
            assert (total.resources, total.bytes) == (len(lines), sum(map(len, lines)))

    def test_l10_each_once_whatever_the_pages(self, dock: Dock) -> None:
        people = [f"p{number}" for number in range(6)]
        for ident in people:
            dock.put(f"Patient/{ident}")
            dock.put(f"Observation/{ident}", subject=of(ident))
        whose = [(people[n % 6], people[n * 5 % 6], people[n // 4]) for n in range(24)]
        for number, three in enumerate(whose):
            about(dock, str(number), *(f"Observation/{one}" for one in three), value=number)
        t = dock.source.snapshot("job")
        for chosen in (people, people[:2], people[3:]):
            expected = sorted(str(number) for number, three in enumerate(whose) if set(three) & set(chosen))
            for most, target in ((1, 1), (3, 500), (1000, 10**9)):
                exported = of_patients(dock, t, *chosen, max_resources=most, target_bytes=target)
                assert provenance(exported) == expected

    def test_l10_named_as_well_it_still_comes_once(self, dock: Dock) -> None:
        fill(dock)
        since = dock.source.snapshot("one")
        about(dock, "new", "Observation/a")
        t = dock.source.snapshot("job")
        references = [(f"Provenance/{ident}", True) for ident in (*EVERYBODY, "nobody", "new")]
        asked: dict[str, Any] = {"level": "patient", "include_referenced": ("Provenance",)}
        cases: list[tuple[dict[str, Any], list[str], list[str]]] = [
            ({}, [], ["nobody"]),
            ({"since": since}, [], [*EVERYBODY, "nobody"]),
            ({"patients": ("a", "b")}, [], [*C, "nobody"]),
            ({"patients": ("a", "b"), "since": since}, ["b"], [*A, *C, "nobody"]),
            ({"patients": ("a", "b"), "types": ("Patient",)}, [], [*EVERYBODY, "nobody", "new"]),
        ]
        for number, (request, whole, expected) in enumerate(cases):
            job = f"job {number}"
            dock.source.snapshot(job)
            outside = {"direct-c"} if "patients" in request else set()
            asked_here = ExportRequest(**asked, **request)
            if asked_here.patients:
                dock.source.select(job, t, shares(asked_here.patients, whole=whole))
            dock.source.name(asked_here, t, job, 1, references)
            came = [
                msgspec.json.decode(line)["id"]
                for plan in dock.source.partitions(asked_here, t, 1000, None, job, 1)
                for page in pages(dock.source, plan)
                for line in page.body.splitlines()
            ]
            left_over = set(expected) - outside - (set(B) if whole else set())
            assert sorted(came) == sorted(left_over), request
