"""What progress shows, whoever shows it: rows, a total, how fast it goes; and the plain line where nothing can be redrawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.instant import SECOND, Clock, Instant
from fhirferry.model.quantity import format_duration, format_size

if TYPE_CHECKING:
    from fhirferry.cli.console import Console

EVERY = 5 * SECOND
"""Between two plain lines."""
WINDOW = 60 * SECOND
"""So far back goes what the speed is measured over."""
STALLED = 15 * SECOND
"""After so long without a move the speed falls. Before, the next commit is just not due yet."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of figures. share: 0 to 1, None where the whole is not known. of: resources in all. bytes: done."""

    name: str
    resources: int
    of: int | None = None
    bytes: int | None = None
    share: float | None = None
    done: bool = False


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Per second, and seconds left; None where it is not known (yet)."""

    resources: float | None = None
    bytes: float | None = None
    left: float | None = None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How far some work has come. verb: `exporting`. rows: at work or done, in the order in which they began.
    at_work: names of rows. total: of all there is, also of what has no row yet. note: what else there is to know."""

    verb: str
    rows: Sequence[Row]
    at_work: Sequence[str]
    total: Row
    speed: Speed
    note: str = ""


class Pace:
    """Speed over the last minute, of this run only: where it begins is the first thing it sees."""

    def __init__(self) -> None:
        self._seen: deque[tuple[Instant, int, int, int]] = deque()

    def see(self, now: Instant, done: int, resources: int, bytes_: int) -> None:
        """done: in the unit of the total that `speed` is given. What has not moved is not a measurement."""
        seen = self._seen
        if seen and seen[-1][1:] == (done, resources, bytes_):
            return
        if len(seen) > 2 and seen[-1][0] - seen[-2][0] < SECOND // 2:
            seen.pop()
        seen.append((now, done, resources, bytes_))
        while len(seen) > 2 and seen[1][0] < now - WINDOW:
            seen.popleft()

    def speed(self, now: Instant, total: int | None) -> Speed:
        """total: where `done` will end; None where that is not known."""
        if len(self._seen) < 2:
            return Speed()
        first, last = self._seen[0], self._seen[-1]
        end = now if now - last[0] > STALLED else last[0]
        done, resources, bytes_ = (
            (b - a) * SECOND / max(end - first[0], 1) for a, b in zip(first[1:], last[1:], strict=True)
        )
        left = None
        if total is not None and done > 0 and total > last[1]:
            left = max(0.0, (total - last[1]) / done - (now - end) / SECOND)
        return Speed(resources=resources or None, bytes=bytes_ or None, left=left)


def speed_words(speed: Speed) -> list[str]:
    """`40s left`, `85 MB/s`, `52,000/s`: what matters most comes first."""
    words = []
    if speed.left is not None:
        seconds = max(1, round(speed.left))
        words.append(f"{seconds}s left" if seconds < 60 else f"{format_duration(seconds)} left")
    if speed.bytes is not None:
        words.append(f"{format_size(speed.bytes)}/s")
    if speed.resources is not None:
        words.append(f"{speed.resources:,.0f}/s")
    return words


def percent(share: float | None) -> str:
    """`43 %`; nothing where the share is not known. Never rounded up."""
    return "" if share is None else f"{int(share * 100)} %"


def line(view: View) -> str:
    """`exporting 43 %: Observation, 1,234,000 of 3,000,000 resources, 1.2 GB, 52,000/s, 85 MB/s, 40s left`"""
    total = view.total
    parts = []
    if view.at_work:
        parts.append(_at_work(view))
    parts.append(f"{total.resources:,}" + (f" of {total.of:,}" if total.of else "") + " resources")
    if total.bytes is not None:
        parts.append(format_size(total.bytes))
    parts += reversed(speed_words(view.speed))
    if view.note:
        parts.append(view.note)
    return f"{view.verb} {percent(total.share)}".rstrip() + ": " + ", ".join(parts)


def more(view: View | None) -> list[str]:
    """What a text that tells the figures itself may add: the type at work, the speed, the time left."""
    return [] if view is None else [*([_at_work(view)] if view.at_work else []), *reversed(speed_words(view.speed))]


def _at_work(view: View) -> str:
    others = len(view.at_work) - 1
    return view.at_work[0] + (f" and {others} more" if others else "")


class Teller:
    """Has a console show what `look` sees: as bars for as long as the console shows them, else as lines. Quick, and safe
    for threads."""

    def __init__(self, console: Console, clock: Clock, look: Callable[[Instant], View | None]) -> None:
        self._console = console
        self._clock = clock
        self._start = clock()
        self._due: dict[str, Instant] = {}
        self._lock = Lock()
        self._bars = console.show(lambda: look(clock()))

    def moved(self, look: Callable[[Instant], View | None], prefix: str = "") -> None:
        """There is something new. A line every EVERY for each prefix, the first not before that: what is small is over
        before there is anything to tell."""
        if self._bars or self._console.quiet:
            return
        now = self._clock()
        with self._lock:
            if now < self._due.get(prefix, self._start + EVERY):
                return
            self._due[prefix] = now + EVERY
        view = look(now)
        if view is not None:
            self._console.say(prefix + line(view))
