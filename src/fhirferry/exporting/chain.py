"""Which finished job the next one goes on from (B29)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant, format_instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.request import ExportRequest

_PLAIN = ExportRequest()
_PER_RUN = ("url", "since", "until", "new_members", "left_members", "handling", "passed_over")
"""Fields of a request that differ from run to run; all others are its selection and rules."""


def onwards(record: ExportJobRecord) -> Instant:
    """The `since` that goes on from a completed job. The bounds of time are exclusive, T is not: what was changed at
    `until` itself is still to come."""
    t, until = record.transaction_time or 0, record.request.until
    return t if until is None else min(t, until - 1)


def last(
    records: Iterable[ExportJobRecord], asked: ExportJobRecord, since: Instant | None = None
) -> ExportJobRecord | None:
    """Of the completed jobs with the source, destination root, selection and rules of `asked` the one that goes
    furthest; with `since`: that goes on from there."""
    way, wanted = (asked.source_uri, asked.destination_root), _selection(asked.request)
    same = [
        record
        for record in records
        if record.status is JobStatus.COMPLETED
        and (record.source_uri, record.destination_root or record.destination_uri) == way
        and since in (None, onwards(record))
        and _selection(record.request) == wanted
    ]
    return max(same, key=onwards, default=None)


def going_on(
    request: ExportRequest, before: ExportJobRecord, new_members: str | None, left_members: str
) -> ExportRequest:
    """What came after `before`. new_members: None for what is usual, all data of those who joined."""
    usual = "full" if request.has_cohort else "since"
    return replace(request, since=onwards(before), new_members=new_members or usual, left_members=left_members)


def linked(records: Callable[[], Iterable[ExportJobRecord]], asked: ExportJobRecord) -> ExportJobRecord:
    """`asked`, with the job that it continues where it has to know one: to tell who joined and who left. RequestError
    when there is none. records: the ledger's, read only where needed."""
    request = asked.request
    if asked.continues is not None or (request.new_members == "since" and request.left_members == "keep"):
        return asked
    before = last(records(), asked, request.since)
    if before is None:
        raise RequestError(
            "who joined or left since then is told by comparing with the export of that instant: there is no completed "
            f"job of this selection, source and destination in the ledger that ends at "
            f"{format_instant(request.since or 0)}; go on from the last one, or leave new and left members out"
        )
    return replace(asked, continues=before.id)


def _selection(request: ExportRequest) -> ExportRequest:
    return replace(request, **{name: getattr(_PLAIN, name) for name in _PER_RUN})
