"""Superseded versions: what the source is asked to keep of them for a job, and from when on it has them all."""

from __future__ import annotations

from fhirferry.model.errors import SnapshotGone
from fhirferry.model.instant import Instant, format_instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.partition import Issue
from fhirferry.sources.protocol import Source


def begin(source: Source, record: ExportJobRecord) -> tuple[Instant | None, tuple[Issue, ...]]:
    """After what instant the job has all of them, to be kept in its record; None when it asks for none. And what its reader
    must know of those before. (Of patients who joined, what is there still is all that anybody promised.)"""
    wanted = record.request.history_after
    if wanted is None:
        return None, ()
    kept = source.keep_history(record.id, wanted)
    said = (
        f"Versions that were superseded up to {format_instant(kept)} had been pruned from the source, and are not here"
    )
    lacking = kept > (record.request.since or 0)
    return kept, (Issue(severity="warning", code="incomplete", diagnostics=said),) if lacking else ()


def go_on(source: Source, record: ExportJobRecord) -> None:
    """As `begin`, for whoever takes the job up, behind `renew`. SnapshotGone when what it began with is gone."""
    if record.history_after is None or record.sealed:
        return
    kept = source.keep_history(record.id, record.history_after)
    if kept > record.history_after:
        raise SnapshotGone(
            f"versions that were superseded up to {format_instant(kept)} were pruned since the export began: start a new one"
        )
