"""Processes that die or are stopped at bad moments cost their own unit; the pool is never held up, and always ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from fhirferry.engine.connections import Connections
from fhirferry.engine.executors import PoolBroken
from fhirferry.engine.processes import PATIENCE, ProcessPool
from fhirferry.engine.unit import UnitOrder
from fhirferry.model.errors import SnapshotGone, TransientError
from fhirferry.model.job import JobSettings
from fhirferry.model.partition import Issue, Page, Partition, PartitionPlan
from fhirferry.model.request import ExportRequest

SOON = PATIENCE - 1
"""Seconds in which a pool is closed whose processes are gone at once, on a busy machine too."""

IN_TIME = 20.0
"""Seconds after which what should have ended is held up."""


class Source:
    """In a child: does when it is read what its URI says, `deed` or `deed:path`."""

    def __init__(self, uri: str) -> None:
        deed, _, self._path = uri.partition(":")
        self._deed: Callable[[], object] = getattr(self, deed)

    def read(self, *_: object) -> Page:
        self._deed()
        # 40 kB: its length and its text are written one after the other
        issues = tuple(Issue(diagnostics="x" * 2000) for _ in range(20))
        return Page(body=b"", count=0, continuation=None if self._deed != self.go_on else "more", issues=issues)

    def close(self) -> None: ...

    def nothing(self) -> None: ...

    def go_on(self) -> None:
        self.say()
        time.sleep(0.01)

    def say(self) -> None:
        Path(self._path).write_text(str(os.getpid()))

    def sleep(self) -> None:
        self.say()
        time.sleep(60)

    def die_answering(self) -> None:
        self._half_an_answer(signal.SIGKILL)

    def stop_answering(self) -> None:
        self._half_an_answer(signal.SIGSTOP)

    def refuse(self) -> None:
        raise SnapshotGone("pruned", details="of it")

    def fail_oddly(self) -> None:
        raise Odd("Jane Doe", "born")

    def fail_locally(self) -> None:
        class Local(Exception):
            pass

        raise Local("Jane Doe")

    def _half_an_answer(self, number: signal.Signals) -> None:
        path = self._path

        def send(self: Connection, data: Any) -> None:
            os.write(self.fileno(), bytes(data)[: len(data) // 2])
            Path(path).write_text(str(os.getpid()))
            os.kill(os.getpid(), number)
            time.sleep(60)

        Connection._send = send  # type: ignore[attr-defined]


class Odd(Exception):
    """Can be pickled, but not be put together again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


class Nowhere:
    """A destination that nothing gets to."""

    def part_name(self, _job: str, stem: str, _suffix: str) -> str:
        return stem

    def create(self, _name: str) -> Nowhere:
        return self

    def write(self, _data: bytes) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...
    def delete(self, _names: object) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


def open_source(uri: str, _check: bool) -> Source:
    return Source(uri)


def open_destination(_uri: str) -> Nowhere:
    return Nowhere()


def order(deed: str, connections: Any = None) -> UnitOrder:
    plan = PartitionPlan(resource_type="Patient", bounds={})
    return UnitOrder(
        connections=connections or Connections(open_source, open_destination),  # type: ignore[arg-type]
        request=ExportRequest(),
        source_uri=deed,
        destination_uri="",
        settings=JobSettings(),
        partitions=(Partition(job_id="job", number=0, plan=plan),),
        transaction_time=1,
    )


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    made = ProcessPool(2)
    yield made
    made.close()


def ended(pool: ProcessPool, *tickets: Any) -> bool:
    return len(pool.wait(tickets, IN_TIME, every=True)) == len(tickets)


def pid_at(path: Path) -> int:
    """Of the process that wrote it there."""
    end = time.monotonic() + IN_TIME
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.005)
    return int(path.read_text())


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def closes(pool: ProcessPool) -> float:
    """Seconds that it takes to close; more than 10 are a hang."""
    start = time.monotonic()
    thread = threading.Thread(target=pool.close, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it hangs"
    return time.monotonic() - start


def test_l14_a_process_killed_in_the_middle_of_its_answer_costs_its_unit_and_nothing_else(
    pool: ProcessPool, tmp_path: Path
) -> None:
    """The library's pool reads the other half until the end of days: it holds the pipe's other end itself."""
    lost, good = pool.submit(order(f"die_answering:{tmp_path}/pid")), pool.submit(order("nothing"))
    assert ended(pool, lost, good)
    with pytest.raises(PoolBroken):
        pool.result(lost)
    assert pool.result(good)[0].issue_count == 20
    again = [pool.submit(order("nothing")) for _ in range(3)]
    assert ended(pool, *again)
    assert [pool.result(ticket)[0].issue_count for ticket in again] == [20] * 3


def test_s60_a_process_stopped_in_the_middle_of_its_answer_holds_up_neither_the_others_nor_the_end(
    pool: ProcessPool, tmp_path: Path
) -> None:
    stopped = pool.submit(order(f"stop_answering:{tmp_path}/pid"))
    pid = pid_at(tmp_path / "pid")
    good = pool.submit(order("nothing"))
    assert pool.wait([stopped, good], IN_TIME) == [good]
    assert pool.result(good)[0].partition == 0
    assert closes(pool) < SOON
    assert is_gone(pid)
    with pytest.raises(PoolBroken):
        pool.result(stopped)


def test_closing_ends_units_wherever_they_are_and_takes_no_more(pool: ProcessPool, tmp_path: Path) -> None:
    working = [pool.submit(order(f"sleep:{tmp_path}/{n}")) for n in range(2)]
    pids = [pid_at(tmp_path / str(n)) for n in range(2)]
    waiting = pool.submit(order("nothing"))
    assert closes(pool) < SOON
    assert all(is_gone(pid) for pid in pids)
    assert closes(pool) < SOON  # once more does no harm
    late = pool.submit(order("nothing"))
    assert ended(pool, *working, waiting, late)
    for ticket in (*working, waiting, late):
        with pytest.raises(PoolBroken):
            pool.result(ticket)
    pool.renew()
    fresh = pool.submit(order("nothing"))
    assert ended(pool, fresh)
    assert pool.result(fresh)


def test_closing_ends_a_process_that_is_just_starting() -> None:
    for pause in (0, 0.002, 0.005, 0.02, 0.05):
        pool = ProcessPool(1)
        ticket = pool.submit(order("sleep:/nowhere/to/write"))
        time.sleep(pause)
        assert closes(pool) < SOON
        assert not [process for process in pool._children._living if process.is_alive()]
        assert ended(pool, ticket)
        with pytest.raises(PoolBroken):
            pool.result(ticket)


def test_a_process_killed_while_it_has_nothing_to_do_costs_nothing(pool: ProcessPool, tmp_path: Path) -> None:
    first = pool.submit(order(f"say:{tmp_path}/first"))
    assert ended(pool, first)
    pid = pid_at(tmp_path / "first")
    os.kill(pid, signal.SIGKILL)
    pool._children._living[0].join(IN_TIME)
    more = [pool.submit(order("nothing")) for _ in range(4)]
    assert ended(pool, *more)
    assert all(pool.result(ticket) for ticket in more)


def test_more_units_than_processes_wait_for_their_turn(pool: ProcessPool, tmp_path: Path) -> None:
    tickets = [pool.submit(order(f"say:{tmp_path}/{n}")) for n in range(6)]
    assert ended(pool, *tickets)
    assert all(pool.result(ticket) for ticket in tickets)
    assert len({pid_at(tmp_path / str(n)) for n in range(6)}) <= 2


def test_units_told_to_stop_end_at_their_next_page(pool: ProcessPool, tmp_path: Path) -> None:
    running = pool.submit(order(f"go_on:{tmp_path}/pid"))
    pid_at(tmp_path / "pid")
    assert pool.wait([running], 0.05) == []
    pool.stop_units()
    late = pool.submit(order(f"go_on:{tmp_path}/late"))
    assert ended(pool, running, late)
    for ticket in (running, late):
        assert pool.result(ticket)[0].continuation == "more"


def test_a_unit_raises_here_what_it_raised_there(pool: ProcessPool) -> None:
    ticket = pool.submit(order("refuse"))
    assert ended(pool, ticket)
    with pytest.raises(SnapshotGone, match="pruned") as caught:
        pool.result(ticket)
    assert caught.value.details == "of it"


@pytest.mark.parametrize(("deed", "name"), [("fail_oddly", "Odd"), ("fail_locally", "Local")])
def test_l34_an_error_that_cannot_be_sent_is_told_by_its_name_and_costs_no_process(
    pool: ProcessPool, deed: str, name: str
) -> None:
    ticket = pool.submit(order(deed))
    assert ended(pool, ticket)
    with pytest.raises(TransientError) as caught:
        pool.result(ticket)
    assert caught.value.message == f"A unit of work failed: {name}."
    assert [process.is_alive() for process in pool._children._living] == [True]


def test_an_order_that_cannot_be_sent_fails_and_costs_no_process(pool: ProcessPool, tmp_path: Path) -> None:
    ticket = pool.submit(order("nothing", Connections(lambda *_: None, open_destination)))  # type: ignore[arg-type]
    assert ended(pool, ticket)
    with pytest.raises(Exception, match="pickle"):
        pool.result(ticket)
    good = pool.submit(order("nothing"))
    assert ended(pool, good)
    assert pool.result(good)
