"""What every ledger decides about a record, whatever keeps it: pure functions around the steps of `model.steps`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from fhirferry.jobs.protocol import Beat
from fhirferry.model import steps
from fhirferry.model.errors import IllegalStep, JobConflict, JobNotFound, RequestError
from fhirferry.model.instant import SECOND, Instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.partition import Partition

AT_ONCE = 20_000
"""Patients or names that one transaction writes or removes: some hundredths of a second."""


def queued(record: ExportJobRecord) -> ExportJobRecord:
    """The record, if it may enter the ledger. IllegalStep: only QUEUED ones do."""
    if record.status is not JobStatus.QUEUED:
        raise IllegalStep(f"job {record.id} is {record.status}; only a queued job can be created")
    return record


def standing(records: Iterable[ExportJobRecord], asked: ExportJobRecord) -> ExportJobRecord | None:
    """Of `records`, by age and without tombstones: the newest unfinished job of the same hash, source, destination and
    layout as `asked` (not of the same folder: a layout may give each job one of its own). Without one, the newest that
    ended after `asked` was queued: whoever asked meanwhile gets its outcome, for an equal job could only fail at its
    files."""
    same = [record for record in records if _way(record) == _way(asked)]
    going_on = [record for record in same if not record.finished]
    ended = [record for record in same if (record.end_time or 0) > asked.queued_time]
    return next(reversed(going_on or ended), None)


def _way(record: ExportJobRecord) -> tuple[str, ...]:
    root = record.destination_root or record.destination_uri
    return record.hash, record.source_uri, root or f"secret {record.secret_name}", record.layout


def tagged(record: ExportJobRecord, version: int, partitions: Iterable[Partition]) -> tuple[Partition, ...]:
    """The partitions of a commit. RequestError: record or version tag are missing (S40), or one is another job's."""
    if not version or not record:
        raise RequestError("a commit needs the record and the version tag that it was read with")
    ours = tuple(partitions)
    if any(partition.job_id != record.id for partition in ours):
        raise RequestError(f"a commit of job {record.id} holds a partition of another job")
    return ours


def named(job_id: str, references: Iterable[tuple[int, str]]) -> list[tuple[str, int]]:
    """The references of a commit as (`Type/id`, round), in order, each once, for its first round. RequestError: a round
    before the first."""
    first: dict[str, int] = {}
    for round_, reference in references:
        if round_ < 1:
            raise RequestError(f"a commit of job {job_id} names something for round {round_}; the first one is 1")
        first[reference] = min(round_, first.get(reference, round_))
    return sorted(first.items())


def chunks(items: Iterable[str]) -> Iterator[list[str]]:
    """So many that a transaction may write them."""
    rest = iter(items)
    while chunk := list(islice(rest, AT_ONCE)):
        yield chunk


def visible(record: ExportJobRecord | None, job_id: str) -> ExportJobRecord:
    """The record, unless there is none or only a tombstone: JobNotFound."""
    if record is None or record.deleted:
        raise JobNotFound(f"no job {job_id} in the ledger")
    return record


def refused(record: ExportJobRecord | None, job_id: str) -> JobNotFound | JobConflict:
    """Why a commit found no record under its tag. A tombstone is a conflict: its holder has to stop, not to wonder."""
    if record is None:
        return JobNotFound(f"no job {job_id} in the ledger")
    return JobConflict(f"job {job_id} changed since it was read")


def take(
    candidates: Iterable[ExportJobRecord],
    holder: str,
    limit: int,
    now: Instant,
    is_dead: Callable[[str], bool],
    *,
    by_operator: bool,
) -> list[ExportJobRecord]:
    """Acquire those that are due, in their order, until `limit` are RUNNING; some of the result may be FAILED (L12)."""
    taken: list[ExportJobRecord] = []
    running = 0
    for record in candidates:
        if running >= limit:
            break
        if _due(record, now, is_dead, by_operator=by_operator):
            taken.append(steps.acquire(record, holder, now, by_operator=by_operator))
            running += taken[-1].status is JobStatus.RUNNING
    return taken


def _due(record: ExportJobRecord, now: Instant, is_dead: Callable[[str], bool], *, by_operator: bool) -> bool:
    if record.status is JobStatus.RETRIABLE:
        return by_operator or record.retry_after is None or record.retry_after <= now
    if record.status is JobStatus.RUNNING:
        return steps.stale(record, now) or interrupted(record, is_dead)
    return record.status is JobStatus.QUEUED  # a tombstone is terminal


def interrupted(record: ExportJobRecord, is_dead: Callable[[str], bool]) -> bool:
    """RUNNING by its record, but the process that held it has certainly ended."""
    return record.status is JobStatus.RUNNING and record.holder is not None and is_dead(record.holder)


def holds(record: ExportJobRecord, holder: str, epoch: int) -> bool:
    """This very acquisition still holds the job."""
    return record.status is JobStatus.RUNNING and (record.holder, record.epoch) == (holder, epoch)


def beat_without_hold(record: ExportJobRecord | None) -> Beat:
    """Why a heartbeat found nothing to renew. No record at all: it was deleted, and clean-up is through."""
    if record is None or record.deleted or record.status is JobStatus.CANCELED:
        return Beat.CANCELED
    return Beat.LOST


def lease_cleanup(record: ExportJobRecord, now: Instant, lease: float) -> ExportJobRecord:
    """Due again after `lease` seconds, should the one who cleans up now die."""
    return msgspec.structs.replace(record, cleanup_due=now + int(lease * SECOND))


def cleanup_leased(record: ExportJobRecord | None, now: Instant) -> bool:
    """A clean-up has the job.

    False: its lease ran out, or the job was resumed or deleted meanwhile (both set `cleanup_due` anew). A pass that
    ends then does not count: a delete must not be ticked off by a pass that began before it and kept the files.
    """
    return record is not None and record.finished and record.cleanup_due is not None and record.cleanup_due > now


def cleaned(record: ExportJobRecord, again_at: Instant | None) -> ExportJobRecord:
    """One pass more is done."""
    return msgspec.structs.replace(record, cleanups=record.cleanups + 1, cleanup_due=again_at)


def prunable(record: ExportJobRecord, before: Instant) -> bool:
    """Ended before, clean, and no tombstone."""
    ended = record.finished and record.end_time is not None and record.end_time < before
    return ended and record.cleanup_due is None and not record.deleted
