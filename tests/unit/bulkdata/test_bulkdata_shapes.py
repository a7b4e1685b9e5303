"""HL7's shapes: kick-off URLs, manifests, outcomes (B26-B33, B64-B88)."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from fhirferry.bulkdata.manifest import manifest, read_manifest, sha256sums
from fhirferry.bulkdata.outcome import operation_outcome
from fhirferry.model.errors import IllegalStep, RequestError
from fhirferry.model.instant import parse_instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Issue, Kind
from fhirferry.model.request import ExportRequest

T = parse_instant("2026-11-22T08:30:00.123Z")


def record(**changes: object) -> ExportJobRecord:
    sealed = ExportJobRecord(
        id="job-1",
        request=ExportRequest(types=("Patient", "Observation")),
        requestor="me",
        hash="h",
        source_uri="sqlite:///data/store.db",
        destination_uri="file:///out",
        queued_time=T - 1,
        status=JobStatus.RUNNING,
        transaction_time=T,
        sealed=True,
    )
    return replace(sealed, **changes)


def file(kind: Kind, type: str, name: str, sequence: int, data: bytes = b"{}\n") -> OutputFile:  # noqa: A002
    digest = hashlib.sha256(data).hexdigest()
    return OutputFile(
        kind=kind, type=type, part="p", name=name, sequence=sequence, count=data.count(b"\n"), bytes=len(data),
        raw_bytes=len(data), sha256=digest, partition=sequence,
    )  # fmt: skip


FILES = [
    file(Kind.OUTPUT, "Observation", "Observation-1.ndjson", 1),
    file(Kind.OUTPUT, "Patient", "Patient-1.ndjson", 1),
    file(Kind.OUTPUT, "Patient", "Patient-2.ndjson", 2),
    file(Kind.OUTPUT, "Patient", "Patient-10.ndjson", 10),
    file(Kind.DELETED, "Bundle", "deleted/Bundle-1.ndjson", 1),
    file(Kind.ERROR, "OperationOutcome", "error/OperationOutcome-1.ndjson", 1),
]


def test_b64_to_b87_manifest_has_the_guides_members() -> None:
    document = json.loads(manifest(record(), FILES))
    assert list(document) == [
        "transactionTime", "request", "requiresAccessToken", "output", "deleted", "error", "extension",
    ]  # fmt: skip
    assert document["transactionTime"] == "2026-11-22T08:30:00.123Z"
    assert document["request"] == "sqlite:///data/store.db/$export?_type=Observation,Patient"
    assert document["requiresAccessToken"] is False
    assert [item["url"] for item in document["output"]] == [f.name for f in FILES[:4]]
    assert document["deleted"][0]["type"] == "Bundle"
    assert document["error"][0]["type"] == "OperationOutcome"
    assert document["extension"] == {"fhirferry": {"job": "job-1"}}
    sha = FILES[0].sha256
    assert document["output"][0]["count"] == 1
    assert document["output"][0]["extension"] == {"sha256": sha, "bytes": 3, "rawBytes": 3}


def test_b71_b84_lists_are_there_when_empty_and_the_text_is_readable() -> None:
    data = manifest(record(), [])
    document = json.loads(data)
    assert (document["output"], document["deleted"], document["error"]) == ([], [], [])
    assert data.startswith(b'{\n  "transactionTime"')
    assert data.endswith(b"}\n")


def test_b69_request_is_the_clients_own_url_where_there_was_one() -> None:
    url = "https://host/fhir/$export?_type=Patient,Observation"
    request = ExportRequest(url=url, types=("Patient", "Observation"))
    assert json.loads(manifest(record(request=request), []))["request"] == url


def test_b66_manifest_depends_on_sealed_facts_only() -> None:
    shuffled = random.Random(4).sample(FILES, len(FILES))
    later = record(status=JobStatus.COMPLETED, end_time=T + 9, version=7, epoch=3, progress=100, holder="x", cleanups=2)
    assert manifest(later, shuffled) == manifest(record(), FILES)
    assert sha256sums(shuffled) == sha256sums(FILES)


@pytest.mark.parametrize("early", [{"sealed": False}, {"transaction_time": None}])
def test_no_manifest_before_the_seal(early: dict[str, object]) -> None:
    with pytest.raises(IllegalStep, match="not sealed"):
        manifest(record(**early), [])


def test_sums_are_what_coreutils_checks(tmp_path: Path) -> None:
    data = manifest(record(), FILES)
    for one in FILES:
        (tmp_path / one.name).parent.mkdir(exist_ok=True)
        (tmp_path / one.name).write_bytes(b"{}\n")
    (tmp_path / "manifest.json").write_bytes(data)
    (tmp_path / "SHA256SUMS").write_bytes(sha256sums(FILES, data))
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == len(FILES) + 1


def test_a_manifest_reads_back() -> None:
    read = read_manifest(manifest(record(), FILES))
    assert (read.transaction_time, read.job, read.requires_access_token) == (T, "job-1", False)
    assert [(i.kind, i.type, i.url, i.count, i.sha256, i.bytes, i.raw_bytes) for i in read.items] == [
        (f.kind, f.type, f.name, f.count, f.sha256, f.bytes, f.raw_bytes) for f in FILES
    ]


def test_other_servers_manifests_are_read_as_far_as_they_go() -> None:
    read = read_manifest(
        b'{"transactionTime":"2026-11-22T09:30:00.123+01:00","request":"https://h/fhir/$export",'
        b'"requiresAccessToken":true,"output":[{"type":"Patient","url":"https://h/f/a%20b/Patient%2D1.ndjson?sig=1"}],'
        b'"extension":[{"url":"x"}],"unknown":1}'
    )
    assert read.transaction_time == T
    assert read.requires_access_token
    assert read.job is None
    (item,) = read.items
    assert (item.name, item.count, item.sha256, item.bytes) == ("Patient-1.ndjson", None, None, None)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a Bulk Data manifest"),
        (b"[]", "Expected `object`"),
        (b'{"output":[]}', "transactionTime"),
        (b'{"transactionTime":"2026-11-22T08:30:00Z"}', "output"),
        (b'{"transactionTime":"yesterday","output":[]}', "not an instant"),
        (b'{"transactionTime":"2026-11-22T08:30:00Z","output":[{"url":"a"}]}', "type"),
        (b'{"transactionTime":"2026-11-22T08:30:00Z","output":[{"type":"A","url":"a","count":"3"}]}', "count"),
        (
            b'{"transactionTime":"2026-11-22T08:30:00Z","output":[{"type":"A","url":"a","extension":{"bytes":"3"}}]}',
            "'a' cannot be read",
        ),
        (b'{"transactionTime":"2026-11-22T08:30:00Z","output":[],"link":[{"relation":"next","url":"n"}]}', "pages"),
        (b'{"transactionTime":"\xff","output":[]}', "not a Bulk Data manifest"),
    ],
)
def test_a_wrong_manifest_is_refused_and_says_why(data: bytes, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        read_manifest(data)


def test_b85_an_issue_is_one_line_of_an_error_file() -> None:
    line = operation_outcome(Issue(code="invalid", diagnostics='Patient/1: a "body"\nthat is no JSON'))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": 'Patient/1: a "body"\nthat is no JSON'}],
    }
