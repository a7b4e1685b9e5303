"""The byte path: bounded, whole or not there, at the rate that was asked for."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from fhirferry.destinations.memory import MemoryDestination
from fhirferry.engine import writer as module
from fhirferry.engine.writer import NdjsonWriter
from fhirferry.model.errors import DestinationUnavailable
from fhirferry.model.partition import Issue, Kind
from tests.unit.engine.house import House

LINE = b'{"resourceType":"Patient","id":"1"}\n'


@pytest.fixture
def dock() -> MemoryDestination:
    dock = MemoryDestination()
    dock.prepare("j")
    return dock


def make(dock: MemoryDestination, compression: str = "none") -> NdjsonWriter:
    return NdjsonWriter(dock, dock.part_name("j", "x"), kind=Kind.OUTPUT, type="Patient", compression=compression)


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("writer")]


def test_it_tells_what_the_file_holds(dock: MemoryDestination) -> None:
    writer = make(dock)
    writer.write(LINE, 1)
    writer.write(LINE * 2, 2)
    file = writer.close(7)
    stored = b"".join(dock.read(file.part))
    assert stored == LINE * 3
    assert (file.count, file.bytes, file.raw_bytes) == (3, len(stored), len(stored))
    assert file.sha256 == hashlib.sha256(stored).hexdigest()
    assert (file.partition, file.kind, file.type, file.name) == (7, Kind.OUTPUT, "Patient", "")
    assert writers() == []


def test_l7_no_more_bytes_wait_in_memory_than_are_allowed(
    dock: MemoryDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD", 2 * len(LINE))
    slow = threading.Event()
    writer = make(dock)
    store = writer._file.write
    writer._file.write = lambda data: slow.wait(5) and store(data)  # type: ignore[method-assign]
    taken: list[int] = []

    def fill() -> None:
        for number in range(10):
            writer.write(LINE, 1)
            taken.append(number)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join(0.1)
    assert len(taken) <= 2
    slow.set()
    thread.join(5)
    assert writer.close(0).count == 10


@pytest.mark.parametrize("operation", ["write", "commit"])
def test_an_error_is_raised_at_the_next_call_and_leaves_nothing(dock: MemoryDestination, operation: str) -> None:
    dock.fail_next(operation, DestinationUnavailable("disk full"))
    writer = make(dock)

    def fill() -> None:
        for _ in range(5):
            writer.write(LINE, 1)
        writer.close(0)

    with pytest.raises(DestinationUnavailable, match="disk full"):
        fill()
    writer.abort()
    assert list(dock.list(".fhirferry/")) == []
    assert writers() == []


def test_abort_leaves_nothing_and_no_thread(dock: MemoryDestination) -> None:
    writer = make(dock, "gzip")
    writer.write(LINE, 1)
    writer.abort()
    writer.abort()
    assert list(dock.list(".fhirferry/")) == []
    assert writers() == []


def test_a_unit_whose_second_file_fails_leaves_no_first_one(house: House) -> None:
    house.fill(2)
    house.source.issues[b'"id":"1"'] = Issue(diagnostics="Patient/9 cannot be read")
    house.kick_off(unit_attempts=1)
    commits: list[int] = []
    original = house.place()._appear

    def appear(name: str, job_id: str, data: bytes) -> None:
        commits.append(1)
        if len(commits) == 2:
            raise DestinationUnavailable("disk full")
        original(name, job_id, data)

    house.place()._appear = appear  # type: ignore[method-assign]
    house.run()
    assert len(commits) == 2
    assert house.names() == []


@pytest.mark.parametrize("types", [1, 4])
def test_limit_rate_holds_for_many_small_types_as_for_one_large(house: House, types: int) -> None:
    for name in ("Patient", "Observation", "Encounter", "Condition")[:types]:
        house.fill(40 // types, name, "x" * 900)
    house.kick_off(page_resources=5, limit_rate=100_000)
    start = time.monotonic()
    record = house.run()
    took = time.monotonic() - start
    assert record.bytes > 40_000
    assert record.bytes / 100_000 * 0.95 <= took < record.bytes / 100_000 + 2


def test_a_limited_unit_hears_at_once_that_it_shall_stop(house: House) -> None:
    house.fill(40, filling="x" * 900)
    house.kick_off(page_resources=5, limit_rate=1000)
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    start = time.monotonic()
    record = house.run(stop=stop)
    assert time.monotonic() - start < 2
    assert record.resources == 5
