"""The search page's table of dates, https://hl7.org/fhir/R4/search.html#date, row by row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhirferry.fhir.search.dates import FUTURE, PAST, compare, date_range, instant_range, period_range, timing_range

from .conftest import Finds

DAY = 86_400_000_000


def period(start: str | None = None, end: str | None = None) -> dict[str, str]:
    return {name: text for name, text in (("start", start), ("end", end)) if text}


@pytest.mark.parametrize(
    ("search", "value", "found"),
    [
        ("eq2013-01-14", "2013-01-14T00:00:00Z", True),
        ("eq2013-01-14", "2013-01-14T10:00:00Z", True),
        ("eq2013-01-14", "2013-01-15T00:00:00Z", False),
        ("2013-01-14", "2013-01-14", True),
        ("ne2013-01-14", "2013-01-15T00:00:00Z", True),
        ("ne2013-01-14", "2013-01-14T00:00:00Z", False),
        ("ne2013-01-14", "2013-01-14T10:00:00Z", False),
        ("lt2013-01-14T10:00", "2013-01-14", True),
        ("gt2013-01-14T10:00", "2013-01-14", True),
        ("ge2013-03-14", period("2013-01-21"), True),
        ("le2013-03-14", period("2013-01-21"), True),
        ("sa2013-03-14", period("2013-03-15"), True),
        ("sa2013-03-14", period("2013-01-21"), False),
        ("sa2013-03-14", period(end="2013-01-21"), False),
        ("eb2013-03-14", period("2013-03-15"), False),
        ("eb2013-03-14", period("2013-01-21"), False),
        ("eb2013-03-14", period(end="2013-01-21"), True),
        ("ap2013-03-14", "2013-03-14", True),
        ("ap2013-03-14", "2013-01-21", False),
        ("ap2013-03-14", "2015-06-15", False),
        # Partial dates are intervals, on both sides.
        ("2000", "2000-12-31", True),
        ("2000", "2000-04", True),
        ("2000-04", "2000", False),
        ("ge2000-04", "2000", True),
        ("lt2000-04", "2000", True),
        ("gt2013-01-14", "2013-01-14T10:00:00Z", False),
        ("ge2013-01-14", "2013-01-14T10:00:00Z", True),
        ("le2013-01-14", "2013-01-14T10:00:00Z", True),
        ("lt2013-01-14", "2013-01-14T10:00:00Z", False),
        ("eq2013-01-14", period("2013-01-14"), False),
        ("eq2013-01", period("2013-01-14", "2013-01-20"), True),
        ("gt2013-01-14", period("2013-01-10", "2013-01-14"), False),
        ("gt2013-01-14", period("2013-01-10", "2013-01-15"), True),
        ("lt2013-01-14", period("2013-01-14", "2013-01-20"), False),
        ("lt2013-01-14", period("2013-01-13", "2013-01-20"), True),
        ("ge2013-01-14", period("2013-01-10", "2013-01-14"), False),
        ("le2013-01-14", period("2013-01-14", "2013-01-20"), False),
        ("sa2013-01-14", "2013-01-15", True),
        ("eb2013-01-14", "2013-01-13", True),
        # Zones count where they are written.
        ("2013-01-14T10:00:00Z", "2013-01-14T11:00:00+01:00", True),
        ("2013-01-14T10:00:00+01:00", "2013-01-14T10:00:00Z", False),
    ],
)
def test_the_search_pages_examples(finds: Finds, search: str, value: object, found: bool) -> None:
    member = "effectivePeriod" if isinstance(value, dict) else "effectiveDateTime"
    assert finds(f"Observation?date={search}", **{member: value}) is found


def test_a_timing_counts_by_its_outer_limits(finds: Finds) -> None:
    every_second_day = {"repeat": {"boundsPeriod": period("2013-01-31", "2013-03-24"), "period": 2, "periodUnit": "d"}}
    assert finds("Observation?date=ap2013-02-01", effectiveTiming=every_second_day)
    assert not finds("Observation?date=ap2013-03-25", effectiveTiming=every_second_day)
    assert finds("Observation?date=2013", effectiveTiming={"event": ["2013-05-01", "2013-01-01"]})
    assert timing_range({"repeat": {"frequency": 1}}) is None
    assert timing_range({"event": "x", "repeat": 3}) is None


def test_two_years_are_a_range_of_two_dates(finds: Finds) -> None:
    both = "Procedure?date=ge2010-01-01&date=le2011-12-31"
    assert finds(both, performedDateTime="2011-12-31")
    assert not finds(both, performedDateTime="2012-01-01")


def test_free_text_is_no_date(finds: Finds) -> None:
    for search in ("2010", "ne2010", "lt2100"):
        assert not finds(f"Procedure?date={search}", performedString="some time in 2010")
        assert not finds(f"Procedure?date={search}", performedDateTime="2010-13-01")
        assert not finds(f"Procedure?date={search}", performedPeriod={})


def test_an_instant_is_a_point() -> None:
    found = instant_range("2013-01-14T10:00:00Z")
    assert found is not None
    assert found[1] - found[0] == 1


@pytest.mark.parametrize(
    "text",
    ["", "2013-1-14", "2013-02-30", "20130114", "2013-W03-1", "2013-01-14T10", "2013-01-14T25:00", "0000", "2013-01-14Z",
     "2013-01-14T10:00:00.", "٢٠١٣"],
)  # fmt: skip
def test_what_is_no_date(text: str) -> None:
    assert date_range(text) is None


def test_the_ends_of_the_calendar() -> None:
    last = date_range("9999-12-31")
    assert last is not None
    assert last[1] - last[0] == DAY
    for text in ("9999", "9999-12"):
        found = date_range(text)
        assert found is not None
        assert found[1] == last[1]
    assert date_range("0001-01-01T00:00:00+14:00") is not None
    assert period_range({"start": "2000"}) == (date_range("2000")[0], FUTURE)  # type: ignore[index]
    assert period_range({"end": "2000"}) == (PAST, date_range("2000")[1])  # type: ignore[index]
    assert period_range({}) is None


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from([4, 7, 10, 16, 19, 23, 26]))
@example(datetime(2000, 1, 1, tzinfo=UTC), 23)  # 2000-01-01T00:00:00.000Z: the fraction's digits stand in the year too
def test_every_precision_holds_the_moment_that_it_was_cut_from(moment: datetime, length: int) -> None:
    text = moment.isoformat(timespec="microseconds")[:length] + ("Z" if length > 10 else "")
    found = date_range(text)
    whole = date_range(moment.isoformat(timespec="microseconds").replace("+00:00", "Z"))
    assert found is not None
    assert whole is not None
    assert whole[1] - whole[0] == 1
    assert found[0] <= whole[0] < found[1]


RANGES = st.tuples(st.integers(0, 8), st.integers(1, 6)).map(lambda t: (t[0], t[0] + t[1]))


@given(RANGES, RANGES)
def test_the_prefixes_keep_their_laws(wanted: tuple[int, int], value: tuple[int, int]) -> None:
    is_ = {p: compare(p, wanted)(value) for p in ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")}
    inside = set(range(*value)) <= set(range(*wanted))
    overlap = bool(set(range(*value)) & set(range(*wanted)))
    assert is_["eq"] is inside
    assert is_["ne"] is not inside
    assert is_["ge"] is (is_["gt"] or inside)
    assert is_["le"] is (is_["lt"] or inside)
    assert is_["ap"] is overlap
    assert [is_["sa"], is_["eb"], overlap].count(True) == 1
