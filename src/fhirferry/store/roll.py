"""A Group's members at an instant (L3): who is not inactive, and whose period holds it.

Dates may be partial. A period begins with the first instant of its start and ends with the last one of its end
(https://hl7.org/fhir/R4/datatypes.html#Period); a date without a zone is one in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from fhirferry.fhir.membership import Reference, target
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import FOREVER, SECOND, Instant, parse_instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_date = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?").fullmatch
_fraction = re.compile(r".{19}\.(\d+)").match


class _Period(msgspec.Struct, gc=False):
    start: str | None = None
    end: str | None = None


class _Member(msgspec.Struct, gc=False):
    entity: Reference | None = None
    period: _Period | None = None
    inactive: bool | None = None


class _Group(msgspec.Struct):
    """Members as bytes: a Group of 25 MB has half a million, and each, once decoded, takes three times its bytes."""

    active: bool | None = None
    member: list[msgspec.Raw] = []


_group = msgspec.json.Decoder(_Group).decode
_member = msgspec.json.Decoder(_Member).decode


class Roll:
    """The members of one Group at T, to be gone through once. Raises msgspec.MsgspecError for what is no Group.

    active: False for a Group that is no longer in use; it has no members. odd: members so far that cannot be
    understood; they are none.
    """

    def __init__(self, body: bytes, t: Instant) -> None:
        self.odd = 0
        self._t = t
        group = _group(body)
        self.active = group.active is not False
        self._members = group.member if self.active else []

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Type and id of each."""
        for raw in self._members:
            try:
                member = _member(raw)
                there = member.inactive is not True and _holds(member.period, self._t)
            except (msgspec.ValidationError, ValueError, RequestError):
                self.odd += 1
                continue
            if there and member.entity is not None:
                kind, ident = target(member.entity.reference)
                if ident:
                    yield kind, ident


def _holds(period: _Period | None, t: Instant) -> bool:
    if period is None:
        return True
    begun = period.start is None or span(period.start)[0] <= t
    return begun and (period.end is None or t < span(period.end)[1])


@lru_cache(maxsize=4096)
def span(text: str) -> tuple[Instant, Instant]:
    """First instant of a FHIR date or dateTime, and the first after it. ValueError or RequestError if it is none."""
    found = _date(text)
    if found is None:
        begin = parse_instant(text)
        fraction = _fraction(text)
        digits = len(fraction[1]) if fraction else 0
        return begin, begin + max(1, SECOND // 10**digits)
    year, month, day = (int(part) if part else 0 for part in found.groups())
    begin = _micros(datetime(year, month or 1, day or 1, tzinfo=UTC))
    if not month:
        year += 1
    elif not day:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    else:
        return begin, begin + 24 * 3600 * SECOND
    return begin, _micros(datetime(year, month or 1, 1, tzinfo=UTC)) if year <= 9999 else FOREVER


def _micros(moment: datetime) -> Instant:
    return (moment - _EPOCH) // timedelta(microseconds=1)
