"""Interleave tasks as a test chooses: each runs in a thread of its own and stops at every fault point.

    with Stage() as stage:
        first, second = stage.start(work_a), stage.start(work_b)
        first.run(until="commit-before")
        second.run()
        first.crash()

Exactly one of them runs at any moment, so a run repeats exactly. With inline executors a task and its units are one
thread; their writers only ever wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from fhirferry import faultpoints

LOCKED = frozenset({"commit-inside"})
"""Points at which the ledger is locked: nobody stops there, since everybody else would wait for it; one can die there."""


class Crash(BaseException):
    """The process of this task is gone. No error of the program: what handles errors must not handle this one."""


class Actor:
    """One thread of work. point: where it stands, None before its start and after its end. ended: it is over.
    error: what it raised; a crash is none."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.point: str | None = None
        self.ended = False
        self.error: BaseException | None = None
        self._work = work
        self._dies_at: str | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="actor", daemon=True)
        self._thread.start()

    def step(self) -> None:
        """On to the next point, or to the end."""
        if not self.ended:
            self._go.release()
            self._back.acquire()

    def run(self, until: str | None = None) -> None:
        """On to the next time that it reaches `until`; without it, or when it does not come by, to the end."""
        self.step()
        while not self.ended and self.point != until:
            self.step()

    def crash(self, at: str | None = None) -> None:
        """Die where it stands, or the next time that it reaches `at` (when it does not come by: not at all)."""
        self._dies_at = at or self.point or "start"
        if at is None:
            self.step()
        else:
            self.run()
        self._thread.join()

    def reached(self, point: str) -> None:
        """Called in the actor's thread."""
        if point == self._dies_at:
            raise Crash
        if point in LOCKED:
            return
        self.point = point
        self._back.release()
        self._go.acquire()
        if self._dies_at == point:
            raise Crash

    def _run(self) -> None:
        self._go.acquire()
        try:
            if self._dies_at != "start":
                self._work()
        except Crash:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.point, self.ended = None, True
            self._back.release()


class Stage:
    """Fault points stop the actors while the `with` block runs; those left at its end crash."""

    def __init__(self) -> None:
        self._actors: list[Actor] = []

    def __enter__(self) -> Stage:
        self._before, faultpoints.armed = faultpoints.armed, self._reached
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors:
            if not actor.ended:
                actor.crash()
        faultpoints.armed = self._before

    def start(self, work: Callable[[], object]) -> Actor:
        """An actor that has not begun yet: its first step does."""
        actor = Actor(work)
        self._actors.append(actor)
        return actor

    def _reached(self, point: str) -> None:
        here = threading.current_thread()
        for actor in self._actors:
            if actor._thread is here:
                actor.reached(point)
