"""Filters and elements on the way from page to file: the accounts of a unit, and a naive second opinion."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirferry.engine.verify import verify
from fhirferry.engine.verify_findings import FindingKind, Outcome
from fhirferry.exporter import Exporter
from fhirferry.model.errors import TransientError
from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
from fhirferry.model.partition import Kind
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House, raising_at

FEMALE = ExportRequest(types=("Observation", "Patient"), type_filters=("Patient?gender=female",))


def patients(house: House, genders: str, filling: str = "") -> None:
    """f and m, with the ids 0, 1, 2 …"""
    for number, gender in enumerate(genders):
        body = {"resourceType": "Patient", "id": str(number), "gender": {"f": "female", "m": "male"}[gender]}
        house.source.put(json.dumps({**body, "name": [{"text": filling}]}).encode())


def test_b46_only_what_matches_is_in_the_files_and_progress_comes_to_its_end(house: House) -> None:
    patients(house, "fmfmmmfm" * 4)
    seen: list[ExportJobRecord] = []
    house.kick_off(FEMALE, page_resources=3, pages_per_commit=2)
    record = house.run(on_save=seen.append)
    assert record.status is JobStatus.COMPLETED
    assert record.resources == 12 == sum(file.count for file in house.files())
    assert record.bytes == sum(file.raw_bytes for file in house.files())
    assert record.carried == record.totals  # all that was there has been looked at
    percents = [each.progress for each in seen]
    assert percents == sorted(percents)
    assert percents[-2:] == [99, 100]
    assert len(set(percents)) > 4


def test_b74_where_nothing_is_left_there_is_no_file_and_the_commits_go_on(house: House) -> None:
    patients(house, "m" * 9)
    house.kick_off(FEMALE, page_resources=2, pages_per_commit=2)
    record = house.run()
    assert (record.status, record.progress, record.resources) == (JobStatus.COMPLETED, 100, 0)
    assert house.files() == []
    moved = [p.continuation for saved in house.jobs.saved for p in house.jobs.partitions(saved.id)]
    assert house.jobs.partitions("job0")[0].done, moved
    assert [saved.progress for saved in house.jobs.saved if 0 < saved.progress < 99] != []


def test_a_resumed_job_goes_on_behind_what_was_filtered_out(house: House) -> None:
    patients(house, "mmmmmmff")
    house.kick_off(FEMALE, page_resources=1, pages_per_commit=2)
    with raising_at(house, 5, TransientError("away")):
        assert house.run().status is JobStatus.RETRIABLE
    reads = len(house.source.reads)
    house.clock.advance(3600)
    assert house.run().status is JobStatus.COMPLETED
    assert len(house.source.reads) - reads == 4  # from the fifth on: what was committed is not read again
    assert house.ids() == "67"


def test_l24_file_sizes_count_what_is_written(house: House) -> None:
    patients(house, "fmmmmmmmmm" * 30)
    house.kick_off(FEMALE, max_file_size=2000, page_resources=5)
    house.run()
    assert sum(file.count for file in house.files()) == 30
    assert max(file.raw_bytes for file in house.files()) <= 2000


def test_resources_that_grow_by_being_marked_keep_to_the_file_size(house: House) -> None:
    patients(house, "f" * 40)
    house.kick_off(ExportRequest(elements=("Patient.gender", "Patient.name")), max_file_size=1000)
    house.run()
    assert sum(file.count for file in house.files()) == 40
    assert max(file.raw_bytes for file in house.files()) <= 1000
    house.kick_off(ExportRequest(elements=("id",)), max_file_size=1, to="memory://tiny")
    house.run()
    assert [file.count for file in house.files("job1")] == [1] * 40


def test_deletions_are_not_filtered(house: House) -> None:
    patients(house, "fm")
    since = house.source.snapshot("x")
    house.clock.advance(10)
    house.source.delete("Patient", "1")
    house.kick_off(msgspec.structs.replace(FEMALE, since=since))
    house.run()
    (file,) = house.files(kind=Kind.DELETED)
    assert b"Patient/1" in house.raw(file)


def test_l34_a_damaged_line_goes_to_the_error_file_not_out(house: House) -> None:
    patients(house, "fff")
    house.source._versions[1].body = b'{"resourceType":"Patient","id":"1","gender":"female"'
    house.kick_off(FEMALE)
    record = house.run()
    assert (record.status, record.issue_count) == (JobStatus.COMPLETED, 1)
    assert house.ids() == "02"
    assert "Patient/1" in record.issues[0].diagnostics


def test_b50_what_is_passed_over_is_told_once_whatever_happens(house: House) -> None:
    patients(house, "fm")
    lenient = ExportRequest(types=("Patient",), elements=("Patient.nmae",), handling="lenient")
    house.kick_off(lenient, page_resources=1, pages_per_commit=1)
    with raising_at(house, 1, TransientError("away")):
        assert house.run().status is JobStatus.RETRIABLE
    house.clock.advance(3600)
    record = house.run()
    assert (record.status, record.issue_count) == (JobStatus.COMPLETED, 1)
    (file,) = house.files(kind=Kind.ERROR)
    assert b'"severity":"warning"' in house.raw(file)
    assert b"nmae" in house.raw(file)
    assert house.ids() == "01"
    house.kick_off(msgspec.structs.replace(lenient, types=("Device",)), to="memory://empty")
    assert house.run().issue_count == 1  # also where there is nothing to export


def test_promise_1_planning_that_fails_behind_the_notes_is_taken_up_from_its_start(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients(house, "fm")
    house.kick_off(ExportRequest(types=("Patient",), elements=("nmae",), handling="lenient"))
    cut = house.source.partitions

    def away(*_: Any, **__: Any) -> Any:
        raise TransientError("away")

    monkeypatch.setattr(house.source, "partitions", away)
    assert house.run().status is JobStatus.RETRIABLE
    assert [p.plan.kind for p in house.jobs.partitions("job0")] == [Kind.ERROR]
    monkeypatch.setattr(house.source, "partitions", cut)
    house.clock.advance(3600)
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "01"


def test_verify_compares_with_what_was_asked_for(house: House) -> None:
    patients(house, "fmf")
    request = msgspec.structs.replace(FEMALE, elements=("Patient.gender",))
    house.kick_off(request)
    house.run()
    report = verify(house.place(), against=house.source)
    assert (report.outcome, report.compared, report.findings) == (Outcome.HOLDS, 2, ())
    house.source._versions[2].body = b'{"resourceType":"Patient","id":"2","gender":"male"}'
    assert verify(house.place(), against=house.source).counts == {FindingKind.EXTRA: 1}


# A second opinion: every resource of the store, decoded whole and judged by a few lines written for these cases alone.

CODES = ("a", "b", "c")
KEPT = {
    "Patient": {
        "resourceType",
        "id",
        "meta",
        "implicitRules",
        "modifierExtension",
        "active",
        "deceasedBoolean",
        "link",
    },
    "Observation": {"resourceType", "id", "meta", "implicitRules", "modifierExtension", "status", "code"},
}
CHOICES = {"value": {"valueString", "valueInteger"}}


def _codes(resource: Any) -> list[Any]:
    return resource.get("code", {}).get("coding", [])


FILTERS: dict[str, Any] = {
    "Observation?status=final": lambda r: r.get("status") == "final",
    "Observation?status:not=final": lambda r: r.get("status") != "final",
    "Observation?code=a,s|b": lambda r: any(
        c["code"] == "a" or (c["code"], c.get("system")) == ("b", "s") for c in _codes(r)
    ),
    "Observation?code=|c": lambda r: any(c["code"] == "c" and "system" not in c for c in _codes(r)),
    "Observation?code:missing=true&status=final": lambda r: not _codes(r) and r.get("status") == "final",
    "Observation?subject=Patient/1": lambda r: r.get("subject", {}).get("reference") == "Patient/1",
    "Observation?date=ge2020": lambda r: r.get("effectiveDateTime", "") >= "2020",
    "Patient?gender=female": lambda r: r.get("gender") == "female",
    "Patient?_id=1,3": lambda r: r["id"] in ("1", "3"),
    "Patient?active:missing=false": lambda r: "active" in r,
}
ELEMENTS = ("id", "name", "Patient.active", "Patient.gender", "Observation.value", "Observation.subject", "status")

codings = st.fixed_dictionaries({"code": st.sampled_from(CODES)}, optional={"system": st.sampled_from("st")})
observations = st.fixed_dictionaries(
    {"resourceType": st.just("Observation")},
    optional={
        "status": st.sampled_from(["final", "preliminary"]),
        "code": st.fixed_dictionaries({"coding": st.lists(codings, min_size=1, max_size=2)}),
        "subject": st.fixed_dictionaries({"reference": st.sampled_from(["Patient/1", "Patient/2"])}),
        "effectiveDateTime": st.sampled_from(["2019-12-31", "2020", "2021-05-05T10:00:00Z"]),
        "valueString": st.text(max_size=5),
    },
)
people = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={"active": st.booleans(), "gender": st.sampled_from(["male", "female"]), "name": st.just([{"text": "é"}])},
)
requests = st.builds(
    lambda filters, elements: ExportRequest(
        types=("Observation", "Patient"), type_filters=tuple(filters), elements=tuple(elements)
    ),
    st.lists(st.sampled_from(list(FILTERS)), max_size=4),
    st.lists(st.sampled_from(ELEMENTS), max_size=3),
)


def naive(resource: Any, request: ExportRequest) -> Any:
    """What is to come of a resource; None for nothing."""
    kind = resource["resourceType"]
    filters = [FILTERS[text] for text in request.type_filters if text.startswith(kind)]
    if filters and not any(one(resource) for one in filters):
        return None
    asked = {text.rpartition(".")[2] for text in request.elements if "." not in text or text.startswith(kind)}
    if not asked:
        return resource
    keep = KEPT[kind] | asked | set().union(*(CHOICES.get(name, set()) for name in asked))
    left = {name: value for name, value in resource.items() if name in keep}
    tag = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    return {**left, "meta": {**left["meta"], "tag": [tag]}}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(observations | people, max_size=25),
    requests,
    st.integers(1, 7),
    st.sampled_from([300, 1500, 1_000_000]),
)
def test_every_selection_is_what_a_naive_look_at_each_resource_gives(
    resources: list[Any], request: ExportRequest, page: int, file_size: int
) -> None:
    house = House()
    for number, resource in enumerate(resources):
        house.source.put(json.dumps({**resource, "id": str(number)}).encode())
    stored = [json.loads(house.source.get(r["resourceType"], str(n)) or b"") for n, r in enumerate(resources)]
    wanted = [left for resource in stored if (left := naive(resource, request)) is not None]

    way = {"source": "memory://s", "destination": "memory://d"}
    with contextlib.closing(Exporter(ledger=house.jobs, connections=house.connections, executor="inline")) as exporter:
        job = exporter.start(request, **way, settings=JobSettings(page_resources=page, max_file_size=file_size))
        record = exporter.worker().run_job(job.id)
    assert record.status is JobStatus.COMPLETED
    got = [json.loads(line) for file in house.files(job.id) for line in house.raw(file).splitlines()]
    assert sorted(got, key=lambda r: int(r["id"])) == wanted
    assert record.resources == len(wanted)
    report = verify(house.place(), against=house.source)
    assert (report.outcome, report.compared) == (Outcome.HOLDS, len(wanted))
