"""Organised output: files of blocks, each a header and what one patient has; whole also where jobs are cut off."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fhirferry.bulkdata.manifest import MANIFEST, read_manifest
from fhirferry.bulkdata.organised import header, patient_of
from fhirferry.engine.unit import UnitOrder
from fhirferry.engine.verify import verify
from fhirferry.engine.verify_findings import VerifyReport
from fhirferry.model.errors import StoreBusy
from fhirferry.model.job import JobStatus
from fhirferry.model.partition import Kind
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House, Threads, raising_at

PEOPLE = "abcde"
Blocks = dict[str, list[str]]


def put(house: House, name: str, size: int = 0, **content: Any) -> None:
    kind, ident = name.split("/")
    body = {"resourceType": kind, "id": ident, **content, "pad": "x" * size}
    house.source.put(json.dumps(body, separators=(",", ":")).encode())


def of(patient: str) -> dict[str, str]:
    return {"reference": f"Patient/{patient}"}


def ward(house: House) -> None:
    """Each patient has more than the one before; an Observation in two compartments; somebody who is not there."""
    for number, ident in enumerate(PEOPLE):
        for each in range(3 * number):
            put(house, f"Observation/{ident}{each}", 100, subject=of(ident), status=("final", "draft")[each % 2])
        put(house, f"Patient/{ident}", gender="other")
    put(house, "Observation/ab", subject=of("a"), performer=[of("b")], status="final")
    put(house, "Observation/nobody", subject=of("nobody"), status="draft")
    put(house, "Practitioner/p")


def asked(**more: Any) -> ExportRequest:
    return ExportRequest(**{"level": "patient", "organize_output_by": "Patient", **more})


def expected() -> dict[str, set[str]]:
    found = {
        ident: {f"Patient/{ident}", *(f"Observation/{ident}{each}" for each in range(3 * number))}
        for number, ident in enumerate(PEOPLE)
    }
    found["a"].add("Observation/ab")
    found["b"].add("Observation/ab")
    return {**found, "nobody": {"Observation/nobody"}}


def read(house: House, job_id: str = "job0", to: str = "memory://d") -> Blocks:
    """The blocks of all files, put together as the manifest says; checks what HL7 asks of them."""
    result: Blocks = {}
    manifest = json.loads(b"".join(house.place(to).read(MANIFEST)))
    assert manifest["outputOrganizedBy"] == "Patient"
    goes_on: dict[str, str] = {}
    for item in manifest["output"]:
        assert "type" not in item
        lines = b"".join(house.place(to).read(item["url"])).splitlines()
        assert patient_of(lines[0]) is not None, "B78: a file begins with a header"
        here: list[str] = []
        owner = ""
        for line in lines:
            patient = patient_of(line)
            if patient is not None:
                assert patient not in here
                begun = patient not in result
                assert begun or (not here and goes_on.get(patient) == item["url"]), "B79: split, and not said"
                owner = patient
                here.append(owner)
                result.setdefault(owner, [])
                continue
            body = json.loads(line)
            result[owner].append(f"{body['resourceType']}/{body['id']}")
        assert item["count"] == len(lines) - len(here), "C28: headers are not counted"
        if "continuesInFile" in item:
            goes_on[owner] = item["continuesInFile"]
    assert set(goes_on.values()) <= {item["url"] for item in manifest["output"]}
    for file in house.files(job_id):
        assert file.type == "Patients"
    return result


def check(house: House, *, to: str = "memory://d", source: bool = True) -> VerifyReport:
    return verify(house.place(to), against=house.source if source else None)


def as_sets(blocks: Blocks) -> dict[str, set[str]]:
    for names in blocks.values():
        assert len(names) == len(set(names))
    return {ident: set(names) for ident, names in blocks.items()}


def split(house: House) -> int:
    manifest = json.loads(b"".join(house.place().read(MANIFEST)))
    return sum("continuesInFile" in item for item in manifest["output"])


def test_b51_b77_b78_blocks_in_one_file_the_patient_first(house: House) -> None:
    ward(house)
    house.kick_off(asked())
    record = house.run()
    assert record.status is JobStatus.COMPLETED
    found = read(house)
    assert as_sets(found) == expected()
    assert all(names[0] == f"Patient/{ident}" for ident, names in found.items() if ident != "nobody")
    (file,) = house.files()
    assert (file.name, file.count) == ("Patients-1.ndjson", record.resources)
    assert house.raw(file).count(b"\n") == file.count + 6
    assert check(house).counts == {}


@pytest.mark.parametrize("size", [200, 500, 1000, 1400, 2000, 2900])
@pytest.mark.parametrize("most", [1, 4, 1000])
@pytest.mark.parametrize("least", [0, 0.9])
def test_b79_a_block_is_split_only_where_it_has_no_room_in_a_file(
    house: House, size: int, most: int, least: float
) -> None:
    """Nor for the sake of a least size (B54)."""
    ward(house)
    house.kick_off(asked(), max_file_size=size, page_resources=most, min_file_size=int(least * size))
    house.run()
    found = read(house)
    assert as_sets(found) == expected()
    for file in house.files():
        assert file.raw_bytes <= size or file.count == 1
    lengths = {ident: len(header(ident)) for ident in found}
    in_files: Counter[str] = Counter()
    for file in house.files():
        owner = ""
        for line in house.raw(file).splitlines(keepends=True):
            patient = patient_of(line)
            owner = patient or owner
            lengths[owner] += len(line) * (patient is None)
            in_files[owner] += patient is not None
    too_large = {ident for ident, length in lengths.items() if length > size and len(found[ident]) > 1}
    assert {ident for ident, count in in_files.items() if count > 1} == too_large
    assert split(house) == sum(in_files.values()) - len(found)
    assert check(house).counts == {}


@pytest.mark.parametrize("size", [700, 10**6])
@pytest.mark.parametrize("number", [0, 1, 3, 6, 10, 14, 20, 26, 33])
def test_s42_cut_off_at_any_read_a_resumed_job_has_the_same_blocks(house: House, number: int, size: int) -> None:
    ward(house)
    house.kick_off(asked(), page_resources=1, pages_per_commit=1, unit_attempts=1, max_file_size=size)
    with raising_at(house, number, StoreBusy("away")):
        assert house.run().status is JobStatus.RETRIABLE
    put(house, "Observation/late", subject=of("a"))
    house.source.delete("Observation", "b0")
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED
    assert as_sets(read(house)) == expected()
    assert check(house).counts == {}


@pytest.mark.parametrize("number", range(2, 34, 3))
def test_s79_stopped_in_the_middle_of_a_block_it_goes_on_in_the_next_file(house: House, number: int) -> None:
    ward(house)
    house.kick_off(asked(), page_resources=1)
    stop = threading.Event()

    def before(reads: int) -> None:
        if reads == number:
            stop.set()

    house.source.before_read = before
    assert house.run(stop=stop).status is JobStatus.QUEUED
    house.source.before_read = lambda _: None
    assert house.run().status is JobStatus.COMPLETED
    found = read(house)
    assert as_sets(found) == expected()
    assert len(house.files()) == 2
    first, second = (file.patients for file in house.files())
    assert first is not None
    assert second is not None
    assert split(house) == (first[1] == second[0])
    assert check(house).counts == {}


def test_an_early_commit_waits_for_the_end_of_the_block(house: House) -> None:
    ward(house)
    house.kick_off(asked(), page_resources=2, pages_per_commit=1)
    house.run()
    assert as_sets(read(house)) == expected()
    assert len(house.files()) > 3
    assert split(house) == 0


def test_units_side_by_side_have_blocks_of_their_own(house: House) -> None:
    ward(house)
    house.kick_off(asked(), page_resources=2, max_file_size=900)
    begun = threading.Event()

    def before(order: UnitOrder, _: Threads) -> None:
        if order.partitions[0].number:
            begun.set()
        else:
            assert begun.wait(10)

    house.run(executor=lambda _stopping: Threads(4, before))
    assert as_sets(read(house)) == expected()
    assert split(house) > 0
    assert check(house).counts == {}


def test_b46_of_a_block_of_which_a_filter_leaves_nothing_there_is_no_header(house: House) -> None:
    ward(house)
    house.kick_off(
        asked(types=("Observation",), type_filters=("Observation?status=final",), elements=("subject",)),
        page_resources=3,
    )
    record = house.run()
    finals = {f"Observation/{ident}{each}" for n, ident in enumerate(PEOPLE) for each in range(0, 3 * n, 2)}
    found = as_sets(read(house))
    assert found["a"] == {"Observation/ab"}
    assert set().union(*found.values()) == finals | {"Observation/ab"}
    assert found.keys() == set(PEOPLE)
    assert record.resources == len(finals) + 2
    assert b"SUBSETTED" in house.raw(house.files()[0])
    assert b"pad" not in house.raw(house.files()[0])
    assert check(house).counts == {}


def test_b81_deletions_lie_beside_it_as_ever(house: House) -> None:
    ward(house)
    house.kick_off(asked())
    t = house.run().transaction_time
    house.source.delete("Observation", "b0")
    put(house, "Patient/c", gender="male")
    house.kick_off(asked(since=t), to="memory://e")
    house.run()
    assert read(house, "job1", "memory://e") == {"c": ["Patient/c"]}
    (deleted,) = house.files("job1", Kind.DELETED)
    assert b'"Observation/b0"' in house.raw(deleted, "memory://e")
    assert check(house, to="memory://e").counts == {}


def test_l1_of_an_empty_group_there_is_no_file(house: House) -> None:
    ward(house)
    house.source.put(b'{"resourceType":"Group","id":"g"}')
    house.kick_off(asked(level="group", group_id="g"))
    assert house.run().status is JobStatus.COMPLETED
    assert house.files() == []
    assert read_manifest(b"".join(house.place().read(MANIFEST))).organised_by == "Patient"


def spoil(house: House, change: Callable[[bytes], bytes], *, source: bool = True) -> VerifyReport:
    """The report when the only file was changed and the manifest knows."""
    place = house.place()
    manifest = json.loads(b"".join(place.read(MANIFEST)))
    (item,) = manifest["output"]
    data = change(b"".join(place.read(item["url"])))
    headers = sum(patient_of(line) is not None or b'"Parameters"' in line for line in data.splitlines())
    item["count"] = len(data.splitlines()) - headers
    item["extension"] = {"sha256": hashlib.sha256(data).hexdigest()}
    for name, content in ((item["url"], data), (MANIFEST, json.dumps(manifest).encode())):
        place._files[name] = (content, 0)
    place._files.pop("SHA256SUMS", None)
    return check(house, source=source)


def line_of(data: bytes, part: bytes) -> bytes:
    return next(line for line in data.splitlines(keepends=True) if part in line)


@pytest.mark.parametrize("damage", [
    ("wrong-type", lambda data: data.partition(b"\n")[2]),
    ("wrong-type", lambda data: data.replace(header("c"), header("c").replace(b"Patient/c", b"Device/c"))),
    ("doubled", lambda data: data.replace(header("d"), header("c"))),
    ("doubled", lambda data: data + header("a")),
    ("doubled", lambda data: data.replace(line_of(data, b'"c1"'), line_of(data, b'"c0"'))),
    ("missing", lambda data: data.replace(line_of(data, b'"ab"'), b"", 1)),
    ("missing", lambda data: data.replace(line_of(data, b'"c1"'), b"")),
    ("extra", lambda data: data.replace(header("c"), line_of(data, b'"d1"') + header("c"))),
    ("different", lambda data: data.replace(line_of(data, b'"ab"'), line_of(data, b'"ab"').replace(b"final", b"draft"), 1)),
])  # fmt: skip
def test_s32_verify_sees_what_is_wrong_with_blocks(house: House, damage: tuple[str, Any]) -> None:
    ward(house)
    house.kick_off(asked())
    house.run()
    kind, change = damage
    assert spoil(house, lambda data: data).counts == {}
    assert kind in {str(each) for each in spoil(house, change).counts}


def test_s32_what_lies_in_several_blocks_has_the_same_bytes_in_all_of_them(house: House) -> None:
    ward(house)
    house.kick_off(asked())
    house.run()
    assert spoil(house, lambda data: data, source=False).counts == {}
    report = spoil(
        house,
        lambda data: data.replace(line_of(data, b'"ab"'), line_of(data, b'"ab"').replace(b"final", b"draft"), 1),
        source=False,
    )
    assert {str(kind) for kind in report.counts} == {"different"}
