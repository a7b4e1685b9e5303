"""Bars at the bottom of a terminal while something works.

Theory of operation. A thread draws them a few times a second, and not before the work has lasted a moment: what is over
by then never pays for importing the library that draws. Whoever writes to the terminal meanwhile calls `clear` first,
under the lock that the drawing holds too; then the bars are gone, the text stands where they stood, and the next drawing
puts them below it. The cursor is never hidden, so that no way of dying leaves a terminal without one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhirferry.cli.bars import Bars
    from fhirferry.cli.view import View

PATIENCE = 0.5
"""Seconds before the first drawing."""
EVERY = 0.25
"""Seconds between two."""


class Live:
    """look: what to draw, None = nothing. turn(write): calls `write` while nobody else writes."""

    def __init__(self, look: Callable[[], View | None], turn: Callable[[Callable[[], None]], None]) -> None:
        self._look = look
        self._turn = turn
        self._bars: Bars | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def clear(self) -> None:
        """Take the bars off the terminal until they are drawn next. Only in one's turn."""
        if self._bars is not None:
            self._bars.clear()

    @property
    def standing(self) -> bool:
        """The bars are on the terminal at this moment."""
        return self._bars is not None and self._bars.standing

    def close(self) -> None:
        """No further drawing. Not in one's turn: the thread may wait for it."""
        self._end.set()
        self._thread.join()
        self._turn(self.clear)

    def _run(self) -> None:
        if self._end.wait(PATIENCE):
            return
        from fhirferry.cli.bars import Bars

        self._bars = Bars()
        while not self._end.is_set():
            self._turn(partial(self._draw, self._bars, self._look()))
            self._end.wait(EVERY)

    def _draw(self, bars: Bars, view: View | None) -> None:
        if view is None or self._end.is_set():
            bars.clear()
        else:
            bars.draw(view)
