"""The last files of a job: written once, by whoever gets there, and never over another export's."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirferry.destinations.folder import FolderDestination
from fhirferry.engine.publishing import MANIFEST, SUMS, finish
from fhirferry.model.errors import FerryError
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.request import ExportRequest


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
