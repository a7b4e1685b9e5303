"""Dates as ranges: every date, with whatever precision, is a stretch of time (https://hl7.org/fhir/R4/search.html#date).

A range is half open, in microseconds since 1970-01-01T00:00:00Z: 2013-01-14 is [start of the 14th, start of the 15th).
A date or time without a zone is read as UTC, in filters and in resources, so that a result does not depend on the
machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta

Range = tuple[int, int]

SECOND = 1_000_000
DAY = 86_400 * SECOND
PAST, FUTURE = -(2**63), 2**63
"""The ends of a period that has no start, or no end: before and after every date."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal()
_MICROSECOND = timedelta(microseconds=1)
_shape = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(T\d\d:\d\d(:\d\d(?:\.(\d+))?)?(?:Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
).fullmatch


def compare(prefix: str, wanted: Range) -> Callable[[Range], bool]:
    """The test of a resource's range for one date and its prefix, in the words of the search page's table.

    `ap`: the ranges overlap. The page's 10 % of the time until today would let an export depend on the day it runs; it
    leaves the choice to the system.
    """
    low, high = wanted
    tests: Mapping[str, Callable[[Range], bool]] = {
        "eq": lambda r: low <= r[0] and r[1] <= high,
        "ne": lambda r: r[0] < low or high < r[1],
        "gt": lambda r: r[1] > high,
        "lt": lambda r: r[0] < low,
        "ge": lambda r: r[1] > high or (low <= r[0] and r[1] <= high),
        "le": lambda r: r[0] < low or (low <= r[0] and r[1] <= high),
        "sa": lambda r: r[0] >= high,
        "eb": lambda r: r[1] <= low,
        "ap": lambda r: r[0] < high and low < r[1],
    }
    return tests[prefix]


def date_range(text: str) -> Range | None:
    """The range of a FHIR date, dateTime or instant with the precision it is written in; None for any other text."""
    parts = _shape(text)
    if parts is None:
        return None
    year, month, day, time, seconds, fraction = parts.groups()
    try:
        if time is not None:
            # fromisoformat reads 3 or 6 digits in every version; more than 6 are beyond our precision.
            if fraction:  # with its point: a year may have the same digits
                text = text.replace(f".{fraction}", f".{fraction[:6].ljust(6, '0')}")
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            low = (moment - _EPOCH) // _MICROSECOND
            if fraction:
                return low, low + max(1, SECOND // 10 ** len(fraction))
            return low, low + (SECOND if seconds else 60 * SECOND)
        first = date(int(year), int(month or 1), int(day or 1)).toordinal()
        if day:
            last = first
        elif month:
            last = _before(int(year) + int(month) // 12, int(month) % 12 + 1)
        else:
            last = _before(int(year) + 1, 1)
    except ValueError:
        return None
    return (first - _EPOCH_DAY) * DAY, (last + 1 - _EPOCH_DAY) * DAY


def _before(year: int, month: int) -> int:
    """The day before this month, as an ordinal."""
    return date(year, month, 1).toordinal() - 1 if year < 10_000 else _LAST_DAY


def instant_range(value: object) -> Range | None:
    """An instant is a point: as narrow as our clock can tell, whatever precision it is written in."""
    found = date_range(value) if type(value) is str else None
    return None if found is None else (found[0], found[0] + 1)


def datetime_range(value: object) -> Range | None:
    """Of a `date` or `dateTime` in a resource."""
    return date_range(value) if type(value) is str else None


def period_range(value: object) -> Range | None:
    """From the start of `start` to the end of `end`; open where one is missing; None where both are."""
    if type(value) is not dict:
        return None
    start, end = datetime_range(value.get("start")), datetime_range(value.get("end"))
    if start is None and end is None:
        return None
    return (start[0] if start else PAST), (end[1] if end else FUTURE)


def timing_range(value: object) -> Range | None:
    """The outer limits of a Timing: of its events and of `repeat.boundsPeriod`; None where it has neither."""
    if type(value) is not dict:
        return None
    events, repeat = value.get("event"), value.get("repeat")
    ranges = [datetime_range(event) for event in events] if type(events) is list else []
    if type(repeat) is dict:
        ranges.append(period_range(repeat.get("boundsPeriod")))
    known = [found for found in ranges if found]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


RANGES: Mapping[str, Callable[[object], Range | None]] = {
    "date": datetime_range,
    "dateTime": datetime_range,
    "instant": instant_range,
    "Period": period_range,
    "Timing": timing_range,
}
