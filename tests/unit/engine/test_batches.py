"""Small partitions share a unit and a commit, and every promise about a partition holds for each of them."""

from __future__ import annotations

import threading

import pytest

from fhirferry.engine import plan
from fhirferry.engine.executors import PoolBroken
from fhirferry.engine.unit import UnitOrder
from fhirferry.model.errors import SnapshotGone, StoreBusy
from fhirferry.model.job import JobStatus
from fhirferry.model.partition import Kind
from fhirferry.model.request import ExportRequest
from tests.unit.engine.house import House, Threads

NAMES = ("Condition", "Encounter", "Observation", "Patient")


@pytest.fixture
def orders() -> list[list[str]]:
    """The types in each unit, in the order of their start."""
    return []


def watched(orders: list[list[str]], room: int = 1) -> object:
    def note(order: UnitOrder, _: Threads) -> None:
        orders.append([p.plan.resource_type for p in order.partitions])

    return lambda _stopping: Threads(room, note)


def fill(house: House, count: int = 2) -> None:
    for name in NAMES:
        house.fill(count, name)


def commits(house: House) -> int:
    """Saved records that brought files."""
    return len({record.resources for record in house.jobs.saved if record.resources})


def test_small_partitions_share_a_unit_and_a_commit_with_a_file_each(house: House, orders: list[list[str]]) -> None:
    fill(house)
    house.kick_off()
    record = house.run(executor=watched(orders))
    assert record.status is JobStatus.COMPLETED
    assert orders == [list(NAMES)]
    assert commits(house) == 1
    assert [(file.type, file.count) for file in house.files()] == [(name, 2) for name in NAMES]
    assert record.partitions == record.partitions_done == 4


def test_an_increments_deletions_share_it_too(house: House, orders: list[list[str]]) -> None:
    fill(house)
    house.kick_off()
    since = house.run().transaction_time
    house.clock.advance(1)
    house.source.delete("Patient", "0")
    house.fill(1, "Encounter", "new")
    house.kick_off(ExportRequest(since=since), to="memory://e")
    assert house.run(executor=watched(orders)).status is JobStatus.COMPLETED
    assert orders == [["Encounter", "Patient"]]
    assert sorted(file.kind for file in house.jobs.files("job1")) == [Kind.DELETED, Kind.OUTPUT]


def test_together_they_are_no_larger_than_a_file_may_be(house: House, orders: list[list[str]]) -> None:
    fill(house)
    size = sum(len(body.body) + 1 for body in house.source._current.values() if body.body) // len(NAMES)
    house.kick_off(max_file_size=2 * size + size // 2)
    house.run(executor=watched(orders))
    assert [len(types) for types in orders] == [2, 2]


def test_a_partition_of_unknown_size_goes_alone(
    house: House, orders: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALL", 10**6)
    fill(house)
    cut = house.source.partitions

    def unknown(*asked: object) -> object:
        from msgspec.structs import replace

        return (replace(each, bytes=0) for each in cut(*asked))  # type: ignore[arg-type]

    monkeypatch.setattr(house.source, "partitions", unknown)
    house.kick_off()
    house.run(executor=watched(orders))
    assert [len(types) for types in orders] == [1, 1, 1, 1]


@pytest.mark.parametrize("broken", range(4))
def test_trouble_with_one_costs_only_its_own_attempt_and_what_is_whole_is_committed(
    house: House, orders: list[list[str]], broken: int
) -> None:
    fill(house)
    house.kick_off()
    read, reads = house.source.read, []

    def stumbles(*asked: object) -> object:
        reads.append(asked)
        if len(reads) == broken + 1:
            raise StoreBusy("away for a moment")
        return read(*asked)  # type: ignore[arg-type]

    house.source.read = stumbles  # type: ignore[method-assign]
    record = house.run(executor=watched(orders))
    assert record.status is JobStatus.COMPLETED
    assert record.failure_count == 0
    assert [(file.type, file.count) for file in sorted(house.files(), key=lambda f: f.type)] == [(n, 2) for n in NAMES]
    assert orders[0] == list(NAMES)
    if broken == 0:  # nothing was whole: each is tried alone, so that the next failure names its culprit
        assert orders[1:] == [[name] for name in NAMES]
    else:  # the next unit begins with the one that failed
        assert orders[1:] == [list(NAMES[broken:])]
    assert not [name for name in house.names() if name not in {f.name for f in house.files()} and "part" in name]


def test_one_that_cannot_pass_fails_the_job_and_the_others_results_stay(house: House) -> None:
    fill(house)
    house.kick_off()
    read = house.source.read

    def gone(bounds: dict[str, object], *more: object) -> object:
        if bounds["type"] == "Observation":
            raise SnapshotGone("pruned")
        return read(bounds, *more)  # type: ignore[arg-type]

    house.source.read = gone  # type: ignore[method-assign,assignment]
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert [file.type for file in house.files()] == ["Condition", "Encounter"]
    assert not record.sealed
    house.source.read = read  # type: ignore[method-assign]
    house.jobs.resume("job0")
    assert house.run().status is JobStatus.COMPLETED
    assert [(file.type, file.count) for file in house.files()] == [(name, 2) for name in NAMES]


def test_after_a_pool_that_died_each_goes_alone(house: House, orders: list[list[str]]) -> None:
    fill(house)
    house.kick_off()

    def die_once(order: UnitOrder, _: Threads) -> None:
        orders.append([p.plan.resource_type for p in order.partitions])
        if len(orders) == 1:
            raise PoolBroken

    assert house.run(executor=lambda _stopping: Threads(1, die_once)).status is JobStatus.COMPLETED
    assert orders == [list(NAMES), *([name] for name in NAMES)]


def test_s22_a_commit_after_every_page_ends_the_unit(house: House, orders: list[list[str]]) -> None:
    fill(house)
    house.kick_off(page_resources=1, pages_per_commit=1)
    assert house.run(executor=watched(orders)).status is JobStatus.COMPLETED
    assert commits(house) == 8
    assert sorted(file.count for file in house.files()) == [1] * 8


def test_told_to_stop_it_ends_behind_the_partition_at_hand_and_the_rest_waits(house: House) -> None:
    fill(house)
    house.kick_off()
    stop = threading.Event()
    read = house.source.read

    def stops(bounds: dict[str, object], *more: object) -> object:
        if bounds["type"] == "Encounter":
            stop.set()
        return read(bounds, *more)  # type: ignore[arg-type]

    house.source.read = stops  # type: ignore[method-assign,assignment]
    assert house.run(stop=stop).status is JobStatus.QUEUED
    assert [file.type for file in house.files()] == ["Condition", "Encounter"]
    house.source.read = read  # type: ignore[method-assign]
    assert house.run().status is JobStatus.COMPLETED
    assert [(file.type, file.count) for file in house.files()] == [(name, 2) for name in NAMES]


def test_l14_planning_that_stumbles_behind_some_hands_those_out_first(house: House, orders: list[list[str]]) -> None:
    fill(house)
    house.kick_off()
    cut, stumbles = house.source.partitions, [True]

    def partitions(*asked: object) -> object:
        for number, each in enumerate(cut(*asked)):  # type: ignore[arg-type]
            if number == 2 and stumbles:
                stumbles.pop()
                raise StoreBusy("away for a moment")
            yield each

    house.source.partitions = partitions  # type: ignore[method-assign,assignment]
    record = house.run(executor=watched(orders))
    assert orders == [list(NAMES[:2])]
    assert record.status is JobStatus.RETRIABLE
    assert not record.sealed
    house.clock.advance(3600)
    assert house.run(executor=watched(orders)).status is JobStatus.COMPLETED
    assert [(file.type, file.count) for file in house.files()] == [(name, 2) for name in NAMES]
