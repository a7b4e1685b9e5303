"""The machine's clock, as the assembler hands it to everybody who needs one."""

from __future__ import annotations

import time

from fhirferry.model.instant import Instant


def system_clock() -> Instant:
    """Microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000
