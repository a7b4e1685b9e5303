"""B54: files between a least and a largest size, whatever closes them, and nothing lost on the way."""

from __future__ import annotations

import json
import threading
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirferry.engine import unit
from fhirferry.engine.unit import UnitOrder
from fhirferry.model.errors import DestinationUnavailable, StoreBusy, TransientError
from fhirferry.model.job import JobStatus
from fhirferry.model.partition import Kind
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House, Threads, raising_at

FEMALE = ExportRequest(types=("Patient",), type_filters=("Patient?gender=female",))
LINE = 220
"""Bytes of a patient's line, about."""


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are for the least size's sake only; stores here are small."""
    monkeypatch.setattr("fhirferry.engine.plan.SMALL", 1)
    monkeypatch.setattr(unit, "SMALL", 1)


def patients(house: House, genders: str) -> None:
    for number, gender in enumerate(genders):
        body = {"resourceType": "Patient", "id": str(number), "gender": {"f": "female", "m": "male"}[gender]}
        house.source.put(json.dumps({**body, "text": "x" * 60}, separators=(",", ":")).encode())


def ids(house: House, job_id: str = "job0") -> list[int]:
    lines = b"".join(house.raw(file) for file in house.files(job_id)).splitlines()
    return sorted(int(json.loads(line)["id"]) for line in lines)


@pytest.mark.parametrize("cadence", [{"pages_per_commit": 1}, {"seconds_per_commit": 1e-9}])
def test_pages_and_seconds_do_not_close_a_file_below_it(house: House, cadence: dict[str, float]) -> None:
    patients(house, "f" * 20)
    house.kick_off(page_resources=1, min_file_size=5 * LINE, **cadence)
    assert house.run().status is JobStatus.COMPLETED
    *files, _last = house.files()
    assert len(files) > 1
    assert all(5 * LINE <= file.raw_bytes < 6 * LINE for file in files)
    assert ids(house) == list(range(20))


@pytest.mark.parametrize("least", [0, 6 * LINE])
def test_what_a_filter_leaves_of_neighbours_lies_in_one_file(house: House, least: int) -> None:
    patients(house, "fmmmmmmmmmmmmm" * 20)
    house.kick_off(FEMALE, max_file_size=14 * LINE, min_file_size=least, page_resources=5)
    record = house.run()
    assert (record.status, record.progress, record.resources) == (JobStatus.COMPLETED, 100, 20)
    assert record.carried == record.totals
    *files, _last = house.files()
    if least:
        assert all(least <= file.raw_bytes <= 14 * LINE for file in files)
    else:
        assert len(files) > 12
    assert ids(house) == list(range(0, 280, 14))


def test_a_file_that_is_nearly_full_is_filled_with_smaller_pages(house: House) -> None:
    patients(house, "f" * 250)
    size = house.source._current["Patient", "100"].head.size
    house.kick_off(FEMALE, max_file_size=40 * size, min_file_size=40 * size - 9, page_resources=7)
    assert house.run().status is JobStatus.COMPLETED
    *files, _last = house.files()
    assert [file.count for file in files[3:]] == [40] * 3  # a partition is a line less; small ids make smaller lines
    assert ids(house) == list(range(250))


def test_a_unit_ends_where_its_file_is_large_enough(house: House) -> None:
    patients(house, "fmmmm" * 40)
    orders: list[list[int]] = []

    def note(order: UnitOrder, _: Threads) -> None:
        orders.append([partition.number for partition in order.partitions])

    house.kick_off(FEMALE, max_file_size=10 * LINE, min_file_size=4 * LINE, page_resources=5)
    assert house.run(executor=lambda _stopping: Threads(1, note)).status is JobStatus.COMPLETED
    *files, _last = house.files()
    assert all(4 * LINE <= file.raw_bytes < 7 * LINE for file in files)
    assert len(orders[0]) > len(files) > 2
    assert [numbers[0] for numbers in orders] == sorted(numbers[0] for numbers in orders)
    assert len({numbers[0] for numbers in orders}) == len(orders)  # none is begun twice


def test_full_partitions_are_not_kept_from_other_units(house: House) -> None:
    patients(house, "f" * 200)
    orders: list[int] = []
    house.kick_off(max_file_size=40 * LINE, min_file_size=20 * LINE)
    house.run(executor=lambda _stopping: Threads(2, lambda order, _: orders.append(len(order.partitions))))
    assert set(orders) == {1}
    assert len(orders) == len(house.files()) == house.jobs.get("job0").partitions > 3  # nor is a tail left


def test_l19_trouble_in_a_neighbour_takes_all_that_share_its_file_and_nothing_else(house: House) -> None:
    patients(house, "fmmmmmmmmm" * 20)
    house.kick_off(FEMALE, max_file_size=10 * LINE, min_file_size=6 * LINE, page_resources=5, unit_attempts=1)
    with raising_at(house, 9, StoreBusy("away")):
        assert house.run().status is JobStatus.RETRIABLE
    assert house.names() == []
    house.clock.advance(3600)
    assert house.run().status is JobStatus.COMPLETED
    assert ids(house) == list(range(0, 200, 10))


def test_promise_1_a_file_that_cannot_be_closed_leaves_nothing_and_is_made_again(house: House) -> None:
    patients(house, "fmmmmmmmmm" * 20)
    house.kick_off(FEMALE, max_file_size=10 * LINE, min_file_size=6 * LINE)
    house.place().fail_next("commit", DestinationUnavailable("disk full"))
    assert house.run().status is JobStatus.COMPLETED  # tried again, each alone
    assert ids(house) == list(range(0, 200, 10))
    assert all(name.endswith((".ndjson", ".json", "SUMS")) for name in house.names())


def test_told_to_stop_it_commits_what_it_has_and_goes_on_from_there(house: House) -> None:
    patients(house, "fmmmmmmmmm" * 20)
    house.kick_off(FEMALE, max_file_size=10 * LINE, min_file_size=6 * LINE, page_resources=5)
    stop, reads = threading.Event(), count()
    house.source.before_read = lambda _: stop.set() if next(reads) == 6 else None
    assert house.run(stop=stop).status is JobStatus.QUEUED
    assert 0 < len(ids(house)) < 20
    done = len(house.source.reads)
    house.source.before_read = lambda _: None
    assert house.run().status is JobStatus.COMPLETED
    assert ids(house) == list(range(0, 200, 10))
    assert len(house.source.reads) - done < 45


def test_s5_by_the_clock_no_neighbour_is_begun(house: House) -> None:
    patients(house, "fmmmmmmmmm" * 20)
    house.kick_off(FEMALE, max_file_size=10 * LINE, min_file_size=6 * LINE, seconds_per_commit=1e-9)
    assert house.run().status is JobStatus.COMPLETED
    assert len(house.files()) > house.jobs.get("job0").partitions - 3  # some hold nothing
    assert ids(house) == list(range(0, 200, 10))


def test_neighbours_of_another_type_or_kind_never_share_a_file(house: House) -> None:
    for name in ("Patient", "Observation", "Encounter"):
        house.fill(3, name)
    since = house.clock()
    house.clock.advance(1)
    for name in ("Patient", "Observation", "Encounter"):
        house.source.delete(name, "0")
    house.fill(4, "Practitioner")
    house.kick_off(ExportRequest(since=since), min_file_size=10_000)
    assert house.run().status is JobStatus.COMPLETED
    assert [(file.type, file.count) for file in house.files()] == [("Practitioner", 4)]
    deleted = b"".join(house.raw(file) for file in house.files(kind=Kind.DELETED))
    assert all(f"{name}/0".encode() in deleted for name in ("Patient", "Observation", "Encounter"))


@settings(max_examples=60, deadline=None)
@given(
    st.text("fm", max_size=60),
    st.integers(150, 3000),
    st.integers(0, 2999),
    st.integers(1, 9),
    st.sampled_from([None, 1, 3]),
    st.booleans(),
    st.sampled_from([None, 2, 5, 11]),
)
def test_promise_1_every_line_once_and_no_file_too_large(
    genders: str, most: int, least: int, page: int, pages: int | None, filtered: bool, fails: int | None
) -> None:
    house = House()
    patients(house, genders)
    request = FEMALE if filtered else ExportRequest()
    house.kick_off(
        request,
        max_file_size=most,
        min_file_size=min(least, most - 1),
        page_resources=page,
        pages_per_commit=pages,
        unit_attempts=1,
    )
    if fails is not None:
        with raising_at(house, fails, TransientError("away")):
            house.run()
        house.clock.advance(3600)
    if not house.jobs.get("job0").finished:
        house.run()
    record = house.jobs.get("job0")
    assert record.status is JobStatus.COMPLETED
    assert ids(house) == [number for number, gender in enumerate(genders) if gender == "f" or not filtered]
    assert all(file.raw_bytes <= most or file.count == 1 for file in house.files())
    assert record.carried == record.totals
    assert record.partitions == record.partitions_done
