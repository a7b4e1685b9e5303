"""What an export would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from fhirferry.exporting.kickoff import Kickoff, as_refusal
from fhirferry.jobs.protocol import JobStore
from fhirferry.model.errors import GroupNotFound, PatientNotFound
from fhirferry.model.partition import Total
from fhirferry.sources.protocol import Source

if TYPE_CHECKING:
    from fhirferry.model.cohort import Selection


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """totals: of what the request selects at this moment. at_most: they are those before filters and elements, which only
    reading can tell. and_more: what the selected refers to comes on top. patients: how many the request means and the
    source has data of, absent: the others; None where that is no question. notes: what there is to know of them.
    free_bytes: room at the destination, None where unknown. problem: why the destination is refused."""

    totals: Mapping[str, Total]
    at_most: bool
    and_more: bool
    patients: int | None
    absent: int | None
    notes: tuple[str, ...]
    free_bytes: int | None
    problem: str | None

    @property
    def resources(self) -> int:
        return sum(t.resources for t in self.totals.values())

    @property
    def bytes(self) -> int:
        return sum(t.bytes for t in self.totals.values())


def look_ahead(
    source: Source, asked: Kickoff, jobs: JobStore, *, free_bytes: int | None, problem: str | None
) -> DryRun:
    """RequestError when those whom the request means are not there."""
    request = asked.record.request
    chosen: Selection | None = None
    notes: tuple[str, ...] = ()
    if request.has_cohort:
        totals, chosen, notes = _of_cohort(source, asked, jobs)
    else:
        totals = source.totals(request, jobs.now())
    return DryRun(
        totals=totals,
        at_most=request.selective,
        and_more=request.rounds > 0,
        patients=None if chosen is None else chosen.patients,
        absent=None if chosen is None else chosen.absent,
        notes=notes,
        free_bytes=free_bytes,
        problem=problem,
    )


def _of_cohort(
    source: Source, asked: Kickoff, jobs: JobStore
) -> tuple[Mapping[str, Total], Selection, tuple[str, ...]]:
    """As a job would count it, under a pin of our own, which is released however this ends."""
    import os

    from fhirferry.engine.cohort import shares

    request, before = asked.record.request, asked.record.continues
    pin = "plan-" + os.urandom(6).hex()
    try:
        moment = source.snapshot(pin)
        try:
            cohort = source.members(request, moment, asked.patients)
        except (GroupNotFound, PatientNotFound) as error:
            raise as_refusal(error) from error
        meant = iter(()) if cohort is None else cohort.patients
        earlier = iter(()) if before is None else jobs.cohort(before)
        chosen = source.select(pin, moment, shares(request, meant, earlier))
        notes = () if cohort is None else tuple(issue.diagnostics for issue in cohort.issues)
        return source.totals(request, moment, pin), chosen, notes
    finally:
        source.release(pin)
