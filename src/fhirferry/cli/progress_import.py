"""Progress of an import on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from fhirferry.cli.console import Console
from fhirferry.cli.view import Pace, Row, Teller, View
from fhirferry.importing.importer import ImportTotals
from fhirferry.model.instant import Clock, Instant


class ImportProgress:
    """Told the totals after every batch. How much there is in all is looked up when something is first shown, because
    that looks at every file; with a pipe among them it is not known, nor is the time left."""

    def __init__(self, console: Console, clock: Clock, paths: Sequence[Path]) -> None:
        self._clock = clock
        self._paths = paths
        self._lock = Lock()
        self._pace = Pace()
        self._pace.see(clock(), 0, 0, 0)
        self._rows: dict[str, int] = {}
        self._at_work: list[str] = []
        self._totals: ImportTotals | None = None
        self._measured = False
        self._size: int | None = None
        self._teller = Teller(console, clock, self.view)

    def __call__(self, totals: ImportTotals) -> None:
        with self._lock:
            self._totals = totals
            rows = {
                name: of.new + of.changed + of.equal + of.older + of.deleted + of.absent
                for name, of in totals.types.items()
            }
            grown = {name: count - self._rows.get(name, 0) for name, count in rows.items()}
            self._at_work = sorted((name for name in grown if grown[name]), key=lambda name: -grown[name])
            self._rows = rows
            self._pace.see(self._clock(), totals.read, totals.resources, totals.bytes)
        self._teller.moved(self.view)

    def view(self, now: Instant) -> View | None:
        """By resource type. The bar is of the files' bytes as they are stored, the sizes are of what was taken."""
        if not self._measured:
            from fhirferry.importing.inputs import stored_bytes

            self._size = stored_bytes(self._paths)
            self._measured = True
        with self._lock:
            totals = self._totals
            if totals is None:
                return None
            return View(
                verb="importing",
                rows=[Row(name=name, resources=count) for name, count in self._rows.items()],
                at_work=self._at_work,
                total=Row(
                    name="total",
                    resources=totals.resources,
                    bytes=totals.bytes,
                    share=min(totals.read / self._size, 1.0) if self._size else None,
                ),
                speed=self._pace.speed(now, self._size),
                note=f"{totals.bad:,} bad" if totals.bad else "",
            )
