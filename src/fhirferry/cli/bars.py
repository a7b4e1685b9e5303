"""A view drawn by rich. Imported only by what has something to draw on a terminal: rich takes a tenth of a second."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fhirferry.cli.view import Row, View, percent, speed_words
from fhirferry.model.quantity import format_size

GAP = 2
NARROWEST_BAR, WIDEST_BAR = 8, 40
NAME = 29
"""Columns: the longest names of resource types; longer ones (of jobs) are cut."""


class _Terminal(Console):
    """rich's console, which never hides the cursor: a killed process could not bring it back."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - rich's signature
        return False


class Bars:
    """The region at the bottom of the terminal."""

    def __init__(self) -> None:
        self._console = _Terminal(file=sys.stderr, highlight=False, markup=False, emoji=False, force_terminal=True)
        self._live: Live | None = None

    @property
    def standing(self) -> bool:
        """Something is drawn."""
        return self._live is not None

    def draw(self, view: View) -> None:
        """Draw it, over the last one."""
        width, height = self._console.size
        picture = render(view, width, height)
        with suppress(OSError):  # the terminal is gone: the work goes on
            if self._live is None:
                self._live = Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                    vertical_overflow="crop",
                )
                self._live.start()
            self._live.update(picture, refresh=True)

    def clear(self) -> None:
        """Leave the terminal as if nothing had been drawn."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()


def render(view: View, width: int, height: int) -> RenderableType:
    """A row for each type, the total, and one line on speed: never wider than the terminal, nor as high.

    What does not fit goes in this order: the bar, the size, the number of resources.
    """
    room = max(1, height - 4)  # total, speed, and a line each for the text above and for the cursor's way down
    rows = [*_fitting(view.rows, room), view.total]
    counts = [_count(row, width) for row in rows]
    sizes = ["" if row.bytes is None else format_size(row.bytes) for row in rows]
    left = width - 1  # a line that ends in the last column leaves the cursor in doubt
    name = min(max(len(row.name) for row in rows), NAME, max(1, left - 5 - GAP))
    left -= name
    shares = any(row.share is not None for row in rows)
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(width=name, no_wrap=True, overflow="ellipsis")
    cells: list[Sequence[RenderableType]] = [[Text(row.name, "green" if row.done else "") for row in rows]]
    if shares:
        left -= 5 + GAP
    fits = []
    for texts in (counts, sizes):
        need = max(map(len, texts))
        fits.append(need > 0 and need + GAP <= left)
        left -= need + GAP if fits[-1] else 0
    bar = min(left - GAP, WIDEST_BAR)
    if shares and bar >= NARROWEST_BAR:
        table.add_column(width=bar)
        cells.append([_bar(row.share, bar) for row in rows])
    if shares:
        table.add_column(width=5, justify="right", no_wrap=True)
        cells.append([percent(row.share) for row in rows])
    for texts, fit in zip((counts, sizes), fits, strict=True):
        if fit:
            table.add_column(width=max(map(len, texts)), justify="right", no_wrap=True)
            cells.append(list(texts))
    for number, row in enumerate(zip(*cells, strict=True)):
        table.add_row(*row, style="bold" if number == len(rows) - 1 else None)
    outer = Table.grid(pad_edge=False)
    outer.add_row(table)
    outer.add_row(Text(_foot(view, width - 1), "dim", no_wrap=True, overflow="ellipsis"))
    return outer


def _fitting(rows: Sequence[Row], room: int) -> Sequence[Row]:
    """At most `room` rows: first those that are done become one, then that one goes, then the last ones."""
    if len(rows) <= room:
        return rows
    done = [row for row in rows if row.done]
    at_work = [row for row in rows if not row.done]
    if len(at_work) < room:
        together = Row(
            name=f"{len(done)} types done",
            resources=sum(row.resources for row in done),
            bytes=sum(row.bytes or 0 for row in done) or None,
            share=1.0,
            done=True,
        )
        return [together, *at_work]
    if len(at_work) == room or room == 1:
        return at_work[:room]
    return [*at_work[: room - 1], Row(name=f"{len(at_work) - room + 1} more", resources=0)]


def _count(row: Row, width: int) -> str:
    if not row.resources and row.share is None:
        return ""
    return f"{row.resources:,} of {row.of:,}" if row.of and width >= 100 else f"{row.resources:,}"


def _bar(share: float | None, width: int) -> RenderableType:
    return "" if share is None else ProgressBar(total=1.0, completed=min(share, 1.0), width=width)


def _foot(view: View, width: int) -> str:
    words = [*speed_words(view.speed), *([view.note] if view.note else [])]
    while len(words) > 1 and len(", ".join(words)) > width:
        words.pop()
    return ", ".join(words) or f"{view.verb} …"
