"""Pages, files, commits: what belongs together, how large it is, and what it is called."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from fhirferry.bulkdata.manifest import read_manifest
from fhirferry.model.errors import StoreBusy
from fhirferry.model.job import JobStatus
from fhirferry.model.partition import Issue, Kind
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House, raising_at


@pytest.mark.parametrize(
    ("stop_before", "committed"),
    [(0, ""), (1, ""), (2, ""), (3, "012"), (4, "012"), (5, "012"), (6, "012345")],
)
def test_s77_s52_s53_s54_stopping_before_a_page_leaves_whole_batches(
    house: House, stop_before: int, committed: str
) -> None:
    house.fill(10)
    house.kick_off(page_resources=1, pages_per_commit=3, unit_attempts=1)
    with raising_at(house, stop_before, StoreBusy("away")):
        assert house.run().status is JobStatus.RETRIABLE
    assert house.ids() == committed
    assert len(house.files()) == len(committed) // 3
    assert house.names() == [f"Patient-{n + 1}.ndjson" for n in range(len(committed) // 3)]
    # and what is there is gone on with, at the same T
    moment = house.t_of()
    house.fill(1, "Practitioner")
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "0123456789"
    assert house.t_of() == moment


def test_s77_s55_a_job_that_ends_between_two_commits_commits_the_rest(house: House) -> None:
    house.fill(5)
    house.kick_off(page_resources=1, pages_per_commit=3)
    house.run()
    assert house.ids() == "01234"
    assert [file.count for file in house.files()] == [3, 2]


def test_s55_a_single_page_is_committed_too(house: House) -> None:
    house.fill(1)
    house.kick_off(page_resources=1000, pages_per_commit=3)
    house.run()
    assert house.ids() == "0"


def test_s5_s22_seconds_close_a_file_at_the_next_page(house: House) -> None:
    house.fill(4)
    house.kick_off(page_resources=1, seconds_per_commit=1e-9)
    house.run()
    assert [file.count for file in house.files()] == [1, 1, 1, 1]


def test_l24_without_a_cadence_there_is_one_file_per_type(house: House) -> None:
    house.fill(40)
    house.fill(3, "Observation")
    house.kick_off(page_resources=7)
    house.run()
    assert [(f.name, f.count) for f in house.files()] == [("Observation-1.ndjson", 3), ("Patient-1.ndjson", 40)]


def test_s21_every_line_lies_in_the_file_of_its_type(house: House) -> None:
    for name in ("Patient", "Observation", "Encounter"):
        house.fill(7, name)
    house.kick_off(page_resources=2, pages_per_commit=2)
    house.run()
    for file in house.files():
        assert {json.loads(line)["resourceType"] for line in house.raw(file).splitlines()} == {file.type}
        assert file.name.startswith(f"{file.type}-")


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("size", [1, 150, 400, 1000])
def test_s6_s20_l7_a_file_exceeds_its_size_only_with_a_single_resource(
    house: House, size: int, compression: str
) -> None:
    for length in (10, 300, 10, 10, 600, 1200, 10, 10):
        body = {"resourceType": "Patient", "id": f"p{len(house.source._versions)}", "x": "x" * length}
        house.source.put(json.dumps(body).encode())
    house.kick_off(page_resources=3, max_file_size=size, compression=compression)
    house.run()
    assert house.ids() == "p0p1p2p3p4p5p6p7"
    for file in house.files():
        raw = house.raw(file)
        assert len(raw) == file.raw_bytes
        assert len(raw) <= size or file.count == 1
    assert [file.sequence for file in house.files()] == list(range(1, len(house.files()) + 1))


def test_gzip_files_decompress_to_the_same_lines_and_their_sums_are_of_what_is_stored(house: House) -> None:
    house.fill(50, filling="abc" * 30)
    house.kick_off(to="memory://plain")
    house.kick_off(to="memory://packed", compression="gzip")
    house.run()
    house.run()
    (plain,), (packed,) = house.files("job0"), house.files("job1")
    stored = b"".join(house.place("memory://packed").read(packed.name))
    assert packed.name == "Patient-1.ndjson.gz"
    assert gzip.decompress(stored) == house.raw(plain, "memory://plain")
    assert (packed.bytes, packed.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert packed.raw_bytes == plain.raw_bytes == plain.bytes > 2 * packed.bytes
    assert packed.count == plain.count == 50


def test_s24_s57_the_list_of_files_grows_while_the_job_runs(house: House) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=1)
    seen: list[int] = []
    house.run(on_save=lambda record: seen.append(len(house.files())))
    assert seen == [0, 1, 2, 3, 3]  # T, three commits, COMPLETED
    first = house.files()[0]
    raw = house.raw(first)
    assert (first.type, first.name, first.sequence, first.count) == ("Patient", "Patient-1.ndjson", 1, 1)
    assert (first.bytes, first.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())


def test_s19_l25_no_empty_file_is_written(house: House) -> None:
    house.fill(4)
    house.kick_off(page_resources=2, pages_per_commit=1)  # ends exactly with a page
    house.kick_off(ExportRequest(types=("Encounter",)), to="memory://nothing")
    house.run()
    house.run()
    assert [file.count for file in house.files()] == [2, 2]
    assert house.files("job1") == []
    assert house.names("memory://nothing") == ["SHA256SUMS", "manifest.json"]


def test_l27_only_types_that_have_data_are_touched(house: House) -> None:
    house.fill(1, "Patient")
    house.fill(1, "Observation")
    house.kick_off()
    record = house.run()
    assert house.source.types_read == {"Patient", "Observation"}
    assert record.partitions == 2
    assert set(record.totals) == {"Patient", "Observation"}


def test_s65_names_are_the_type_and_a_number_without_gaps_across_runs(house: House) -> None:
    house.fill(6)
    house.kick_off(page_resources=1, pages_per_commit=1, unit_attempts=1)
    for read in (2, 4):
        with raising_at(house, read, StoreBusy("away")):
            house.run()
        house.clock.advance(1000)
    house.run()
    assert [file.name for file in house.files()] == [f"Patient-{number}.ndjson" for number in range(1, 7)]


def test_s65_deletions_and_issues_have_folders_of_their_own(house: House) -> None:
    house.fill(3)
    since = house.clock()
    house.clock.advance(1)
    house.source.delete("Patient", "0")
    house.fill(2, "Encounter")
    house.source.issues[b'"id":"1"'] = Issue(diagnostics="Encounter/9 cannot be read")
    house.kick_off(ExportRequest(since=since))
    house.run()
    shown = [name for name in house.names() if "/" in name]
    assert shown == ["deleted/Bundle-1.ndjson", "error/OperationOutcome-1.ndjson"]
    (deleted,) = house.files(kind=Kind.DELETED)
    bundle = json.loads(house.raw(deleted))
    assert [entry["request"]["url"] for entry in bundle["entry"]] == ["Patient/0"]


def test_l15_two_runs_of_one_partition_never_share_a_part_name(house: House) -> None:
    house.fill(2)
    parts = []
    for number in range(2):
        house.kick_off(to=f"memory://{number}", job_id=f"j{number}")
        house.run()
        parts += [file.part.rpartition("/")[2] for file in house.files(f"j{number}")]
    assert len(set(parts)) == 2


def test_s66_s67_issues_land_in_record_and_error_file_and_the_rest_completes(house: House) -> None:
    house.fill(30)
    for number in range(30):
        house.source.issues[b'"id":"%d"' % number] = Issue(diagnostics=f"Patient/x{number} cannot be read")
    house.kick_off(page_resources=5, pages_per_commit=2)
    record = house.run()
    assert record.status is JobStatus.COMPLETED
    assert record.issue_count == 30
    assert [issue.diagnostics for issue in record.issues] == [f"Patient/x{n} cannot be read" for n in range(20)]
    lines = b"".join(house.raw(file) for file in house.files(kind=Kind.ERROR)).splitlines()
    assert [json.loads(line)["issue"][0]["diagnostics"] for line in lines] == [
        f"Patient/x{number} cannot be read" for number in range(30)
    ]
    errors = [
        item for item in read_manifest(b"".join(house.place().read("manifest.json"))).items if item.kind is Kind.ERROR
    ]
    assert [(item.type, item.count) for item in errors] == [("OperationOutcome", 10)] * 3


def test_l13_progress_never_decreases_and_is_a_hundred_only_at_the_end(house: House) -> None:
    house.fill(20)
    house.kick_off(page_resources=1, pages_per_commit=1, unit_attempts=1)
    with raising_at(house, 12, StoreBusy("away")):
        house.run()
    house.clock.advance(1000)
    house.run()
    percents = [record.progress for record in house.jobs.saved]
    assert percents == sorted(percents)
    assert percents[-2:] == [99, 100]
    assert len(set(percents)) > 15  # it moves with every commit
    assert [r.status for r in house.jobs.saved if r.progress == 100] == [JobStatus.COMPLETED]


def test_l14_the_last_commit_seals_in_one_transaction(house: House) -> None:
    house.fill(3)
    house.fill(3, "Encounter")
    house.kick_off(page_resources=1, pages_per_commit=2)
    house.run()
    commits = [record for record in house.jobs.saved if record.progressed and record.status is JobStatus.RUNNING]
    assert [record.sealed for record in commits] == [False, False, False, True]
    assert commits[-1].resources == 6
    assert commits[-1].partitions == commits[-1].partitions_done == 2
    assert sum(record.sealed for record in house.jobs.saved) == 2  # and COMPLETED


def test_a_destination_that_cannot_rename_keeps_the_runs_names(house: House) -> None:
    house.place().renames = False
    house.fill(2)
    house.kick_off(page_resources=1, pages_per_commit=1)
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "01"
    assert all(file.name == file.part for file in house.files())
