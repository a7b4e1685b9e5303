"""Where units of work run: an order goes out, a ticket comes back, and the ticket is turned into a result.

`inline` runs a unit at once, in the caller's thread. `threads:N` runs N units side by side in this process: reading,
hashing and writing release the interpreter lock, so two of them fill two cores, and one reads while another waits for
the disk. `processes:N` keeps N processes (`engine.processes`). A process that is killed takes its unit along, and the task
hands out again what is not committed. A pool that is broken as a whole is made anew by `renew`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Sequence
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from fhirferry.engine.unit import OnPage, UnitOrder, UnitResult, run_unit
from fhirferry.model.errors import RequestError


class PoolBroken(Exception):
    """What ran the unit died or was ended, and the unit with it."""


Ticket = TypeVar("Ticket", bound=Hashable)


class UnitPool(Protocol[Ticket]):
    """room: how many units it runs at once."""

    room: int

    def submit(self, order: UnitOrder) -> Ticket:
        """Start a unit. PoolBroken: `renew` it."""
        ...

    def wait(self, tickets: Collection[Ticket], timeout: float, *, every: bool = False) -> Sequence[Ticket]:
        """Those whose units have ended, as soon as one has (`every`: when all have), or after `timeout` seconds."""
        ...

    def result(self, ticket: Ticket) -> UnitResult:
        """Of a unit that has ended: what it did; raises what it raised, or PoolBroken."""
        ...

    def stop_units(self) -> None:
        """Ask running units to end at their next commit point. Final for this pool, until it is renewed."""
        ...

    def renew(self) -> None:
        """End what is left of the old pool and start afresh."""
        ...

    def close(self) -> None:
        """End the pool; units that still run are ended wherever they are. Idempotent."""
        ...


PoolFactory = Callable[[Callable[[], bool]], UnitPool[Any]]
"""Makes the pool of one task; is told how units that run in this process learn that they shall end."""


def make_pool(
    executor: str | PoolFactory, stopping: Callable[[], bool], on_page: OnPage | None = None
) -> UnitPool[Any]:
    """A pool for `inline`, `threads:N`, `processes:N`, or what a factory makes; else RequestError. on_page: told by units
    that run in this process; of others one learns when they are committed."""
    if not isinstance(executor, str):
        return executor(stopping)
    kind, number = parse_executor(executor)
    if kind == "processes":
        from fhirferry.engine.processes import ProcessPool

        return ProcessPool(number)
    return ThreadPool(number, stopping, on_page) if kind == "threads" else InlinePool(stopping, on_page)


def parse_executor(spec: str) -> tuple[str, int]:
    """Kind and number: `inline` (1), `threads:N` or `processes:N`; RequestError for anything else."""
    kind, _, number = spec.strip().partition(":")
    if spec.strip() == "inline":
        return "inline", 1
    if kind in ("threads", "processes") and number.isdecimal() and int(number) > 0:
        return kind, int(number)
    raise RequestError(f"{spec!r} is not an executor; write inline, threads:N or processes:N with N of 1 or more")


CarryOut = Callable[[UnitOrder], UnitResult]


class Run:
    """A unit that was handed to a pool of this process, and what became of it."""

    def __init__(self, order: UnitOrder) -> None:
        self._order = order
        self._result: UnitResult | None = None
        self._error: BaseException | None = None
        self.ended = False

    def run(self, carry_out: CarryOut) -> None:
        """Never raises: `result` does."""
        try:
            self._result = carry_out(self._order)
        except BaseException as error:
            self._error = error

    @property
    def fatal(self) -> bool:
        """What it raised concerns the whole process, like Ctrl-C."""
        return self._error is not None and not isinstance(self._error, Exception)

    def result(self) -> UnitResult:
        """What the unit did, or raised."""
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise PoolBroken("the unit was not run to its end")
        return self._result


class InlinePool:
    """Runs each unit to its end inside `submit`."""

    room = 1

    def __init__(self, stopping: Callable[[], bool], on_page: OnPage | None = None) -> None:
        self._stopping = stopping
        self._on_page = on_page

    def submit(self, order: UnitOrder) -> Run:
        unit = Run(order)
        unit.run(lambda order: run_unit(order, self._stopping, self._on_page))
        if unit.fatal:
            unit.result()
        return unit

    def wait(self, tickets: Collection[Run], timeout: float, *, every: bool = False) -> Sequence[Run]:  # noqa: ARG002
        return list(tickets)

    def result(self, ticket: Run) -> UnitResult:
        return ticket.result()

    def stop_units(self) -> None:
        """Nothing to do: `stopping` is asked at every page."""

    def renew(self) -> None:
        """Nothing to do: there is no process that could die."""

    def close(self) -> None:
        """Nothing to do."""


class Crew(ABC):
    """N threads of this process that take units from one queue; a heir says what each of them does with one.

    Not the library's pool, which does the same: importing it, and the logging that comes with it, costs a small export
    a twentieth of its time.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._threads: list[threading.Thread] = []
        self._waiting: SimpleQueue[Run | None] = SimpleQueue()
        self._ended = threading.Condition()

    @abstractmethod
    def _hand(self) -> CarryOut:
        """What a new thread of the crew carries units out with."""

    def submit(self, order: UnitOrder) -> Run:
        unit = Run(order)
        self._waiting.put(unit)
        if len(self._threads) < self.room:
            arguments = (self._hand(), self._waiting)
            # A daemon: one that could not be ended (see `_dismiss`) must not hold up the end of the process.
            thread = threading.Thread(target=self._work, args=arguments, name=f"unit_{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return unit

    def wait(self, tickets: Collection[Run], timeout: float, *, every: bool = False) -> Sequence[Run]:
        enough = all if every else any
        with self._ended:
            self._ended.wait_for(lambda: enough(unit.ended for unit in tickets), timeout)
            return [unit for unit in tickets if unit.ended]

    def result(self, ticket: Run) -> UnitResult:
        return ticket.result()

    def _dismiss(self, until: float | None = None) -> None:
        """Wait for the threads to end; those that have not when `time.monotonic()` is at `until` take no further unit."""
        waiting, self._waiting = self._waiting, SimpleQueue()
        for _ in self._threads:
            waiting.put(None)
        while self._threads:
            self._threads.pop().join(None if until is None else max(0.0, until - time.monotonic()))

    def _work(self, carry_out: CarryOut, waiting: SimpleQueue[Run | None]) -> None:
        while (unit := waiting.get()) is not None:
            unit.run(carry_out)
            with self._ended:
                unit.ended = True
                self._ended.notify_all()
            del unit  # its result waits for nobody here


class ThreadPool(Crew):
    """N units side by side in threads of this process. They share its fate, so there is nothing to renew."""

    def __init__(self, room: int, stopping: Callable[[], bool], on_page: OnPage | None = None) -> None:
        super().__init__(room)
        self._stopping = stopping
        self._on_page = on_page
        self._closed = False

    def _hand(self) -> CarryOut:
        return lambda order: run_unit(order, self._shall_end, self._on_page)

    def _shall_end(self) -> bool:
        return self._closed or self._stopping()

    def stop_units(self) -> None:
        self._closed = True

    def renew(self) -> None:
        self._closed = False

    def close(self) -> None:
        """A thread cannot be ended from outside: units end at their next page."""
        self._closed = True
        self._dismiss()
