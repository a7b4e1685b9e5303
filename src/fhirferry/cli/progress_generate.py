"""Progress of `generate` on stderr."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from fhirferry.cli.console import Console
from fhirferry.cli.view import Pace, Row, Teller, View
from fhirferry.model.instant import Clock, Instant

if TYPE_CHECKING:
    from fhirferry.samples.writing import Made


class GenerateProgress:
    """Told what has been made, now and then. patients: how many it will be in the end; they decide the share."""

    def __init__(self, console: Console, clock: Clock, patients: int) -> None:
        self._clock = clock
        self._patients = patients
        self._lock = Lock()
        self._pace = Pace()
        self._pace.see(clock(), 0, 0, 0)
        self._made = (0, 0, 0)
        self._teller = Teller(console, clock, self.view)

    def __call__(self, made: Made) -> None:
        with self._lock:
            self._made = (made.patients, made.resources, made.bytes)
            self._pace.see(self._clock(), *self._made)
        self._teller.moved(self.view)

    def view(self, now: Instant) -> View:
        """All types in one: each patient has some of every type, so that none is done before the others."""
        with self._lock:
            patients, resources, size = self._made
            return View(
                verb="generating",
                rows=[],
                at_work=[],
                total=Row(name="total", resources=resources, bytes=size, share=patients / self._patients),
                speed=self._pace.speed(now, self._patients),
                note=f"{patients:,} of {self._patients:,} patients",
            )
