"""S80, L20: the worker's life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from fhirferry.engine.worker import Worker
from fhirferry.jobs.memory import MemoryJobStore
from fhirferry.model.errors import JobNotFound, SnapshotGone, StoreBusy
from fhirferry.model.job import JobStatus
from tests.unit.engine.house import House


class Looks(threading.Event):
    """A stop flag that notes the waits between looks at the ledger, shortens them, and is set after `most`."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.waits: list[float | None] = []
        self.most = most
        self.noted: Callable[[], None] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        self.noted()
        if len(self.waits) >= self.most:
            self.set()
        return super().wait(0.001)


def make(house: House, **more: object) -> Worker:
    settings: dict[str, object] = {"poll": 7.0, "log": house.log.append, **more}
    return Worker(jobs=house.jobs, connections=house.connections, holder="w", **settings)  # type: ignore[arg-type]


def test_s80_nothing_to_do_waits_the_poll_interval(house: House) -> None:
    stop = Looks(3)
    make(house, stop=stop).run()
    assert stop.waits == [7.0, 7.0, 7.0]
    assert house.log == []


@pytest.mark.parametrize("error", [StoreBusy("locked"), ZeroDivisionError("content")])
def test_s80_l20_an_error_while_acquiring_waits_the_poll_interval_and_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    house.fill(1)
    house.kick_off()
    errors = [error] * 3
    original = MemoryJobStore.acquire

    def acquire(self: MemoryJobStore, *arguments: object, **more: object) -> object:
        if errors:
            raise errors.pop()
        return original(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(house.jobs), "acquire", acquire, raising=False)
    stop = Looks(5000)
    left: list[int] = []
    stop.noted = lambda: left.append(len(errors))
    make(house, stop=stop).run(until_idle=True)
    assert left[:3] == [2, 1, 0]  # a wait after each error
    assert stop.waits[:3] == [7.0] * 3
    assert len(house.log) == 3
    assert "content" not in "".join(house.log)
    assert house.jobs.get("job0").status is JobStatus.COMPLETED


def test_s80_s79_at_its_limit_it_takes_nothing(house: House) -> None:
    house.fill(2)
    for number in range(3):
        house.kick_off(to=f"memory://{number}")
    gate, running = threading.Event(), []

    def hold(_: int) -> None:
        running.append(threading.current_thread())
        assert gate.wait(5)

    house.source.before_read = hold
    worker = make(house, max_jobs=2, poll=0.01)
    thread = threading.Thread(target=worker.run, kwargs={"until_idle": True})
    thread.start()
    while len(running) < 2:
        time.sleep(0.002)
    time.sleep(0.05)  # several looks
    statuses = [record.status for record in house.jobs.list()]
    gate.set()
    thread.join(10)
    assert statuses == [JobStatus.RUNNING, JobStatus.RUNNING, JobStatus.QUEUED]  # S79: oldest first
    assert {record.status for record in house.jobs.list()} == {JobStatus.COMPLETED}


def test_s80_stop_gives_jobs_back_and_leaves(house: House) -> None:
    house.fill(50)
    house.kick_off(page_resources=1)
    stop = threading.Event()
    house.source.before_read = lambda reads: stop.set() if reads == 3 else None  # type: ignore[func-returns-value]
    make(house, stop=stop, poll=0.01).run()
    record = house.jobs.get("job0")
    assert record.status is JobStatus.QUEUED
    assert record.holder is None
    assert record.resources == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("job ", "heartbeat", "writer"))]


def test_until_idle_also_waits_for_what_is_to_be_retried_and_cleans_up(house: House) -> None:
    house.fill(1)
    house.kick_off(unit_attempts=1)
    house.source.fail_next(StoreBusy("locked"))

    class Passing(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            house.clock.advance(1)
            return super().wait(0.001)

    make(house, stop=Passing()).run(until_idle=True)
    record = house.jobs.get("job0")
    assert record.status is JobStatus.COMPLETED
    assert record.cleanups == 1


def test_l12_a_job_whose_workers_keep_dying_ends_failed(house: House) -> None:
    house.fill(1)
    house.kick_off(failure_threshold=3)
    for _ in range(5):
        house.jobs.acquire("dies", 1)
        house.clock.advance(61)
    record = house.jobs.get("job0")
    assert record.status is JobStatus.FAILED
    assert record.consecutive_failures == 3


def test_run_job_sees_one_job_to_its_end_and_leaves_the_others(house: House) -> None:
    house.fill(1)
    house.kick_off(to="memory://1")
    house.kick_off(to="memory://2")
    assert make(house).run_job("job1").status is JobStatus.COMPLETED
    assert house.jobs.get("job0").status is JobStatus.QUEUED
    with pytest.raises(JobNotFound):
        make(house).run_job("nobody")


def test_run_job_waits_for_a_retry_and_is_a_person_s_wish_only_once(house: House) -> None:
    house.fill(1)
    house.kick_off(unit_attempts=1, failure_threshold=3)
    house.source.fail_next(*[StoreBusy("locked")] * 9)
    waited: list[float] = []

    class Passing(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(1)
            house.clock.advance(1)
            return False

    record = make(house, stop=Passing()).run_job("job0")
    assert record.status is JobStatus.FAILED
    assert record.failure_count == 3
    assert len(waited) >= 3


def test_run_job_of_a_finished_job_does_nothing_but_clean_up(house: House) -> None:
    house.kick_off()
    house.jobs.cancel("job0")
    seen: list[JobStatus] = []
    record = make(house, on_progress=lambda r: seen.append(r.status)).run_job("job0")
    assert record.status is JobStatus.CANCELED
    assert seen == [JobStatus.CANCELED]
    assert record.cleanups == 1


def test_a_worker_survives_a_job_that_fails(house: House) -> None:
    house.fill(1)
    house.kick_off(to="memory://1")
    house.source.fail_next(SnapshotGone("pruned"))
    house.kick_off(to="memory://2")
    make(house, poll=0.001).run(until_idle=True)
    assert [record.status for record in house.jobs.list()] == [JobStatus.FAILED, JobStatus.COMPLETED]
