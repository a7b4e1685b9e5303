"""Break the process at a named moment (the moments: `fhirferry.faultpoints.POINTS`).

A fault is written `point:nth:action[:where]`: at the nth time that the process reaches `point`, do `action`.

    action   kill   SIGKILL to this process, as kill -9 does
             stop   SIGSTOP to this process
             raise  raise InjectedFault
             sleep  wait a second
    where    any (default), parent (only the process that was started), child (only its pool's processes)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fhirferry import faultpoints


class InjectedFault(RuntimeError):
    """What the action `raise` raises: an error that nobody expects."""


def parse_fault(text: str, once: str | None = None) -> Callable[[str], None]:
    """The function that `faultpoints.armed` takes. ValueError for a wrong text.

    once: a path; the fault happens only while nothing is there, and leaves a file: once over all processes.
    """
    point, nth, action, where = (*text.split(":"), "any")[:4]
    if point not in faultpoints.POINTS or not nth.isdecimal() or action not in _ACTIONS or where not in _WHERE:
        raise ValueError(f"{text!r} is not a fault; write it like commit-after:1:kill")
    seen: Counter[str] = Counter()

    def armed(reached: str) -> None:
        seen[reached] += 1
        if reached == point and seen[reached] == int(nth) and _WHERE[where]() and _first(once):
            _ACTIONS[action]()

    return armed


@contextmanager
def fault(text: str) -> Iterator[None]:
    """Arm a fault in this process for the block."""
    before, faultpoints.armed = faultpoints.armed, parse_fault(text)
    try:
        yield
    finally:
        faultpoints.armed = before


def _first(once: str | None) -> bool:
    if once is None:
        return True
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def _raise() -> None:
    raise InjectedFault("injected")


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "raise": _raise,
    "sleep": lambda: time.sleep(1),
}
_WHERE: dict[str, Callable[[], bool]] = {
    "any": lambda: True,
    "parent": lambda: multiprocessing.parent_process() is None,
    "child": lambda: multiprocessing.parent_process() is not None,
}
