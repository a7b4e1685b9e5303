"""Where units of work run. `concurrent.futures` is the contract: an order goes out, a future comes back.

`inline` runs a unit at once, in the caller's thread. `threads:N` runs N units side by side in this process: reading,
hashing and writing release the interpreter lock, so two of them fill two cores, and one reads while another waits for
the disk. `processes:N` keeps N processes, started by spawn (a fork would copy locks and database connections). A pool
whose process was killed is broken as a whole; `renew` makes a new one and the task hands out again what is not committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from fhirferry.engine.unit import OnPage, UnitOrder, UnitResult, run_unit
from fhirferry.model.errors import RequestError

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor


class UnitPool(Protocol):
    """room: how many units it runs at once."""

    room: int

    def submit(self, order: UnitOrder) -> Future[UnitResult]:
        """Start a unit. BrokenExecutor (here or from the future): the pool died; `renew` it."""
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


PoolFactory = Callable[[Callable[[], bool]], UnitPool]
"""Makes the pool of one task; is told how units that run in this process learn that they shall end."""


def make_pool(executor: str | PoolFactory, stopping: Callable[[], bool], on_page: OnPage | None = None) -> UnitPool:
    """A pool for `inline`, `threads:N`, `processes:N`, or what a factory makes; else RequestError. on_page: told by units
    that run in this process; of others one learns when they are committed."""
    if not isinstance(executor, str):
        return executor(stopping)
    kind, number = parse_executor(executor)
    if kind == "processes":
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


class InlinePool:
    """Runs each unit to its end inside `submit`."""

    room = 1

    def __init__(self, stopping: Callable[[], bool], on_page: OnPage | None = None) -> None:
        self._stopping = stopping
        self._on_page = on_page

    def submit(self, order: UnitOrder) -> Future[UnitResult]:
        from concurrent.futures import Future  # here, because importing it is a tenth of a small export's time

        future: Future[UnitResult] = Future()
        try:
            future.set_result(run_unit(order, self._stopping, self._on_page))
        except Exception as error:
            future.set_exception(error)
        return future

    def stop_units(self) -> None:
        """Nothing to do: `stopping` is asked at every page."""

    def renew(self) -> None:
        """Nothing to do: there is no process that could die."""

    def close(self) -> None:
        """Nothing to do."""


class ThreadPool:
    """N units side by side in threads of this process. They share its fate, so there is nothing to renew."""

    def __init__(self, room: int, stopping: Callable[[], bool], on_page: OnPage | None = None) -> None:
        from concurrent.futures import ThreadPoolExecutor  # see InlinePool.submit

        self.room = room
        self._stopping = stopping
        self._on_page = on_page
        self._closed = False
        self._pool = ThreadPoolExecutor(room, thread_name_prefix="unit")

    def submit(self, order: UnitOrder) -> Future[UnitResult]:
        return self._pool.submit(run_unit, order, self._shall_end, self._on_page)

    def stop_units(self) -> None:
        self._closed = True

    def renew(self) -> None:
        self._closed = False

    def close(self) -> None:
        """A thread cannot be ended from outside: units end at their next page."""
        self._closed = True
        self._pool.shutdown(cancel_futures=True)

    def _shall_end(self) -> bool:
        return self._closed or self._stopping()


class ProcessPool:
    """N processes of this machine. A process ends itself when its parent is gone, wherever it is in its work.

    Units are told to stop by closing a pipe that they look at: no lock, which a killed process might take with it.
    """

    def __init__(self, room: int) -> None:
        import multiprocessing

        self.room = room
        self._context = multiprocessing.get_context("spawn")
        self._listen, self._tell = self._context.Pipe(duplex=False)
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, order: UnitOrder) -> Future[UnitResult]:
        if self._pool is None:
            from concurrent.futures import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(
                self.room, mp_context=self._context, initializer=_start_child, initargs=(self._listen,)
            )
        with _signals_held():  # a process that starts now, starts so
            return self._pool.submit(_run_in_child, order)

    def stop_units(self) -> None:
        self._tell.close()

    def renew(self) -> None:
        self.close()
        self._listen, self._tell = self._context.Pipe(duplex=False)

    def close(self) -> None:
        self._tell.close()
        self._listen.close()
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        for process in list((pool._processes or {}).values()):  # the executor has no public way to end its children
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _signals_held() -> Iterator[None]:
    """This thread, and a process that it starts, get no Ctrl-C or SIGTERM: one that is about to start would die of it."""
    import signal

    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


_told_in_child: Any = None


def _start_child(told: Any) -> None:
    """A child leaves signals that stop to its parent (a terminal and systemd send them to all), but does not outlive it."""
    import multiprocessing
    import os
    import signal
    import threading
    from multiprocessing.connection import wait

    global _told_in_child
    _told_in_child = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("a pool's child has no parent process")

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, name="follow-parent", daemon=True).start()


def _run_in_child(order: UnitOrder) -> UnitResult:
    return run_unit(order, _told_in_child.poll)
