"""When a unit of work comes to its commit point, and how fast it goes there."""

from __future__ import annotations

import time
from collections.abc import Callable

from fhirferry.model.job import JobSettings


class Cadence:
    """When a commit is due besides a full file (S5, S22, S52): after so many pages, or so many seconds."""

    def __init__(self, settings: JobSettings, rate: float | None) -> None:
        self._pages_left = settings.pages_per_commit
        self._start = time.monotonic()
        self._seconds = settings.seconds_per_commit
        self._rate = rate
        self._carried = 0

    @property
    def due(self) -> bool:
        """By pages or by the clock."""
        return self._pages_left == 0 or self.late

    @property
    def late(self) -> bool:
        """By the clock: then no partition is begun, however small the file still is."""
        return time.monotonic() - self._start >= self._seconds

    def passed(self, size: int, stopping: Callable[[], bool]) -> None:
        """A page of `size` bytes went by. Sleeps until it is within the rate, or the unit is told to stop."""
        if self._pages_left:
            self._pages_left -= 1
        if self._rate is None:
            return
        self._carried += size
        until = self._start + self._carried / self._rate
        while (wait := until - time.monotonic()) > 0 and not stopping():
            time.sleep(min(wait, 0.2))
