"""How much of whom a job takes, by comparing two cohorts (B29)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.engine.cohort import shares
from fhirferry.model.cohort import Share
from fhirferry.model.request import ExportRequest

ids = st.sets(st.text("ab-.Z9", min_size=1, max_size=3))


def chain(new_members: str = "since", left_members: str = "keep") -> ExportRequest:
    return ExportRequest(level="group", group_id="g", since=1, new_members=new_members, left_members=left_members)


@given(ids, ids, st.sampled_from(["since", "full"]), st.sampled_from(["keep", "delete"]))
def test_b29_each_patient_once_by_whether_it_joined_stayed_or_left(
    now: set[str], before: set[str], new_members: str, left_members: str
) -> None:
    found = list(shares(chain(new_members, left_members), iter(sorted(now)), iter(sorted(before))))
    joined = Share.WHOLE if new_members == "full" else Share.SINCE
    wanted = {ident: Share.SINCE if ident in before else joined for ident in now}
    if left_members == "delete":
        wanted |= dict.fromkeys(before - now, Share.LEFT)
    assert found == sorted(wanted.items())


@pytest.mark.parametrize("left_members", ["keep", "delete"])
def test_b29_without_an_earlier_export_all_joined(left_members: str) -> None:
    found = list(shares(chain("full", left_members), iter(["a", "b"]), iter(())))
    assert found == [("a", Share.WHOLE), ("b", Share.WHOLE)]
