"""Sizes and durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.model.errors import RequestError
from fhirferry.model.quantity import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("256MB", 256_000_000),
        ("256MiB", 268_435_456),
        ("1.5 GiB", 1_610_612_736),
        ("64kb", 64_000),
        ("1_000 B", 1000),
        ("2TB", 2 * 10**12),
    ],
)
def test_mb_is_a_power_of_ten_and_mib_one_of_two(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("500ms", 0.5), ("5m", 300), ("5min", 300), ("2h", 7200), ("7d", 604_800), ("30", 30), ("0.5", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "MB", "0", "-5MB", "5XB", "1.2.3MB", "0.1B", "many", "1e6", "²MB", "inf", "nan"])
def test_what_is_no_size_or_duration_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="256MB"):
        parse_size(text)
    if text != "0.1B":
        with pytest.raises(RequestError, match="60s"):
            parse_duration(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (256e6, "256 MB"),
        (999_600, "1 MB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_are_written_with_three_digits_at_most(size: float, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(1, 10**14))
def test_a_written_size_reads_back_within_its_digits(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.006)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (7620, "2h07m"),
        (86_399, "23h59m"),
        (86_400 * 3 + 3600 * 4, "3d04h"),
    ],
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
