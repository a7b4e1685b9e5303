"""Time as days since 1970-01-01 and seconds of a day, written as FHIR writes it."""

from __future__ import annotations

from datetime import date as _date
from functools import lru_cache

_EPOCH = _date(1970, 1, 1).toordinal()
YEAR = 365.25

END = _date(2026, 1, 1).toordinal() - _EPOCH
"""Where every history ends: the same seed gives the same bytes at any time."""
BEGIN = END - 30 * 365
"""Where the records begin; who is older has lived unrecorded before."""


@lru_cache(maxsize=1 << 16)
def date(day: int) -> bytes:
    """`1987-02-20`"""
    return _date.fromordinal(day + _EPOCH).isoformat().encode()


@lru_cache(maxsize=1440)
def clock(minute: int) -> bytes:
    """`08:30` of a minute of the day."""
    return b"%02d:%02d" % divmod(minute, 60)


def moment(day: int, minute: int) -> bytes:
    """`1987-02-20T08:30:00-05:00`, a FHIR dateTime; minutes may run on into the days that follow."""
    days, minute = divmod(minute, 1440)
    return b"%bT%b:00-05:00" % (date(day + days), clock(minute))


def instant(day: int, noise: int) -> bytes:
    """`1987-02-20T13:30:07.041Z`, a FHIR instant; noise: any number of up to 40 bits, decides the time of day."""
    return b"%bT%b:%02d.%03dZ" % (date(day), clock((noise >> 16) % 1440), (noise >> 8) % 60, noise % 1000)
