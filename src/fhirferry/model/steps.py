"""Every step between the statuses of a job: pure functions from record to record.

The ledger writes the result only if nobody wrote in between (version tag). While a job is RUNNING its holder is the only
writer (S2); anybody else (cancel, delete) goes through the same compare-and-set and wins or loses as a whole. A step that
`STEPS` does not list raises IllegalStep and changes nothing. No clock here: every step is told the present instant.
"""

from __future__ import annotations

import msgspec

from fhirferry.model.errors import IllegalStep
from fhirferry.model.instant import SECOND, Instant
from fhirferry.model.job import ExportJobRecord, Failure, JobStatus

Q, R, T, C, F, X = (JobStatus(s) for s in ("queued", "running", "retriable", "completed", "failed", "canceled"))
STEPS: dict[str, dict[JobStatus, frozenset[JobStatus]]] = {
    "acquire": {Q: frozenset({R}), T: frozenset({R}), R: frozenset({R, F})},  # R: taken over from a dead holder
    "complete": {R: frozenset({C})},
    "fail": {R: frozenset({F})},
    "retry later": {R: frozenset({T, F})},  # F: at the threshold of failures
    "give back": {R: frozenset({Q})},  # the worker leaves, no failure counted
    "cancel": {Q: frozenset({X}), R: frozenset({X}), T: frozenset({X})},
    "resume": {T: frozenset({Q}), F: frozenset({Q})},  # an operator's retry, commits kept
}


def stale(record: ExportJobRecord, now: Instant) -> bool:
    """The holder's heartbeat is too old, or in the future (a clock was set back; trusting it could wait for ever)."""
    if record.heartbeat is None:
        return True
    return record.heartbeat > now or now - record.heartbeat > record.settings.heartbeat_timeout * SECOND


def backoff(failures: int, jitter: float) -> float:
    """Seconds until the next try: 1, 2, 4 … 300, times 0.5 to 1.5 (`jitter` in [0, 1)) (S13)."""
    return float(min(300.0, 2.0 ** min(max(1, failures) - 1, 9)) * (0.5 + jitter))


def acquire(record: ExportJobRecord, holder: str, now: Instant, *, by_operator: bool = False) -> ExportJobRecord:
    """QUEUED, RETRIABLE or stale RUNNING -> RUNNING under a new holder and epoch (S12, S79).

    The attempt is counted before the work starts (L12): a holder that died without a commit has failed once more, and
    at the threshold the job is FAILED instead of started again. `by_operator`: a person asked for this very job, so
    the consecutive count starts again and the step never ends in FAILED.
    """
    if by_operator:
        record = msgspec.structs.replace(record, consecutive_failures=0)
    elif record.status is R and not record.progressed:
        counted = _count_failure(record, Failure(reason="The worker died before its first commit.", status_code=500))
        if counted.consecutive_failures >= record.settings.failure_threshold:
            return _step("acquire", counted, F, end_time=now, holder=None, retry_after=None, cleanup_due=now)
        record = counted
    return _step(
        "acquire",
        record,
        R,
        holder=holder,
        epoch=record.epoch + 1,
        heartbeat=now,
        progressed=False,
        retry_after=None,
        start_time=record.start_time if record.start_time is not None else now,
    )


def complete(record: ExportJobRecord, now: Instant) -> ExportJobRecord:
    """RUNNING -> COMPLETED, only when sealed; sets the end time (S56, S64)."""
    if not record.sealed:
        raise IllegalStep(f"job {record.id} is not sealed: its last commit has not happened")
    return _step("complete", record, C, end_time=now, holder=None, failure=None, progress=100, cleanup_due=now)


def fail(record: ExportJobRecord, failure: Failure, now: Instant) -> ExportJobRecord:
    """RUNNING -> FAILED for good (S4, S64). Commits are kept for an operator's retry."""
    return _step("fail", _count_failure(record, failure), F, end_time=now, holder=None, cleanup_due=now)


def retry_later(
    record: ExportJobRecord, failure: Failure, now: Instant, *, jitter: float, retry_after: float | None = None
) -> ExportJobRecord:
    """RUNNING -> RETRIABLE below the threshold of failures, FAILED at it (S4, S10, S11, S13). `retry_after` in seconds."""
    counted = _count_failure(record, failure)
    if counted.consecutive_failures >= record.settings.failure_threshold:
        return _step("retry later", counted, F, end_time=now, holder=None, cleanup_due=now)
    wait = max(backoff(counted.consecutive_failures, jitter), retry_after or 0.0)
    return _step("retry later", counted, T, holder=None, retry_after=now + int(wait * SECOND))


def give_back(record: ExportJobRecord) -> ExportJobRecord:
    """RUNNING -> QUEUED: the worker leaves, no failure is counted."""
    return _step("give back", record, Q, holder=None)


def cancel(record: ExportJobRecord, now: Instant) -> ExportJobRecord:
    """-> CANCELED; clean-up removes its files."""
    return _step("cancel", record, X, end_time=now, canceled_time=now, holder=None, retry_after=None, cleanup_due=now)


def resume(record: ExportJobRecord) -> ExportJobRecord:
    """FAILED or RETRIABLE -> QUEUED by an operator: due at once, the consecutive count starts again, commits kept."""
    return _step(
        "resume",
        record,
        Q,
        end_time=None,
        retry_after=None,
        consecutive_failures=0,
        cleanup_due=None,
        failure=record.failure,
    )


def delete(record: ExportJobRecord, now: Instant, *, keep_files: bool) -> ExportJobRecord:
    """A tombstone: the job is forgotten by everybody but clean-up. An unfinished job is canceled first."""
    if not record.finished:
        record = cancel(record, now)
    return msgspec.structs.replace(record, deleted=True, keep_files=keep_files, cleanup_due=now)


def _count_failure(record: ExportJobRecord, failure: Failure) -> ExportJobRecord:
    return msgspec.structs.replace(
        record,
        failure=failure,
        consecutive_failures=record.consecutive_failures + 1,
        failure_count=record.failure_count + 1,
    )


def _step(verb: str, record: ExportJobRecord, status: JobStatus, **changes: object) -> ExportJobRecord:
    if status not in STEPS[verb].get(record.status, ()):
        raise IllegalStep(f"job {record.id} is {record.status}; it cannot become {status}")
    return msgspec.structs.replace(record, status=status, **changes)
