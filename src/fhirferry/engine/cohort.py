"""Whom a job means: found out once, at its T, kept in the ledger, and given to the source by whoever works on the job.

The source knows a cohort only as long as the job's pin holds; the ledger keeps it for whoever resumes the job, proves
its export, or continues it (B29).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from fhirferry.faultpoints import reach
from fhirferry.model.cohort import Share
from fhirferry.model.instant import Instant
from fhirferry.model.partition import Issue
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source

Patients = Callable[[], Iterator[str]]
"""Ids in order, each once, from the start at every call."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an export's job beside its manifest, for who proves it; None for what is not at hand.

    listed: the patients that its `patient_list` stands for. before: the cohort of the export that it continues. carried:
    what it took over from that one, as `Type/id`.
    """

    listed: Patients | None = None
    before: Patients | None = None
    carried: Patients | None = None


class Listed(msgspec.Struct, frozen=True):
    """A list of patients that is kept beside the request; to be gone through several times."""

    patients: Patients

    def __iter__(self) -> Iterator[str]:
        return self.patients()


def meant(
    source: Source, request: ExportRequest, t: Instant, listed: Patients
) -> tuple[Iterator[str], tuple[Issue, ...]]:
    """The patients of a request that has a cohort, to be read before the source is asked anything else; and what its
    reader must know of them. listed: those that `request.patient_list` stands for."""
    cohort = source.members(request, t, Listed(listed) if request.patient_list is not None else None)
    if cohort is None:  # a source that takes it for no question of who: nobody, never everybody (L1)
        return iter(()), ()
    return cohort.patients, cohort.issues


def select(
    source: Source, request: ExportRequest, t: Instant, job_id: str, now: Patients, before: Patients | None
) -> None:
    """Give the source the job's cohort. before: that of the export which this one continues, if it does."""
    source.select(job_id, t, shares(request, now(), iter(()) if before is None else before()))
    reach("cohort-selected")


def shares(request: ExportRequest, now: Iterator[str], before: Iterator[str]) -> Iterator[tuple[str, Share]]:
    """How much of whom: one pass over two cohorts, both in order."""
    joined = Share.WHOLE if request.new_members == "full" else Share.SINCE
    leave = request.left_members == "delete"
    earlier = next(before, None)
    for ident in now:
        while earlier is not None and earlier < ident:
            if leave:
                yield earlier, Share.LEFT
            earlier = next(before, None)
        yield ident, Share.SINCE if earlier == ident else joined
        if earlier == ident:
            earlier = next(before, None)
    while leave and earlier is not None:
        yield earlier, Share.LEFT
        earlier = next(before, None)
