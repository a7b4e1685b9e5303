"""Whom a job means, and what comes along: settled once, resumed exactly, carried on by the job that continues it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirferry.model.errors import StoreBusy
from fhirferry.model.job import JobStatus
from fhirferry.model.partition import Kind
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House, raising_at

FINE = {"page_resources": 1, "pages_per_commit": 1, "unit_attempts": 1}
"""Every page a commit, every failure the task's end."""


def put(house: House, kind: str, ident: str, **content: Any) -> None:
    house.source.put(json.dumps({"resourceType": kind, "id": ident, **content}, separators=(",", ":")).encode())


def reference(name: str) -> dict[str, str]:
    return {"reference": name}


def ward(house: House) -> None:
    """Two members and a stranger, seen by practitioners of organisations that belong to others."""
    members = [{"entity": reference("Patient/a")}, {"entity": reference("Patient/b")}]
    put(house, "Group", "g", member=members)
    for patient, doctor in ("a", "1"), ("b", "2"), ("z", "3"):
        put(house, "Patient", patient, generalPractitioner=[reference(f"Practitioner/{doctor}")])
        put(house, "Encounter", patient, subject=reference(f"Patient/{patient}"), participant=[
            {"individual": reference("Practitioner/1")}, {"individual": reference(f"Practitioner/{doctor}")}])  # fmt: skip
    for doctor in "123":
        put(house, "Practitioner", doctor, qualification=[{"issuer": reference(f"Organization/{doctor}")}])
        put(house, "Organization", doctor, partOf=reference("Organization/top"))
    put(house, "Organization", "top")
    put(house, "Provenance", "p1", target=[reference("Encounter/a")], agent=[{"who": reference("Organization/3")}])
    put(house, "Provenance", "p2", target=[reference("Practitioner/1")], agent=[{"who": reference("Organization/3")}])
    put(house, "Provenance", "p9", target=[reference("Encounter/z")])


def group(**more: Any) -> ExportRequest:
    return ExportRequest(level="group", group_id="g", **more)


CLOSURE = group(types=("Encounter",), include_referenced=("Organization", "Practitioner"), reference_depth=2)


def exported(house: House, job_id: str = "job0", to: str = "memory://d", kind: Kind = Kind.OUTPUT) -> list[str]:
    """`Type/id` of every line, or of every deletion."""
    lines = [json.loads(each) for file in house.files(job_id, kind) for each in house.raw(file, to).splitlines()]
    if kind is Kind.DELETED:
        return sorted(entry["request"]["url"] for line in lines for entry in line["entry"])
    return sorted(f"{line['resourceType']}/{line['id']}" for line in lines)


def test_l32_l33_references_are_followed_to_their_depth_each_once(house: House) -> None:
    ward(house)
    house.kick_off(CLOSURE)
    assert house.run().status is JobStatus.COMPLETED
    people = ["Practitioner/1", "Practitioner/2"]
    assert exported(house) == ["Encounter/a", "Encounter/b", "Organization/1", "Organization/2", *people]


@pytest.mark.parametrize("wanted", ["LatestProvenanceResources", "RelevantProvenanceResources"])
def test_b44_provenance_comes_with_what_is_exported_and_with_what_that_refers_to(house: House, wanted: str) -> None:
    ward(house)
    house.kick_off(group(types=("Encounter",), include_referenced=("Organization", "Practitioner"),
                         include_associated_data=(wanted,)))  # fmt: skip
    house.run()
    agents = ["Organization/3"]  # of the Provenance of an encounter; that of a practitioner lies a step further
    people = ["Practitioner/1", "Practitioner/2", "Provenance/p1", "Provenance/p2"]
    assert exported(house) == ["Encounter/a", "Encounter/b", *agents, *people]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("lapsed", [False, True])
def test_s42_cut_off_at_any_read_a_resumed_job_exports_the_same(house: House, number: int, lapsed: bool) -> None:
    ward(house)
    house.kick_off(CLOSURE, **FINE)
    with raising_at(house, number, StoreBusy("away")):
        cut = house.run()
    assert cut.status is (JobStatus.RETRIABLE if number < 6 else JobStatus.COMPLETED)
    put(house, "Group", "g", member=[{"entity": reference("Patient/z")}])  # too late: T is fixed
    put(
        house,
        "Encounter",
        "late",
        subject=reference("Patient/a"),
        participant=[{"individual": reference("Practitioner/3")}],
    )
    if lapsed:
        house.source.release("job0")
    house.clock.advance(1000)
    if cut.status is JobStatus.RETRIABLE:
        assert house.run().status is JobStatus.COMPLETED
    people = ["Practitioner/1", "Practitioner/2"]
    assert exported(house) == ["Encounter/a", "Encounter/b", "Organization/1", "Organization/2", *people]


def test_l1_an_empty_group_exports_nothing_and_says_so_once_also_when_cut_off(house: House) -> None:
    put(house, "Group", "g")
    put(house, "Patient", "z")
    house.kick_off(group(), unit_attempts=1)
    house.jobs.busy = []
    saves = iter([None, StoreBusy("away")])
    commit = house.jobs.commit

    def failing(*given: Any, **more: Any) -> Any:
        error = next(saves, None)
        if error is not None:
            raise error
        return commit(*given, **more)

    house.jobs.commit = failing  # type: ignore[method-assign]
    house.run()
    house.clock.advance(1000)
    record = house.jobs.get("job0")
    if not record.finished:
        record = house.run()
    assert (record.status, record.issue_count, exported(house)) == (JobStatus.COMPLETED, 1, [])
    (file,) = house.files(kind=Kind.ERROR)
    assert b"nobody is in the group" in house.raw(file)


def test_s62_a_group_that_is_not_there_fails_the_job_for_good(house: House) -> None:
    house.kick_off(group())
    record = house.run()
    assert record.failure is not None
    assert (record.status, record.failure.reason) == (JobStatus.FAILED, "Group g was not found.")
    assert record.failure.status_code == 400


def test_b29_who_joined_comes_whole_and_who_left_is_deleted(house: House) -> None:
    ward(house)
    house.kick_off(group(types=("Patient", "Encounter")))
    t = house.run().transaction_time
    put(house, "Group", "g", member=[{"entity": reference("Patient/b")}, {"entity": reference("Patient/z")}])
    put(house, "Encounter", "b2", subject=reference("Patient/b"))
    chain = group(types=("Patient", "Encounter"), since=t, new_members="full", left_members="delete")
    house.kick_off(chain, to="memory://e", continues="job0")
    house.run()
    assert exported(house, "job1", "memory://e") == ["Encounter/b2", "Encounter/z", "Patient/z"]
    assert exported(house, "job1", "memory://e", Kind.DELETED) == ["Encounter/a", "Patient/a"]


def test_a_chain_keeps_what_it_brought_along_up_to_date(house: House) -> None:
    """Practitioner/2 changes though nothing that refers to it does; Practitioner/1 is gone; 3 is new to the reader."""
    ward(house)
    request = group(types=("Encounter",), include_referenced=("Practitioner",))
    house.kick_off(request)
    t = house.run().transaction_time
    assert exported(house) == ["Encounter/a", "Encounter/b", "Practitioner/1", "Practitioner/2"]
    put(house, "Practitioner", "2", active=False)
    house.source.delete("Practitioner", "1")
    put(
        house,
        "Encounter",
        "b3",
        subject=reference("Patient/b"),
        participant=[{"individual": reference("Practitioner/3")}],
    )
    increment = group(types=("Encounter",), include_referenced=("Practitioner",), since=t)
    house.kick_off(increment, to="memory://e", continues="job0")
    second = house.run()
    assert exported(house, "job1", "memory://e") == ["Encounter/b3", "Practitioner/2", "Practitioner/3"]
    assert exported(house, "job1", "memory://e", Kind.DELETED) == ["Practitioner/1"]
    put(house, "Practitioner", "3", active=False)
    third = group(types=("Encounter",), include_referenced=("Practitioner",), since=second.transaction_time)
    house.kick_off(third, to="memory://f", continues="job1")
    house.run()
    assert exported(house, "job2", "memory://f") == ["Practitioner/3"]


def test_b29_a_job_whose_forerunner_was_deleted_fails_and_says_why(house: House) -> None:
    """Without it everybody would be new, and nobody have left."""
    ward(house)
    house.kick_off(group())
    t = house.run().transaction_time
    house.kick_off(group(since=t, new_members="full"), to="memory://e", continues="job0")
    house.jobs.delete("job0")
    record = house.run()
    assert (record.status, house.names("memory://e")) == (JobStatus.FAILED, [])
    assert record.failure is not None
    assert "job0, was deleted" in record.failure.reason


def test_b44_a_chain_tells_that_provenance_it_brought_is_deleted(house: House) -> None:
    ward(house)
    fields = {"types": ("Encounter",), "include_associated_data": ("RelevantProvenanceResources",)}
    house.kick_off(group(**fields))
    t = house.run().transaction_time
    assert exported(house) == ["Encounter/a", "Encounter/b", "Provenance/p1"]
    house.source.delete("Provenance", "p1")
    house.source.delete("Provenance", "p9")  # of a stranger
    house.kick_off(group(since=t, **fields), to="memory://e", continues="job0")
    house.run()
    assert exported(house, "job1", "memory://e", Kind.DELETED) == ["Provenance/p1"]
