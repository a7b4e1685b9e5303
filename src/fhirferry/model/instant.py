"""Instants: whole microseconds since 1970-01-01T00:00:00Z, as `int`.

An integer has no precision to lose (L16): `_since` and `_until` compare exactly, whatever zone or number of digits
they were written with. FHIR's `instant` is RFC 3339 with seconds and a zone (https://hl7.org/fhir/R4/datatypes.html#instant).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fhirferry.model.errors import RequestError

Instant = int
Clock = Callable[[], Instant]
"""Returns the present instant. Handed in through constructors, so that tests own time."""

SECOND = 1_000_000
DAY = 86_400 * SECOND
FOREVER = 2**63 - 1
"""The end of a version that is still current."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_instant(text: str, *, round_up: bool = False) -> Instant:
    """Microseconds of a FHIR instant. Digits beyond microseconds are cut off, or rounded up with `round_up`.

    `changed > S` holds for whole microseconds exactly when it holds for floor(S), `changed < U` exactly when it
    holds for ceil(U): so read `_since` without and `_until` with `round_up`, and nothing is ever lost between two.
    Raises RequestError when the text is no instant (a date alone, no zone).
    """
    raw = text.strip()
    if " " in raw[19:]:
        raw = raw[:19] + raw[19:].replace(" ", "+", 1)  # a '+' that a URL decoder turned into a space
    try:
        moment = datetime.fromisoformat(raw)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or len(raw) < 20 or raw[10] not in "Tt":
        raise RequestError(
            f"{text!r} is not an instant; write it like 2026-11-22T08:30:00Z or 2026-11-22T09:30:00+01:00"
        )
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    if round_up and _digits_beyond_micros(raw):
        micros += 1
    return micros


def _digits_beyond_micros(raw: str) -> bool:
    fraction = raw[20:] if raw[19:20] in (".", ",") else ""
    digits = fraction[: next((i for i, c in enumerate(fraction) if not c.isdigit()), len(fraction))]
    return digits[6:].strip("0") != ""


def format_instant(micros: Instant) -> str:
    """FHIR instant in UTC, with milliseconds, or with microseconds where milliseconds would not be exact."""
    moment = _EPOCH + timedelta(microseconds=micros)
    spec = "milliseconds" if micros % 1000 == 0 else "microseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def format_compact(micros: Instant) -> str:
    """`yyyyMMddTHHmmss` in UTC, as the layout tag `<timestamp>` has it (S65)."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y%m%dT%H%M%S")
