"""Every export is exactly what a naive evaluation of all that a store ever held says (S8, B21, B28-B50, B81-B83, L1-L10)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

from fhirferry.model.errors import RequestError
from fhirferry.model.job import JobSettings
from tests.property.ferry import Exported, Ferry, ferry
from tests.property.oracle import Expected, Refused, export
from tests.property.worlds import BASE, BATCH, FILTERS, Ask, asks, seldom

SETTINGS = st.builds(
    JobSettings,
    page_resources=st.integers(1, 4),
    max_file_size=st.sampled_from([400, 1500, 100_000]),
    min_file_size=st.sampled_from([0, 0, 300]),
    pages_per_commit=st.none() | st.integers(1, 3),
)
STEP = seldom(3, BATCH, st.just("prune"))


def as_expected(found: Exported, expected: Expected) -> None:
    assert found.output == expected.output
    assert found.deleted - expected.perhaps == expected.deleted
    assert not found.deleted & found.output.keys()  # B83
    assert found.warned or not expected.nobody  # L1


def fields_of(ask: Ask, instants: list[int]) -> dict[str, Any]:
    """Of an ExportRequest. Bounds lie on the instants at which something happened: to the microsecond (L16)."""
    fields = ask.fields()
    if ask.since is not None:
        fields["since"] = instants[ask.since % len(instants)]
    if ask.until is not None:
        fields["until"] = instants[-1 - ask.until % len(instants)]
        if ask.since is not None and fields["until"] <= fields["since"]:
            fields["until"] = fields["since"] + 1 + 3_600_000_000 * (ask.until % 3)
    return fields


@given(
    BASE,
    st.lists(STEP, min_size=1, max_size=6),
    asks(),
    SETTINGS,
    st.lists(BATCH, max_size=1),
    st.lists(STEP, max_size=3),
    st.booleans(),
)
def test_an_export_is_what_a_naive_evaluation_of_the_whole_store_gives(
    base: list[Any],
    steps: list[Any],
    ask: Ask,
    settings: JobSettings,
    between: list[Any],
    during: list[Any],
    wide: bool,
) -> None:
    with ferry(wide=wide) as house:
        house.write(base)
        for step in steps:
            house.prune() if step == "prune" else house.write(step)
        run_and_compare(house, ask, settings, between, during)


def run_and_compare(house: Ferry, ask: Ask, settings: JobSettings, between: list[Any], during: list[Any]) -> None:
    asked = house.ask(fields_of(ask, house.instants), ask.patients)
    try:
        found = house.export(asked, settings, between, during)
    except RequestError:  # at its kick-off, or at its T
        with pytest.raises(Refused):
            export(house.history, asked["request"], ask.patients, house.clock.now, None, FILTERS)
        event("refused")
        return
    t = found.record.transaction_time or 0
    expected = export(house.history, asked["request"], ask.patients, t, None, FILTERS)
    event(f"{ask.level}: {'something' if expected.output else 'nothing'} goes out")
    event(f"{'some' if expected.output.keys() - expected.selected else 'nothing'} comes along")
    event(f"{'some' if expected.deleted else 'no'} deletions")
    note(f"T {t}, expected {sorted(expected.output)}, deleted {sorted(expected.deleted)}")
    as_expected(found, expected)
    house.verify(found.record)
