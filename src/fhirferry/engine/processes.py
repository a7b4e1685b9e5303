"""Units of work in processes of this machine: to each thread of the pool a process of its own, and a pipe between the two.

Whatever kills a process, at whatever instruction, costs its own unit: the pipe has no other writer, so its thread reads
to an end, and there is no lock or queue that several processes share, which a killed one might take along or leave half
written. (`concurrent.futures` has both: there a process that dies while it writes its result is waited for for ever.)
Only a thread ever waits for a process, so one that is stopped, or writes slowly, holds up nobody else.

Started by spawn: a fork would copy locks and database connections. Imported only where they are wanted: this costs more
than a small export takes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler

from fhirferry.engine.executors import CarryOut, Crew, PoolBroken
from fhirferry.engine.unit import UnitOrder, UnitResult, run_unit
from fhirferry.model.errors import TransientError

PATIENCE = 5.0
"""Seconds that killed processes get to be gone. The kernel keeps those longer that wait for a disk which does not answer."""


class ProcessPool(Crew):
    """N processes of this machine. A process ends itself when its parent is gone, wherever it is in its work."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self._children = _Children()

    def stop_units(self) -> None:
        self._children.tell_to_stop()

    def renew(self) -> None:
        self.close()
        self._children = _Children()

    def close(self) -> None:
        until = time.monotonic() + PATIENCE
        self._children.kill(until)
        self._dismiss(until)

    def _hand(self) -> CarryOut:
        return _Seat(self._children).carry_out


class _Children:
    """The processes of a pool from its making to its end.

    They are told to stop by closing a pipe that they look at: no lock either.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._listen, self._tell = self._context.Pipe(duplex=False)
        self._changing = threading.Lock()
        self._ended = False
        self._living: list[SpawnProcess] = []

    def start(self) -> tuple[SpawnProcess, Connection[UnitOrder, UnitResult | Exception]]:
        """A new process, and the pipe to it. PoolBroken: they were ended; OSError: the system has no more of them."""
        ours, its = self._context.Pipe()
        with its:  # closed here once it is there: then its end is the end of what can be read
            try:
                process = self._context.Process(target=_serve, args=(its, self._listen))
                with self._changing, _signals_held():  # a process that starts now, starts so
                    if self._ended:
                        raise PoolBroken
                    process.start()
                    self._living = [*(each for each in self._living if each.is_alive()), process]
            except BaseException:
                ours.close()
                raise
        return process, ours

    def tell_to_stop(self) -> None:
        self._tell.close()

    def kill(self, until: float) -> None:
        """End all, wherever they are, and wait for that, at most until `time.monotonic()` is so far. None starts any more."""
        with self._changing:
            self._ended = True
            self._tell.close()
            self._listen.close()
            for process in self._living:
                process.kill()
        for process in self._living:
            process.join(max(0.0, until - time.monotonic()))


class _Seat:
    """A thread's seat in the pool: the process that works for it, and the next one when that has died."""

    def __init__(self, children: _Children) -> None:
        self._children = children
        self._process: SpawnProcess | None = None

    def carry_out(self, order: UnitOrder) -> UnitResult:
        """Raises what the unit raised, or PoolBroken when its process died."""
        if self._process is None or not self._process.is_alive():
            self._process, self._pipe = self._children.start()
        try:
            self._pipe.send(order)
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.kill()  # whatever it may still do: nobody hears of it
            self._process.join(PATIENCE)
            raise PoolBroken from error
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def _signals_held() -> Iterator[None]:
    """This thread, and a process that it starts, get no Ctrl-C or SIGTERM: one that is about to start would die of it."""
    resource_tracker.ensure_running()  # the first start would bring it along, and that lets the signals through again
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _serve(pipe: Connection[bytes, bytes], told: Connection[None, None]) -> None:
    """A child's life: orders in, answers out, until its parent closes the pipe or is gone.

    It leaves signals that stop to its parent (a terminal and systemd send them to all), but does not outlive it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    while True:
        try:
            order = pipe.recv_bytes()
            pipe.send_bytes(_answer(order, told.poll))
        except (EOFError, OSError):
            return


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


def _answer(order: bytes, stopping: Callable[[], bool]) -> bytes:
    """What the unit did, or the error that it raised, as `Connection.recv` reads it. Never raises an Exception."""
    try:
        return bytes(ForkingPickler.dumps(run_unit(ForkingPickler.loads(order), stopping)))
    except Exception as error:
        try:
            answer = bytes(ForkingPickler.dumps(error))
            ForkingPickler.loads(answer)  # some can be taken down, but not put together again
        except Exception:
            reason = TransientError(f"A unit of work failed: {type(error).__name__}.")
            return bytes(ForkingPickler.dumps(reason))
        return answer
