"""Units of work in processes of this machine: `concurrent.futures` with what it leaves open.

Started by spawn: a fork would copy locks and database connections. Imported only where they are wanted: this costs more
than a small export takes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any

from fhirferry.engine.executors import PoolBroken
from fhirferry.engine.unit import UnitOrder, UnitResult, run_unit


class ProcessPool:
    """N processes of this machine. A process ends itself when its parent is gone, wherever it is in its work.

    Units are told to stop by closing a pipe that they look at: no lock, which a killed process might take with it.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._context = multiprocessing.get_context("spawn")
        self._listen, self._tell = self._context.Pipe(duplex=False)
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, order: UnitOrder) -> Future[UnitResult]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.room, mp_context=self._context, initializer=_start_child, initargs=(self._listen,)
            )
        try:
            with _signals_held():  # a process that starts now, starts so
                return self._pool.submit(_run_in_child, order)
        except BrokenExecutor as error:
            raise PoolBroken from error

    def wait(
        self, tickets: Collection[Future[UnitResult]], timeout: float, *, every: bool = False
    ) -> Sequence[Future[UnitResult]]:
        until = ALL_COMPLETED if every else FIRST_COMPLETED
        return list(wait(tickets, timeout=timeout, return_when=until).done)

    def result(self, ticket: Future[UnitResult]) -> UnitResult:
        try:
            return ticket.result()
        except (BrokenExecutor, CancelledError) as error:
            raise PoolBroken from error

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
    global _told_in_child
    _told_in_child = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("a pool's child has no parent process")

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, name="follow-parent", daemon=True).start()


def _run_in_child(order: UnitOrder) -> UnitResult:
    return run_unit(order, _told_in_child.poll)
