"""S32: the data validator finds and names every kind of damage, and nothing in a clean export."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from fhirferry.bulkdata.manifest import manifest, sha256sums
from fhirferry.destinations.memory import MemoryDestination
from fhirferry.engine import packer, verify_file
from fhirferry.engine.verify import verify
from fhirferry.engine.verify_findings import Finding, FindingKind, Outcome, Step, VerifyReport
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import parse_instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind
from fhirferry.model.request import ExportRequest

K = FindingKind
T = parse_instant("2026-11-22T08:30:00.123Z")
Lists = dict[str, bytes]


def resource(key: str, more: str = "") -> bytes:
    resource_type, _, name = key.partition("/")
    meta = '"meta":{"versionId":"1","lastUpdated":"2026-11-22T08:30:00.123Z"}'
    return f'{{"resourceType":"{resource_type}","id":"{name}",{meta},"value":1.50{more}}}\n'.encode()


def bundle(*keys: str) -> bytes:
    entry = [{"request": {"method": "DELETE", "url": key}} for key in keys]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode() + b"\n"


OUTCOME = b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing"}]}\n'
CLEAN: Lists = {
    "Patient-1.ndjson": resource("Patient/a") + resource("Patient/b"),
    "Patient-2.ndjson": resource("Patient/c", ',"name":"Jürg 雪 🚢"'),
    "Observation-1.ndjson": resource("Observation/a") + resource("Observation/b"),
    "deleted/Bundle-1.ndjson": bundle("Patient/x", "Patient/y") + bundle("Observation/x"),
    "error/OperationOutcome-1.ndjson": OUTCOME,
}


def export(files: Lists, *, packed: bool = False, since: int | None = 5) -> MemoryDestination:
    """A finished export of these files, manifest and sums true to them."""
    destination = MemoryDestination()
    destination.prepare("job-1")
    listed = []
    for number, (name, raw) in enumerate(files.items()):
        data = gzip.compress(raw[:40]) + gzip.compress(raw[40:]) if packed else raw
        kind = {"deleted": Kind.DELETED, "error": Kind.ERROR}.get(name.split("/")[0], Kind.OUTPUT)
        name = name + ".gz" if packed else name
        destination.put("job-1", name, data)
        listed.append(
            OutputFile(
                kind=kind,
                type=name.rpartition("/")[2].split("-")[0],
                part="p",
                name=name,
                sequence=number,
                count=len(raw.removesuffix(b"\n").split(b"\n")),
                bytes=len(data),
                raw_bytes=len(raw),
                sha256=hashlib.sha256(data).hexdigest(),
                partition=0,
            )
        )
    record = ExportJobRecord(
        id="job-1", request=ExportRequest(since=since), requestor="me", hash="h", source_uri="memory://s",
        destination_uri="memory://d", queued_time=1, transaction_time=T, sealed=True,
    )  # fmt: skip
    data = manifest(record, listed)
    destination.put("job-1", "SHA256SUMS", sha256sums(listed, data))
    destination.put("job-1", "manifest.json", data)
    return destination


def with_file(name: str, data: bytes) -> Lists:
    return {**CLEAN, name: data}


def places(report: VerifyReport) -> list[tuple[FindingKind, str, int, str]]:
    return [(f.kind, f.file, f.line, f.key) for f in report.findings]


@pytest.mark.parametrize("packed", [False, True])
def test_s32_a_clean_export_holds(packed: bool) -> None:
    report = verify(export(CLEAN, packed=packed))
    assert (report.outcome, report.counts, report.findings) == (Outcome.HOLDS, {}, ())
    assert (report.job, report.transaction_time, report.compared) == ("job-1", T, None)
    assert (report.files, report.resources, report.deletions, report.issues) == (5, 5, 3, 1)
    assert report.raw_bytes == sum(map(len, CLEAN.values()))
    assert (report.bytes == report.raw_bytes) is not packed


def test_s32_an_export_of_nothing_holds() -> None:
    report = verify(export({}))
    assert (report.outcome, report.files, report.resources) == (Outcome.HOLDS, 0, 0)


GOOD = resource("Patient/g")
LINES = {
    "blank line": (GOOD + b"\n" + resource("Patient/h"), K.BLANK_LINE, 2, ""),
    "blanks only": (GOOD + b" \t\n" + resource("Patient/h"), K.BLANK_LINE, 2, ""),
    "blank last line": (GOOD + b"\n", K.BLANK_LINE, 2, ""),
    "two objects in a line": (GOOD + GOOD[:-1] + resource("Patient/h"), K.MALFORMED, 2, ""),
    "an object over two lines": (GOOD.replace(b",", b",\n", 1), K.MALFORMED, 1, ""),
    "an array": (b"[]\n", K.MALFORMED, 1, ""),
    "null": (b"null\n", K.MALFORMED, 1, ""),
    "cut off inside": (GOOD + GOOD[:20] + b"\n" + resource("Patient/h"), K.MALFORMED, 2, ""),
    "wrong number": (GOOD.replace(b"1.50", b"01.5"), K.MALFORMED, 1, ""),
    "control character": (GOOD.replace(b"1.50", b'"a\x01"'), K.MALFORMED, 1, ""),
    "not UTF-8, in a value": (resource("Patient/h") + GOOD.replace(b"1.50", b'"\xff"'), K.MALFORMED, 2, ""),
    "not UTF-8, in the id": (resource("Patient/h") + GOOD.replace(b'"g"', b'"\xc3("'), K.MALFORMED, 2, ""),
    "UTF-8 cut by the newline": (GOOD.replace(b"1.50}", b'"\xc3'), K.MALFORMED, 1, ""),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, K.MALFORMED, 1, ""),
    "CRLF": (resource("Patient/h") + GOOD.replace(b"\n", b"\r\n"), K.LINE_END, 2, ""),
    "CR inside": (GOOD.replace(b",", b",\r", 1), K.LINE_END, 1, ""),
    "no newline at the end": (resource("Patient/h") + GOOD[:-1], K.LINE_END, 2, ""),
    "wrong type": (GOOD + resource("Practitioner/h"), K.WRONG_TYPE, 2, ""),
    "no type": (b'{"id":"g"}\n', K.WRONG_TYPE, 1, ""),
    "no id": (GOOD + b'{"resourceType":"Patient"}\n', K.NO_ID, 2, ""),
    "an id that is no string": (b'{"resourceType":"Patient","id":5}\n', K.MALFORMED, 1, ""),
    "newer than T": (GOOD.replace(b"30:00.123Z", b"30:00.124Z"), K.NEWER, 1, "Patient/g"),
    "newer by less than a microsecond": (GOOD.replace(b"00.123Z", b"00.1230000001Z"), K.NEWER, 1, "Patient/g"),
    "newer in another zone": (GOOD.replace(b"08:30:00.123Z", b"04:30:00.124-04:00"), K.NEWER, 1, "Patient/g"),
    "doubled in the file": (GOOD + resource("Patient/h") + GOOD, K.DOUBLED, 3, "Patient/g"),
    "doubled in another file": (GOOD + resource("Patient/b", ',"x":1'), K.DOUBLED, 2, "Patient/b"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", LINES)
def test_s32_a_damaged_line_is_found_and_named(case: str, packed: bool) -> None:
    data, kind, line, key = LINES[case]
    report = verify(export(with_file("Patient-3.ndjson", data), packed=packed))
    assert places(report)[0] == (kind, "Patient-3.ndjson" + ".gz" * packed, line, key)
    assert set(report.counts) == {kind}
    assert report.outcome is Outcome.DIFFERS


@pytest.mark.parametrize(
    "updated", ["2026-11-22T08:30:00.123000Z", "2026-11-22T10:30:00.123+02:00", "2025-01-01T00:00:00Z", "soon", ""]
)
def test_s32_what_is_not_newer_passes(updated: str) -> None:
    line = GOOD.replace(b"2026-11-22T08:30:00.123Z", updated.encode())
    assert verify(export(with_file("Patient-3.ndjson", line))).outcome is Outcome.HOLDS


def test_a_resource_with_blanks_around_it_or_without_meta_holds() -> None:
    lines = b'  {"id":"g" ,\t"resourceType":"Patient"} \n{"resourceType":"Patient","id":"h","meta":{}}\n'
    assert verify(export(with_file("Patient-3.ndjson", lines))).outcome is Outcome.HOLDS


DELETIONS = {
    "not a transaction": bundle("Patient/z").replace(b"transaction", b"batch"),
    "no entry": bundle(),
    "no request": b'{"resourceType":"Bundle","type":"transaction","entry":[{}]}\n',
    "not a DELETE": bundle("Patient/z").replace(b"DELETE", b"PUT"),
    "no id": bundle("Patient/"),
    "a search": bundle("Patient?name=x"),
    "a search below a type": bundle("Patient/z?x=1"),
}


@pytest.mark.parametrize("case", DELETIONS)
def test_b82_deletions_that_are_no_transaction_of_deletes_are_found(case: str) -> None:
    report = verify(export(with_file("deleted/Bundle-2.ndjson", bundle("Patient/q") + DELETIONS[case])))
    assert places(report) == [(K.MALFORMED, "deleted/Bundle-2.ndjson", 2, "")]


def test_b83_a_resource_both_deleted_and_exported_is_found() -> None:
    report = verify(export(with_file("deleted/Bundle-2.ndjson", bundle("Patient/q", "Patient/b"))))
    assert places(report) == [(K.DELETED_AND_PRESENT, "Patient-1.ndjson", 2, "Patient/b")]
    assert report.findings[0].message == "also deleted in deleted/Bundle-2.ndjson, line 1"


def test_a_deletion_listed_twice_and_a_wrong_line_among_the_outcomes_are_found() -> None:
    files = with_file("deleted/Bundle-2.ndjson", bundle("Patient/y"))
    report = verify(export({**files, "error/OperationOutcome-2.ndjson": OUTCOME + GOOD}))
    assert places(report) == [
        (K.WRONG_TYPE, "error/OperationOutcome-2.ndjson", 2, ""),
        (K.DOUBLED, "deleted/Bundle-2.ndjson", 1, "Patient/y"),
    ]


def read(destination: MemoryDestination, name: str) -> bytes:
    return b"".join(destination.read(name))


def flip(data: bytes) -> bytes:
    return data.replace(b"1.50", b"1.51", 1)


FILE_DAMAGE: dict[str, tuple[Callable[[bytes], bytes], set[FindingKind]]] = {
    "a digit changed": (flip, {K.CHECKSUM}),
    "a line lost": (lambda data: data[: data.index(b"\n") + 1], {K.CHECKSUM, K.SIZE, K.COUNT}),
    "cut off": (lambda data: data[:-5], {K.CHECKSUM, K.SIZE, K.LINE_END, K.MALFORMED}),
    "a line more": (lambda data: data + GOOD, {K.CHECKSUM, K.SIZE, K.COUNT}),
    "emptied": (lambda data: b"", {K.CHECKSUM, K.SIZE, K.COUNT}),
}


@pytest.mark.parametrize("case", FILE_DAMAGE)
def test_s32_a_file_changed_after_the_export_is_found(case: str) -> None:
    damage, kinds = FILE_DAMAGE[case]
    destination = export(CLEAN)
    destination.put("job-1", "Patient-1.ndjson", damage(read(destination, "Patient-1.ndjson")))
    report = verify(destination)
    assert set(report.counts) == kinds
    assert {f.file for f in report.findings} == {"Patient-1.ndjson"}


@pytest.mark.parametrize("where", [0.2, 0.5, 0.95, 1.0])
def test_s32_packed_files_that_are_cut_off_or_wrong_inside_are_found(where: float) -> None:
    name = "Observation-1.ndjson.gz"
    destination = export(CLEAN, packed=True)
    data = read(destination, name)
    cut = min(int(len(data) * where), len(data) - 1)
    destination.put("job-1", name, data[:cut])
    assert {K.COMPRESSION, K.CHECKSUM, K.SIZE} <= set(verify(destination).counts)
    destination.put("job-1", name, data[:cut] + bytes([data[cut] ^ 0x10]) + data[cut + 1 :])
    report = verify(destination)
    assert K.CHECKSUM in report.counts
    assert {f.file for f in report.findings} == {name}
    assert report.bytes == sum(stored.bytes for stored in destination.list() if ".gz" in stored.name)


@pytest.mark.parametrize(("members", "said"), [(2, "cut off between two members"), (1.5, "cut off")])
def test_s32_a_packed_file_that_is_cut_off_is_one_finding_with_the_lines_that_are_whole(
    monkeypatch: pytest.MonkeyPatch, members: float, said: str
) -> None:
    monkeypatch.setattr(packer, "MEMBER", 1)
    pages = packer.Packer()
    parts = [pages.compress(resource(f"Patient/{n}")) for n in range(4)]
    destination = export(CLEAN, packed=True)
    whole, rest = divmod(members, 1)
    cut = b"".join(parts[: int(whole)]) + parts[int(whole)][: int(rest * 30)]
    destination.put("job-1", "Patient-1.ndjson.gz", cut)
    report = verify(destination)
    finding = next(f for f in report.findings if f.kind is K.COMPRESSION)
    assert (finding.line, finding.message) == (whole + 1, f"the gzip data is {said}; whole lines before: {whole:.0f}")
    assert report.resources == 3 + whole
    assert {K.SIZE, K.CHECKSUM} < report.counts.keys()


def test_s32_the_checksum_is_of_the_whole_file_also_when_its_beginning_is_damaged() -> None:
    noise = random.Random(1).randbytes(2_000_000).hex()
    destination = export(with_file("Patient-3.ndjson", resource("Patient/n", f',"data":"{noise}"')), packed=True)
    data = read(destination, "Patient-3.ndjson.gz")
    assert len(data) > 2 << 20
    destination.put("job-1", "Patient-3.ndjson.gz", data[:2] + b"\0" + data[3:])
    report = verify(destination)
    assert report.counts.keys() == {K.COMPRESSION, K.CHECKSUM, K.COUNT, K.SIZE}
    assert next(f.message for f in report.findings if f.kind is K.SIZE).endswith("bytes of NDJSON, the file has 0")
    assert report.bytes == sum(stored.bytes for stored in destination.list() if ".gz" in stored.name)


def test_s32_a_large_packed_file_is_read_in_bounded_pieces() -> None:
    lines = b"".join(resource(f"Encounter/{n}") for n in range(20_000))
    report = verify(export(with_file("Encounter-1.ndjson", lines), packed=True))
    assert (report.outcome, report.resources) == (Outcome.HOLDS, 20_005)


def test_files_missing_unlisted_and_left_over_are_found() -> None:
    destination = export(CLEAN)
    destination.delete(["Patient-2.ndjson"])
    for stray in ("Patient-9.ndjson", "deleted/Bundle-7.ndjson.gz", "notes.txt", ".fhirferry/job"):
        destination._files[stray] = (GOOD, 0)
    destination._files[".fhirferry/job-1/Patient-3-token.part"] = (GOOD, 0)
    assert places(verify(destination)) == [
        (K.MISSING_FILE, "Patient-2.ndjson", 0, ""),
        (K.UNLISTED_FILE, "Patient-9.ndjson", 0, ""),
        (K.UNLISTED_FILE, "deleted/Bundle-7.ndjson.gz", 0, ""),
        (K.LEFTOVER, ".fhirferry/job-1/Patient-3-token.part", 0, ""),
    ]


def change_manifest(destination: MemoryDestination, change: Callable[[dict[str, Any]], object]) -> MemoryDestination:
    document = json.loads(read(destination, "manifest.json"))
    change(document)
    destination.put("job-1", "manifest.json", json.dumps(document).encode())
    destination.delete(["SHA256SUMS"])
    return destination


def test_a_wrong_count_a_doubled_item_and_a_name_that_leads_out_are_found() -> None:
    def change(document: dict[str, Any]) -> None:
        document["output"][0]["count"] += 1
        document["output"].append(document["output"][1])
        document["output"].append({"type": "Patient", "url": "../../etc/passwd"})

    found = places(verify(change_manifest(export(CLEAN), change)))
    assert found == [
        (K.MANIFEST, "Patient-1.ndjson", 0, ""),
        (K.MISSING_FILE, "../../etc/passwd", 0, ""),
        (K.COUNT, "Observation-1.ndjson", 0, ""),
    ]


def test_other_servers_exports_hold_without_checksums_and_counts() -> None:
    def change(document: dict[str, Any]) -> None:
        for item in document["output"]:
            del item["extension"], item["count"]
            item["url"] = "https://host/files/" + item["url"]
        del document["deleted"], document["extension"]

    destination = change_manifest(export(CLEAN), change)
    destination.delete(["deleted/Bundle-1.ndjson"])
    report = verify(destination)
    assert (report.outcome, report.resources, report.job) == (Outcome.HOLDS, 5, None)


def test_a_manifest_that_changed_or_cannot_be_read_is_found() -> None:
    destination = export(CLEAN)
    good = read(destination, "manifest.json")
    destination.put("job-1", "manifest.json", good + b" ")
    assert places(verify(destination)) == [(K.CHECKSUM, "manifest.json", 0, "")]
    destination.put("job-1", "manifest.json", good[:-9])
    report = verify(destination)
    assert set(report.counts) == {K.CHECKSUM, K.MANIFEST}
    assert (report.outcome, report.transaction_time) == (Outcome.DIFFERS, None)


def test_without_a_manifest_there_is_nothing_to_verify() -> None:
    destination = export(CLEAN)
    destination.delete(["manifest.json"])
    with pytest.raises(RequestError, match=r"no manifest\.json"):
        verify(destination)


def test_sums_that_disagree_are_found() -> None:
    destination = export(CLEAN)
    lines = read(destination, "SHA256SUMS").splitlines(keepends=True)
    wrong = [b"0" * 64 + b"  Patient-9.ndjson\n", b"rubbish\n", b"0" * 64 + lines[0][64:], *lines[2:]]
    destination.put("job-1", "SHA256SUMS", b"".join(wrong))
    assert places(verify(destination)) == [
        (K.CHECKSUM, "SHA256SUMS", 2, ""),
        (K.CHECKSUM, "Observation-1.ndjson", 0, ""),
        (K.CHECKSUM, "Patient-1.ndjson", 0, ""),
        (K.MANIFEST, "Patient-9.ndjson", 0, ""),
    ]


def test_all_findings_are_counted_the_first_are_named_as_they_come() -> None:
    heard: list[Finding] = []
    done: list[Step] = []
    destination = export(with_file("Patient-3.ndjson", b"\n" * 50))
    report = verify(destination, on_finding=heard.append, on_progress=done.append, max_findings=7)
    assert report.counts == {K.BLANK_LINE: 50}
    assert heard == list(report.findings)
    assert len(heard) == 7


def test_verifying_tells_how_far_it_has_come_with_each_type() -> None:
    done: list[Step] = []
    report = verify(export(CLEAN), on_progress=done.append)
    last = {(step.stage, step.kind, step.type): step for step in done}
    files = [step for step in last.values() if step.stage == "files"]
    assert all(step.done == step.total > 0 for step in files)
    assert sum(step.total for step in files) == report.bytes
    assert sum(step.resources for step in files if step.kind is Kind.OUTPUT) == report.resources
    assert [step.done for step in done[: len(files)]] == [0] * len(files), "what there is to do is told first"
    assert (done[-1].stage, done[-1].done) == ("keys", done[-1].total)
    for name in last:
        moved = [step.done for step in done if (step.stage, step.kind, step.type) == name]
        assert moved == sorted(moved)


def test_no_finding_quotes_a_resource() -> None:
    bad = [
        b'{"secret":"s3cr3t"',
        b'{"resourceType":"s3cr3t person","id":"1"}',
        b'{"id":"1","meta":"s3cr3t"}',
        b"s3cr3t",
    ]
    report = verify(export(with_file("Patient-3.ndjson", b"\n".join(bad) + b"\n")))
    assert sum(report.counts.values()) == len(bad)
    assert "s3cr3t" not in repr(report)


def test_a_line_beyond_all_bounds_is_passed_over_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_file, "LONGEST_LINE", 2 << 20)
    huge = resource("Patient/huge", ',"data":"' + "x" * (5 << 20) + '"')
    large = resource("Patient/large", ',"data":"' + "y" * (1 << 20) + '"')
    report = verify(export(with_file("Patient-3.ndjson", GOOD + huge + GOOD.replace(b'"g"', b'"h"') + large + GOOD)))
    assert places(report) == [
        (K.UNCHECKED, "Patient-3.ndjson", 2, ""),
        (K.DOUBLED, "Patient-3.ndjson", 5, "Patient/g"),
    ]
    report = verify(export(with_file("Patient-3.ndjson", GOOD + huge)))
    assert (report.outcome, report.resources) == (Outcome.CANNOT_TELL, 6)


def test_ids_of_any_length_are_told_apart() -> None:
    long = "i" * 100
    lines = resource(f"Patient/{long}1") + resource(f"Patient/{long}2") + resource(f"Patient/{long}1")
    (found,) = verify(export(with_file("Patient-3.ndjson", lines))).findings
    assert (found.kind, found.line, len(found.key)) == (K.DOUBLED, 3, len("Patient/sha256:") + 64)
