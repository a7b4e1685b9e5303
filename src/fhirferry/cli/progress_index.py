"""Progress of `store index` on stderr."""

from __future__ import annotations

from threading import Lock

from fhirferry.cli.console import Console
from fhirferry.cli.view import Pace, Row, Teller, View
from fhirferry.model.instant import Clock, Instant


class IndexProgress:
    """Told the versions after every batch: how many are done, and how many there are."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._pace = Pace()
        self._pace.see(clock(), 0, 0, 0)
        self._done = self._total = 0
        self._teller = Teller(console, clock, self.view)

    def __call__(self, done: int, total: int) -> None:
        with self._lock:
            self._done, self._total = done, total
            self._pace.see(self._clock(), done, done, 0)
        self._teller.moved(self.view)

    def view(self, now: Instant) -> View | None:
        """One row: nobody knows of which type the next batch is."""
        with self._lock:
            if not self._done:
                return None
            total = Row(name="total", resources=self._done, of=self._total, share=self._done / self._total)
            return View(verb="indexing", rows=[], at_work=[], total=total, speed=self._pace.speed(now, self._total))
