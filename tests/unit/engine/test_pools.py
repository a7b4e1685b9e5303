"""Several units at once, threads and real processes: nothing that is in is lost, nothing is sealed too early."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirferry.clock import system_clock
from fhirferry.engine import context, plan, processes
from fhirferry.engine.executors import PoolBroken, PoolFactory, make_pool
from fhirferry.engine.unit import UnitOrder
from fhirferry.engine.verify_findings import Outcome
from fhirferry.exporter import CONNECTIONS, Exporter
from fhirferry.fhir.resource import read_resource
from fhirferry.model.errors import DestinationUnavailable, RequestError, SnapshotGone, StoreBusy
from fhirferry.model.job import JobSettings, JobStatus
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.sources.store import StoreSource
from fhirferry.store.sqlite import SqliteStore
from tests.unit.engine.house import House, Threads

PATIENTS, OBSERVATIONS = "Patient", "Observation"


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each partition is a unit of its own, however small."""
    monkeypatch.setattr(plan, "SMALL", 0)


def threads(room: int, before: Callable[[UnitOrder, Threads], None]) -> PoolFactory:
    return lambda _stopping: Threads(room, before)


def type_of(order: UnitOrder) -> str:
    return order.partitions[0].plan.resource_type


def test_l14_trouble_with_one_partition_never_lets_another_seal_the_job(house: House) -> None:
    house.fill(2, OBSERVATIONS)
    house.fill(2, PATIENTS)
    house.kick_off()

    def first_fails_second_is_last(order: UnitOrder, pool: Threads) -> None:
        if type_of(order) == OBSERVATIONS:
            raise SnapshotGone("pruned")
        assert pool.stopped.wait(5)  # the trouble is known, this one ends after it

    record = house.run(executor=threads(2, first_fails_second_is_last))
    assert record.status is JobStatus.FAILED
    assert not record.sealed
    assert [file.type for file in house.files()] == [PATIENTS]  # what came in is committed
    house.jobs.resume("job0")
    assert house.run().status is JobStatus.COMPLETED
    assert [(file.type, file.count) for file in house.files()] == [(OBSERVATIONS, 2), (PATIENTS, 2)]


def test_l14_the_order_in_which_units_end_does_not_matter(house: House) -> None:
    for name in (OBSERVATIONS, PATIENTS, "Encounter"):
        house.fill(3, name)
    house.kick_off(page_resources=1, pages_per_commit=2)
    patients_done = threading.Event()

    def last_first(order: UnitOrder, _: Threads) -> None:
        if type_of(order) != PATIENTS:
            assert patients_done.wait(5)

    seen = []

    def on_save(record: object) -> None:
        seen.append(record)
        if {(f.type, f.sequence) for f in house.files()} >= {(PATIENTS, 2)}:
            patients_done.set()

    assert house.run(executor=threads(3, last_first), on_save=on_save).status is JobStatus.COMPLETED
    assert [(file.type, file.count) for file in house.files()] == [
        (name, count) for name in ("Encounter", OBSERVATIONS, PATIENTS) for count in (2, 1)
    ]


@pytest.fixture
def stumbles(house: House, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Three types; planning the second fails once, which sets this event."""
    for name in ("Encounter", OBSERVATIONS, PATIENTS):
        house.fill(1, name)
    stumbled = threading.Event()

    def stumbling(self: MemorySource, *arguments: object) -> object:
        for number, each in enumerate(MemorySource.partitions(self, *arguments)):  # type: ignore[arg-type]
            if number == 1 and not stumbled.is_set():
                stumbled.set()
                raise StoreBusy("locked")
            yield each

    monkeypatch.setattr(type(house.source), "partitions", stumbling, raising=False)
    return stumbled


@pytest.mark.parametrize("room", [1, 2])  # 1: planning fails when a result is in; 2: while a unit is at work
def test_l14_a_source_that_stumbles_while_planning_is_not_taken_for_one_at_its_end(
    house: House, stumbles: threading.Event, room: int
) -> None:
    house.kick_off()

    def wait_for_it(_order: UnitOrder, pool: Threads) -> None:
        if room == 2:
            assert stumbles.wait(5)
            assert pool.stopped.wait(5)

    record = house.run(executor=threads(room, wait_for_it))
    assert record.status is JobStatus.RETRIABLE
    assert (record.planned, record.sealed) == (False, False)
    assert record.resources == 1  # the unit that was at work came in
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED
    assert [file.type for file in house.files()] == ["Encounter", OBSERVATIONS, PATIENTS]


def test_results_that_are_in_are_committed_before_the_job_is_retriable(house: House) -> None:
    for name in ("Encounter", OBSERVATIONS, PATIENTS):
        house.fill(2, name)
    house.kick_off(page_resources=1, unit_attempts=1)

    def one_fails(order: UnitOrder, pool: Threads) -> None:
        if type_of(order) == "Encounter":
            raise StoreBusy("locked")
        assert pool.stopped.wait(5)

    record = house.run(executor=threads(3, one_fails))
    assert record.status is JobStatus.RETRIABLE
    assert [(file.type, file.count) for file in house.files()] == [(OBSERVATIONS, 1), (PATIENTS, 1)]
    assert record.consecutive_failures == 1
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED
    assert sum(file.count for file in house.files()) == 6


def test_a_rename_that_fails_does_not_cost_the_units_at_work(house: House) -> None:
    house.fill(1, OBSERVATIONS)
    house.fill(1, PATIENTS)
    house.kick_off()
    house.place().fail_next("publish", DestinationUnavailable("away"))
    second = threading.Event()

    def one_after_the_other(order: UnitOrder, pool: Threads) -> None:
        if type_of(order) == PATIENTS:
            assert pool.stopped.wait(5)
            second.set()

    record = house.run(executor=threads(2, one_after_the_other))
    assert record.status is JobStatus.RETRIABLE
    assert second.is_set()
    assert record.sealed  # both are listed and durable; only a name is missing
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED
    assert "Observation-1.ndjson" in house.names()


def test_a_pool_that_broke_is_made_anew_and_the_units_handed_out_again(house: House) -> None:
    house.fill(3, OBSERVATIONS)
    house.fill(3, PATIENTS)
    house.kick_off()
    pools: list[Threads] = []

    class Breaking(Threads):
        def submit(self, order: UnitOrder):  # type: ignore[no-untyped-def]
            if pools[0].renewed == 0 and self._threads and not self._threads[0].is_alive():
                raise PoolBroken
            return super().submit(order)

    def die_once(_order: UnitOrder, pool: Threads) -> None:
        if pool.renewed == 0:
            raise PoolBroken

    def make(_stopping: object) -> Threads:
        pools.append(Breaking(1, die_once))
        return pools[0]

    record = house.run(executor=make)
    assert record.status is JobStatus.COMPLETED
    assert pools[0].renewed == 1
    assert record.failure_count == 0


def test_s60_after_a_conflict_the_files_of_uncommitted_runs_go_and_listed_ones_stay(house: House) -> None:
    for name in ("Encounter", OBSERVATIONS, PATIENTS):
        house.fill(1, name)
    house.kick_off()
    cancelled = threading.Event()

    def cancel_between(order: UnitOrder, pool: Threads) -> None:
        if type_of(order) == OBSERVATIONS:
            while not house.files():
                time.sleep(0.001)
            house.jobs.cancel("job0")
            cancelled.set()
        if type_of(order) == PATIENTS:
            assert cancelled.wait(5)

    assert house.run(executor=threads(3, cancel_between)).status is JobStatus.CANCELED
    assert house.names() == ["Encounter-1.ndjson"]


@pytest.mark.parametrize("text", ["", "threads", "processes", "processes:0", "processes:-1", "processes:x", "inline:2"])
def test_an_executor_that_is_not_offered_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"inline.*processes:N"):
        make_pool(text, lambda: False)


# Real processes


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder with a store of 600 patients and 600 observations."""
    store = SqliteStore(str(tmp_path / "store.db"), clock=system_clock, create=True)
    for name in (OBSERVATIONS, PATIENTS):
        store.write([read_resource(b'{"resourceType":"%s","id":"%d"}' % (name.encode(), n)) for n in range(600)])
    store.close()
    return tmp_path


def test_a_pool_process_that_is_killed_alone_costs_nothing_but_its_unit(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[processes.ProcessPool] = []
    original = processes.ProcessPool.submit
    killed: list[int] = []
    renewed: list[int] = []

    def submit(self: processes.ProcessPool, order: UnitOrder):  # type: ignore[no-untyped-def]
        pools.append(self)
        return original(self, order)

    monkeypatch.setattr(processes.ProcessPool, "submit", submit)
    monkeypatch.setattr(processes.ProcessPool, "renew", lambda self: renewed.append(1))
    exporter = Exporter(ledger=f"sqlite://{real}/ledger.db", executor="processes:2", connections=CONNECTIONS)

    def kill_one(record: object) -> None:
        if not killed and pools and exporter.job(job.id).files():
            child = pools[-1]._children._living[0]
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    settings = JobSettings(page_resources=50, pages_per_commit=2)
    job = exporter.start(
        ExportRequest(), source=f"sqlite://{real}/store.db", destination=f"file://{real}/out", settings=settings
    )
    log: list[str] = []
    with contextlib.closing(exporter):
        record = exporter.worker(on_progress=kill_one, log=log.append).run_job(job.id)
        assert record.status is JobStatus.COMPLETED, (record.failure, log)
        assert len(killed) == 1
        assert record.failure_count == 0
        assert record.resources == 1200
        assert not list((real / "out" / ".fhirferry").glob("*/*"))
        report = exporter.verify(f"file://{real}/out", against=f"sqlite://{real}/store.db")
        assert report.outcome is Outcome.HOLDS
    assert not renewed  # the other process goes on, and one takes the place of the dead
    for child in pools[0]._children._living:
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)


@pytest.mark.parametrize("executor", ["inline", "threads:1", "threads:3"])
def test_units_side_by_side_in_threads_export_the_same_and_work_for_the_same_job(
    real: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    seen: set[tuple[str, object]] = set()
    read = StoreSource.read

    def reading(self: StoreSource, *arguments: object) -> object:
        seen.add((threading.current_thread().name, context.current.get()))
        return read(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(StoreSource, "read", reading)
    with contextlib.closing(Exporter(ledger=f"sqlite://{real}/ledger.db", executor=executor)) as exporter:
        settings = JobSettings(page_resources=50, max_file_size=5_000)
        job = exporter.start(
            ExportRequest(), source=f"sqlite://{real}/store.db", destination=f"file://{real}/out", settings=settings
        )
        record = exporter.worker().run_job(job.id)
        assert (record.status, record.resources) == (JobStatus.COMPLETED, 1200)
        monkeypatch.undo()
        report = exporter.verify(f"file://{real}/out", against=f"sqlite://{real}/store.db")
        assert report.outcome is Outcome.HOLDS
    assert {ours for _, ours in seen} == {context.TaskContext(job.id)}  # S66, in whatever thread
    assert (threading.current_thread().name in {name for name, _ in seen}) == (executor == "inline")
    assert not [t for t in threading.enumerate() if t.name.startswith(("unit", "writer"))]


@pytest.mark.parametrize("executor", ["processes:2", "threads:2"])
def test_units_elsewhere_stop_at_their_next_commit_point_when_told(real: Path, executor: str) -> None:
    exporter = Exporter(ledger=f"sqlite://{real}/ledger.db", executor=executor)
    settings = JobSettings(page_resources=10, limit_rate=20_000)  # about 5 s of work
    stop = threading.Event()
    with contextlib.closing(exporter):
        job = exporter.start(
            ExportRequest(), source=f"sqlite://{real}/store.db", destination=f"file://{real}/out", settings=settings
        )
        threading.Timer(1.0, stop.set).start()
        start = time.monotonic()
        record = exporter.worker(stop=stop).run_job(job.id)
        assert time.monotonic() - start < 4
        assert record.status is JobStatus.QUEUED
        assert 0 < record.resources < 1200
        assert record.failure_count == 0
