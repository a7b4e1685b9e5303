"""The last files of a job: written once, by whoever gets there, and never over another export's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fhirferry.bulkdata.manifest import read_manifest
from fhirferry.destinations.folder import FolderDestination
from fhirferry.engine.cleanup import clean
from fhirferry.engine.publishing import MANIFEST, SUMS, finish
from fhirferry.engine.verify import verify
from fhirferry.engine.verify_findings import Outcome
from fhirferry.importing.inputs import Role, find_inputs
from fhirferry.model.errors import FerryError
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.partition import Issue
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House


def sealed(job_id: str) -> ExportJobRecord:
    return ExportJobRecord(
        id=job_id,
        request=ExportRequest(),
        requestor="",
        hash="h",
        source_uri="sqlite:///s",
        destination_uri="file:///d",
        queued_time=1,
        transaction_time=2,
        sealed=True,
    )


def test_whoever_repeats_it_writes_the_same_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = FolderDestination(str(tmp_path))
    folder.prepare("aa")
    finish(folder, sealed("aa"), [])
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in first} == {MANIFEST, SUMS, "job"}
    finish(folder, sealed("aa"), [])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


def test_l15_s60_a_late_finisher_of_a_deleted_job_cannot_touch_the_next_exports_manifest(tmp_path: Path) -> None:
    folder = FolderDestination(str(tmp_path))
    folder.prepare("aa")
    finish(folder, sealed("aa"), [])
    folder.sweep("aa", frozenset())
    folder.forget("aa", [MANIFEST, SUMS])
    folder.prepare("bb")
    finish(folder, sealed("bb"), [])
    theirs = (tmp_path / MANIFEST).read_bytes()
    with pytest.raises(FerryError):
        finish(folder, sealed("aa"), [])
    assert (tmp_path / MANIFEST).read_bytes() == theirs


LAID_OUT = {
    "": "Encounter-1.ndjson Encounter-2.ndjson",
    "<resourcename>": "Encounter/Encounter-1.ndjson Encounter/Encounter-2.ndjson",
    "data/<resourcename>/x": "data/Encounter/x/Encounter-1.ndjson data/Encounter/x/Encounter-2.ndjson",
}


@pytest.mark.parametrize("layout", LAID_OUT)
def test_s65_an_export_in_folders_is_published_verified_read_and_removed(
    house: House, tmp_path: Path, layout: str
) -> None:
    house.fill(3)
    since = house.clock()
    house.clock.advance(1)
    house.source.delete("Patient", "0")
    house.fill(2, "Encounter")
    house.source.issues[b'"id":"1"'] = Issue(diagnostics="Encounter/9 cannot be read")
    folder = FolderDestination(tmp_path / "out")
    house.places["file://out"] = folder  # type: ignore[assignment]
    request = ExportRequest(since=since)
    house.kick_off(request, to="file://out", layout=layout, page_resources=1, pages_per_commit=1)
    assert house.run().status is JobStatus.COMPLETED
    names = [*LAID_OUT[layout].split(), "deleted/Bundle-1.ndjson", "error/OperationOutcome-1.ndjson"]
    items = read_manifest(b"".join(folder.read(MANIFEST))).items
    assert [item.url for item in items] == names
    assert all(item.name == item.url and folder.stat(item.url) for item in items)
    assert verify(folder).outcome is Outcome.HOLDS
    inputs = [(str(each.path.relative_to(folder.path)), each.role) for each in find_inputs([Path(folder.path)])]
    assert inputs == [*((name, Role.OUTPUT) for name in names[:2]), (names[2], Role.DELETED)]
    house.jobs.delete("job0", keep_files=False)
    (record,) = house.jobs.acquire_cleanup(1, lease=60.0)
    assert clean(record, house.jobs, house.connections) is None
    assert os.listdir(folder.path) == []
