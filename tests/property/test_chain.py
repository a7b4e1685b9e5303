"""Weekly exports, each since the last one, replayed by a reader: they come to what a full export gives (B28, B29, L26)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st
from msgspec.structs import replace

from fhirferry.model.errors import RequestError
from fhirferry.model.job import JobSettings
from tests.property.ferry import Exported, Ferry, ferry
from tests.property.oracle import Before, Expected, Refused, export
from tests.property.test_selection import SETTINGS, STEP, as_expected
from tests.property.worlds import BASE, FILTERS, ROLL, Ask, asks

DAY = 86_400
WEEK = st.tuples(st.lists(ROLL, max_size=2), st.lists(STEP, max_size=2), st.lists(STEP, max_size=2))
"""Who is in Groups from now on; what happens before an export, and while it runs."""


@given(
    BASE,
    st.lists(WEEK, min_size=2, max_size=4),
    asks(chained=True),
    SETTINGS,
    st.sampled_from(["keep", "delete"]),
    st.booleans(),
    st.booleans(),
)
def test_weekly_exports_come_to_what_a_full_one_gives(
    base: list[Any], weeks: list[Any], ask: Ask, settings: JobSettings, left: str, wide: bool, durable: bool
) -> None:
    with ferry(wide=wide, durable_ledger=durable) as house:
        house.write(base)
        reader = Reader(house, ask, settings, left if ask.level == "group" or ask.patients else "keep")
        for rolls, before, during in weeks:
            house.write(rolls)
            for step in before:
                house.prune() if step == "prune" else house.write(step)
            house.clock.advance(DAY)
            reader.read_on(during)
        house.clock.advance(1)  # what was changed while the last one ran is still to come
        reader.read_on([])
        house.clock.advance(1)
        reader.compare_with_a_full_export()


class Reader:
    """Keeps what it was sent, takes away what it was told is gone. cohorts: of each export."""

    def __init__(self, house: Ferry, ask: Ask, settings: JobSettings, left: str) -> None:
        self.house, self.ask, self.settings, self.left = house, ask, settings, left
        self.has: dict[str, bytes] = {}
        self.told: set[str] = set()
        self.before: Before | None = None
        self.cohorts: list[set[str]] = []

    def read_on(self, during: list[Any]) -> None:
        asked = self.house.since_last(self.ask.fields(), self.ask.patients, left_members=self.left)
        found = self._both(asked, during)
        if found is None:
            return
        for name in found[0].deleted:
            self.has.pop(name, None)
        self.has.update(found[0].output)
        self.before = found[1].after
        self.cohorts.append(self.before.cohort)

    def compare_with_a_full_export(self) -> None:
        """What is selected is the same to the byte. What comes along stays once it came, and is kept up to date."""
        found = self._both(self.house.ask(self.ask.fields(), self.ask.patients), [])
        if found is None or self.before is None:
            return
        full, expected = found
        missing = {name for name, line in full.output.items() if self.has.get(name) != line}
        t = full.record.transaction_time or 0
        missing = {name for name in missing if not self.came_later(name, t)}
        assert not missing & expected.selected
        assert not missing or self.ask.depth > 1
        for name in self.has.keys() - full.output.keys():
            assert self.may_stay(name, t), name

    def came_later(self, name: str, t: int) -> bool:
        """Provenance belongs to whom its targets do: it may become a patient's without being changed itself."""
        there = self.house.history.at(t)
        targets = filter(None, map(there.get, there[name].targets))
        return name.startswith("Provenance/") and any(each.changed > there[name].changed for each in targets)

    def may_stay(self, name: str, t: int) -> bool:
        """Though a full export does not have it: what came along once; what left the selection without being deleted, by
        a filter that it does not pass any more or by belonging to others; and what is of patients who are not
        members all the time, if nothing is said of them."""
        assert self.before is not None
        kind, _, ident = name.partition("/")
        there = self.house.history.at(t)
        if name in self.before.names or any(text.startswith(f"{kind}?") for text in self.ask.filters):
            return True
        versions = [v for v in self.house.history.versions if (v.type, v.id) == (kind, ident)]
        concerned = [v for each in versions for v in (each, *filter(None, map(there.get, each.targets)))]
        moved = len({(frozenset(v.patients), frozenset(v.targets)) for v in versions}) > 1
        gone = set().union(*self.cohorts) - set.intersection(*self.cohorts)
        if self.left == "keep" and any(v.patients & gone for v in concerned):
            return True
        return moved or kind in ("Group", "Provenance")

    def _both(self, asked: dict[str, Any], during: list[Any]) -> tuple[Exported, Expected] | None:
        """What was exported and what was to be; None when both refuse."""
        continues = self.before if "continues" in asked else None
        history = self.house.history
        request = replace(asked["request"], type_filters=self.ask.filters)  # as they were written
        try:
            found = self.house.export(asked, self.settings, during=during)
        except RequestError:
            with pytest.raises(Refused):
                export(history, request, self.ask.patients, self.house.clock.now, continues, FILTERS)
            return None
        expected = export(history, request, self.ask.patients, found.record.transaction_time or 0, continues, FILTERS)
        cohort = expected.after.cohort
        if continues is not None:
            for word, who in (("join", cohort - continues.cohort), ("leave", continues.cohort - cohort)):
                event(f"some {word}") if who else None
        note(f"since {request.since}, expected {sorted(expected.output)}, deleted {sorted(expected.deleted)}")
        as_expected(found, expected)
        self.house.verify(found.record)
        return found, expected
