"""Headers of blocks, and manifests of files made of them (B73, B77-B79)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirferry.bulkdata.manifest import manifest, read_manifest
from fhirferry.bulkdata.organised import LONGEST, header, patient_of
from fhirferry.model.errors import RequestError
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import BLOCKS, Kind
from fhirferry.model.request import ExportRequest


def test_b78_a_header_is_a_parameters_resource_that_refers_to_the_patient() -> None:
    line = header("a.b-1")
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "resourceType": "Parameters",
        "parameter": [{"name": "header", "valueReference": {"reference": "Patient/a.b-1"}}],
    }
    assert patient_of(line) == "a.b-1"
    assert len(header("x" * 64)) == LONGEST


def of(reference: str, name: str = "header") -> dict[str, Any]:
    return {"name": name, "valueReference": {"reference": reference}}


@pytest.mark.parametrize(("parameters", "patient"), [
    ([of("https://h/fhir/Patient/x")], "x"),
    ([of("Patient/y", "other"), of("Patient/x")], "x"),
    ([of("Practitioner/x")], None),
    ([of("Patient/")], None),
    ([of("x")], None),
    ([{"name": "header", "valueString": "Patient/x"}], None),
    ([of("Patient/x", "other")], None),
    ([], None),
])  # fmt: skip
def test_b78_headers_of_other_servers_are_read(parameters: list[dict[str, Any]], patient: str | None) -> None:
    line = {"id": "1", "meta": {}, "resourceType": "Parameters", "parameter": parameters}
    assert patient_of(json.dumps(line, indent=1).encode()) == patient


@pytest.mark.parametrize(
    "line", [b"", b"[]", b'{"resourceType":"Patient","id":"x"}', b'{"parameter":7}', b"\xff", b"{"]
)
def test_no_other_line_is_a_header(line: bytes) -> None:
    assert patient_of(line) is None


def listed(number: int, first: str, last: str, kind: Kind = Kind.OUTPUT) -> OutputFile:
    return OutputFile(
        kind=kind, type=BLOCKS, part=f"p{number}", name=f"Patients-{number}.ndjson", sequence=number, count=1, bytes=1,
        raw_bytes=1, sha256="0" * 64, partition=0, patients=(first, last),
    )  # fmt: skip


def document(*files: OutputFile) -> dict[str, Any]:
    request = ExportRequest(level="patient", organize_output_by="Patient")
    record = ExportJobRecord(
        id="j", request=request, requestor="", hash="", source_uri="sqlite:///s", destination_uri="file:///d",
        queued_time=1, transaction_time=1, sealed=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(manifest(record, files))
    return found


def test_b73_b77_b79_files_have_no_type_and_say_where_a_block_goes_on() -> None:
    deletions = OutputFile(
        kind=Kind.DELETED, type="Bundle", part="d", name="deleted/Bundle-1.ndjson", sequence=1, count=1, bytes=1,
        raw_bytes=1, sha256="0" * 64, partition=1,
    )  # fmt: skip
    files = [listed(1, "a", "c"), listed(2, "x", "z"), listed(3, "c", "c"), listed(4, "c", "d"), deletions]
    found = document(*reversed(files))
    assert found["outputOrganizedBy"] == "Patient"
    assert [item.get("continuesInFile") for item in found["output"]] == [
        "Patients-3.ndjson",
        None,
        "Patients-4.ndjson",
        None,
    ]
    assert all("type" not in item for item in found["output"])
    assert found["deleted"][0]["type"] == "Bundle"
    read = read_manifest(json.dumps(found).encode())
    assert read.organised_by == "Patient"
    assert [item.type for item in read.items] == [BLOCKS] * 4 + ["Bundle"]
    assert read.items[0].next_name == "Patients-3.ndjson"
    assert read.items[1].next_name is None


def test_b73_only_organised_output_may_lack_a_type() -> None:
    found = document(listed(1, "a", "a"))
    del found["outputOrganizedBy"]
    with pytest.raises(RequestError, match=r"Patients-1\.ndjson"):
        read_manifest(json.dumps(found).encode())
