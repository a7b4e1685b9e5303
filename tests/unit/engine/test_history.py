"""Earlier versions of what an export holds: in files of their own, the same after a crash, proven by verify."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirferry.bulkdata.manifest import manifest, read_manifest
from fhirferry.engine.verify import verify
from fhirferry.engine.verify_findings import FindingKind, Outcome
from fhirferry.model.errors import StoreBusy
from fhirferry.model.instant import DAY, format_instant
from fhirferry.model.job import JobStatus
from fhirferry.model.partition import Kind
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House, raising_at

FINE = {"page_resources": 1, "pages_per_commit": 1, "unit_attempts": 1}


def put(house: House, kind: str, ident: str, value: int, **content: Any) -> None:
    house.clock.advance(1)
    body = {"resourceType": kind, "id": ident, "value": value, **content}
    house.source.put(json.dumps(body, separators=(",", ":")).encode())


def fill(house: House) -> None:
    """Three versions of each, the last of one a deletion."""
    for value in range(3):
        for ident in "ab":
            put(house, "Patient", ident, value, active=value != 1, gender="female")
            put(house, "Observation", ident, value, subject={"reference": "Practitioner/x"})
    house.source.delete("Observation", "b")
    put(house, "Practitioner", "x", 0)
    put(house, "Practitioner", "x", 1)


def asked(**more: Any) -> ExportRequest:
    return ExportRequest(include_associated_data=("_history",), **more)


def values(house: House, kind: Kind, job: str = "job0", to: str = "memory://d") -> list[tuple[str, int]]:
    lines = [json.loads(each) for file in house.files(job, kind) for each in house.raw(file, to).splitlines()]
    return sorted((f"{line['resourceType']}/{line['id']}", line["value"]) for line in lines)


FORMER = [
    *(("Observation/a", value) for value in (0, 1)),
    *(("Observation/b", value) for value in (0, 1, 2)),
    *(("Patient/a", value) for value in (0, 1)),
    *(("Patient/b", value) for value in (0, 1)),
    ("Practitioner/x", 0),
]


def test_b96_versions_lie_in_files_of_their_own(house: House) -> None:
    fill(house)
    job = house.kick_off(asked())
    done = house.task().run()
    assert done.status is JobStatus.COMPLETED
    assert values(house, Kind.HISTORY) == FORMER
    assert values(house, Kind.OUTPUT) == [
        ("Observation/a", 2),
        ("Patient/a", 2),
        ("Patient/b", 2),
        ("Practitioner/x", 1),
    ]
    assert done.resources == 4, "what is told of the export is what T shows"
    files = list(house.jobs.files("job0"))
    names = {(file.kind, file.name) for file in files}
    assert (Kind.HISTORY, "history/Patient-1.ndjson") in names
    assert (Kind.OUTPUT, "Patient-1.ndjson") in names
    said = json.loads(manifest(done, files))
    assert list(said) == [
        "transactionTime",
        "request",
        "requiresAccessToken",
        "output",
        "deleted",
        "error",
        "extension",
    ]
    urls = [(item["url"], item["extension"].get("history", False)) for item in said["output"]]
    assert urls == sorted(urls, key=lambda each: each[1]), "behind the others"
    assert all(told == url.startswith("history/") for url, told in urls)
    read = read_manifest(manifest(done, files))
    assert {(item.kind, item.name) for item in read.items} == names
    assert (read.history_after, done.history_after) == (0, 0)
    report = verify(house.place(), against=house.source)
    assert (report.outcome, report.resources, report.versions) == (Outcome.HOLDS, 4, len(FORMER))
    assert job.id == "job0"


def test_filters_and_elements_apply_to_each_version(house: House) -> None:
    fill(house)
    filters = ("Patient?active=false",)
    house.kick_off(asked(types=("Patient",), type_filters=filters, elements=("active",)), min_file_size=1000)
    house.task().run()
    assert house.files("job0", Kind.OUTPUT) == []
    lines = [json.loads(x) for file in house.files("job0", Kind.HISTORY) for x in house.raw(file).splitlines()]
    assert [(line["id"], line["active"], "gender" in line, line["meta"]["tag"][0]["code"]) for line in lines] == [
        (ident, False, False, "SUBSETTED") for ident in "ab"
    ]
    assert verify(house.place(), against=house.source).outcome is Outcome.HOLDS


def test_superseded_versions_name_nothing_for_the_next_round(house: House) -> None:
    put(house, "Observation", "a", 0, subject={"reference": "Practitioner/old"})
    put(house, "Observation", "a", 1, subject={"reference": "Practitioner/new"})
    for ident in ("old", "new"):
        put(house, "Practitioner", ident, 0)
    house.kick_off(asked(types=("Observation",), include_referenced=("Practitioner",)))
    house.task().run()
    assert values(house, Kind.OUTPUT) == [("Observation/a", 1), ("Practitioner/new", 0)]


def test_promise_1_the_same_after_a_crash_and_a_pruning(house: House) -> None:
    fill(house)
    house.kick_off(asked(), failure_threshold=99, **FINE)
    runs = 0
    while True:
        runs += 1
        with raising_at(house, len(house.source.reads) + 2, StoreBusy("busy")):
            done = house.task().run()
        if done.status is JobStatus.COMPLETED:
            break
        assert runs < 40
        put(house, "Patient", "a", 100 + runs)
        house.source.prune()
        house.clock.advance(3600)
    assert runs > 3
    assert values(house, Kind.HISTORY) == FORMER
    assert house.files("job0", Kind.ERROR) == []
    assert verify(house.place(), against=house.source).outcome is Outcome.HOLDS


def test_what_was_pruned_before_is_told_once(house: House) -> None:
    fill(house)
    house.source.prune()
    put(house, "Patient", "a", 3)
    house.kick_off(asked(), **FINE)
    with raising_at(house, 3, StoreBusy("busy")):
        house.task().run()
    house.clock.advance(3600)
    done = house.task().run()
    assert values(house, Kind.HISTORY) == [("Patient/a", 2)]
    assert (done.status, done.issue_count) == (JobStatus.COMPLETED, 1)
    assert done.history_after is not None
    assert format_instant(done.history_after) in done.issues[0].diagnostics
    report = verify(house.place(), against=house.source)
    assert report.outcome is Outcome.HOLDS, "it is compared with what the export could have"


@pytest.mark.parametrize("read", [0, 4], ids=["before any is planned", "on the way"])
def test_a_job_whose_history_was_pruned_fails_rather_than_bring_less(house: House, read: int) -> None:
    fill(house)
    house.kick_off(asked(), **FINE)
    with raising_at(house, read, StoreBusy("busy")):
        assert house.task().run().status is JobStatus.RETRIABLE
    house.clock.advance(2 * DAY // 1_000_000)
    house.source.renew("another", house.jobs.saved[-1].transaction_time or 0)
    house.source.prune()  # the job's pin lapsed; its T is another's too
    done = house.task().run()
    assert done.status is JobStatus.FAILED
    assert done.failure is not None
    assert "pruned" in done.failure.reason


def test_verify_sees_what_is_wrong_with_versions(house: House) -> None:
    fill(house)
    house.kick_off(asked())
    done = house.task().run()
    place = house.place()
    (file,) = [each for each in house.files("job0", Kind.HISTORY) if each.type == "Patient"]
    lines = house.raw(file).splitlines(keepends=True)
    kinds = (FindingKind.DOUBLED, FindingKind.MISSING, FindingKind.EXTRA)
    for changed, *counts in (
        ([*lines, lines[0]], 1, 0, 0),
        (lines[1:], 0, 1, 0),
        ([lines[0].replace(b'"female"', b'"femail"'), *lines[1:]], 0, 1, 1),
    ):
        place._files[file.name] = b"".join(changed), house.clock()
        report = verify(place, against=house.source)
        assert [report.counts.get(kind, 0) for kind in kinds] == counts
    place._files[file.name] = b"".join(lines), house.clock()
    assert verify(place, against=house.source).outcome is Outcome.HOLDS
    house.source.release("job0")
    house.source.renew("another", done.transaction_time or 0)
    house.source.prune()
    report = verify(place, against=house.source)
    assert (report.outcome, set(report.counts)) == (Outcome.CANNOT_TELL, {FindingKind.UNCHECKED})
