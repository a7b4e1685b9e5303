"""L16: an instant has no precision to lose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import SECOND, format_compact, format_instant, parse_instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = (datetime(9999, 12, 30, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
FIRST = (datetime(1, 1, 2, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
INSTANTS = st.integers(FIRST, LAST)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(INSTANTS)
def test_l16_every_microsecond_reads_back_exactly(micros: int) -> None:
    text = format_instant(micros)
    assert parse_instant(text) == parse_instant(text, round_up=True) == micros
    assert text.endswith("Z")


@given(st.integers(0, 4_000_000_000 * SECOND), ZONES)
def test_l16_the_zone_it_is_written_with_changes_nothing(micros: int, zone: timezone) -> None:
    text = (EPOCH + timedelta(microseconds=micros)).astimezone(zone).isoformat(timespec="microseconds")
    assert parse_instant(text) == micros


def test_a_plus_that_a_url_decoder_turned_into_a_blank_is_read_as_a_plus() -> None:
    assert parse_instant("1970-01-01T01:00:00 01:00") == 0


def test_a_blank_for_a_plus_after_a_fraction_too() -> None:
    assert parse_instant("1970-01-01T01:00:00.000 01:00") == 0


@given(st.integers(0, 4_000_000_000), st.text("0123456789", min_size=1, max_size=12))
def test_l16_digits_beyond_microseconds_never_move_a_resource_over_a_bound(seconds: int, digits: str) -> None:
    """In nanoseconds or finer: `changed > S` as for floor(S), `changed < U` as for ceil(U)."""
    text = format_instant(seconds * SECOND).replace(".000Z", f".{digits}Z")
    exact = seconds * 10**12 + int(digits.ljust(12, "0"))  # in 10^-12 s
    low, high = parse_instant(text), parse_instant(text, round_up=True)
    assert low == exact // 10**6
    assert high == -(-exact // 10**6)
    for changed in range(low - 1, high + 2):
        assert (changed > low) == (changed * 10**6 > exact)
        assert (changed < high) == (changed * 10**6 < exact)


@given(INSTANTS, INSTANTS)
def test_texts_order_as_their_instants_do(one: int, other: int) -> None:
    low, high = sorted((one, other))
    widest = [
        format_instant(each).replace("Z", "000Z") if each % 1000 == 0 else format_instant(each) for each in (low, high)
    ]
    assert widest == sorted(widest)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        (" 2026-11-22T08:30:00Z ", 1_795_336_200 * SECOND),
    ],
)
def test_instants_as_people_write_them(text: str, micros: int) -> None:
    assert parse_instant(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026",
        "2026-11-22",
        "2026-11-22T08:30:00",
        "2026-11-22T08:30Z",
        "2026-13-01T00:00:00Z",
        "20261122T083000Z",
        "2026-11-22 08:30:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T25:00:00Z",
        "1700000000",
    ],
)
def test_what_is_no_instant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RequestError, match="2026-11-22T08:30:00Z"):
        parse_instant(text)


def test_s65_the_compact_form_of_a_layout() -> None:
    assert format_compact(parse_instant("2026-11-22T09:30:07.9+01:00")) == "20261122T083007"


def test_milliseconds_are_written_where_they_are_exact() -> None:
    assert format_instant(1_795_336_200 * SECOND) == "2026-11-22T08:30:00.000Z"
    assert format_instant(1_795_336_200 * SECOND + 1) == "2026-11-22T08:30:00.000001Z"
