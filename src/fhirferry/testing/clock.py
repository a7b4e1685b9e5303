"""A clock that stands still until it is told to move."""

from __future__ import annotations

from fhirferry.model.instant import SECOND, Instant


class FakeClock:
    """now: microseconds since 1970; starts at 2026-01-01T00:00:00Z. Calling it gives the present instant."""

    def __init__(self, now: Instant = 1_767_225_600 * SECOND) -> None:
        self.now = now

    def __call__(self) -> Instant:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on; negative sets the clock back."""
        self.now += round(seconds * SECOND)
