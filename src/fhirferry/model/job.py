"""The export job: its record, its statuses, and every step between them, in one place.

Theory of operation. A record is a frozen value; a step is a pure function from record to record; the ledger writes the
result only if nobody wrote in between (version tag). While a job is RUNNING its holder is the only writer (S2); anybody
else (cancel, delete) goes through the same compare-and-set and wins or loses as a whole. A step that `STEPS` does not
list raises IllegalStep and changes nothing. No clock here: every step is told the present instant.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from fhirferry.model.errors import IllegalStep, RequestError
from fhirferry.model.instant import SECOND, Instant
from fhirferry.model.layout import refuse_files, template_of
from fhirferry.model.partition import Issue, Total
from fhirferry.model.request import ExportRequest

SCHEMA_VERSION = 3
"""1: `file:` URLs held the path as it is. 2: they are percent-encoded. 3: `destination_root` is kept."""
FIRST_ISSUES = 20
"""So many issues are kept in the record; all of them are in the error files."""


class JobStatus(StrEnum):
    """Where a job stands. The edges are in STEPS, by the verb that takes them."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a holder works on it and beats its heart
    RETRIABLE = "retriable"  # failed in passing; due again at retry_after
    COMPLETED = "completed"  # sealed, published, manifest written
    FAILED = "failed"  # final, until an operator retries it; commits are kept
    CANCELED = "canceled"  # final; its files are removed


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
TERMINAL = frozenset({C, F, X})


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job failed (S73). `reason` is for the client, `details` for the operator; neither quotes a resource."""

    reason: str
    status_code: int = 500
    details: str = ""


class JobSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that hold for the whole life of a job, taken at its kick-off (S44, S52).

    page_resources, page_bytes: upper bounds of one page.
    max_file_size: uncompressed bytes of a file; only a single larger resource may exceed it.
    min_file_size: a file is not closed before it has so many, unless nothing follows that may be in it, the job is stopped,
        or `seconds_per_commit` are over at the end of a partition (B54).
    layout: folders for the files below the job's own, with the tag `<resourcename>`; empty for none (S65).
    pages_per_commit: None = as many as fit a file. seconds_per_commit: a file is closed at the first page after it.
    compression: "none" or "gzip". limit_rate: bytes per second of the whole job, None = as fast as it goes.
    heartbeat_timeout: seconds after which a silent holder counts as dead; travels in the record, so nobody can steal by
        a setting of its own.
    failure_threshold: so many failures without a commit in between make a job FAILED (S4, S11).
    unit_attempts: so often a unit of work is tried inside the task before the failure counts for the job.
    check: also parse every resource while exporting.
    """

    page_resources: int = 1000
    page_bytes: int = 4_000_000
    max_file_size: int = 256_000_000
    min_file_size: int = 0
    layout: str = ""
    pages_per_commit: int | None = None
    seconds_per_commit: float = 60.0
    compression: str = "none"
    limit_rate: int | None = None
    heartbeat_timeout: float = 60.0
    failure_threshold: int = 5
    unit_attempts: int = 3
    check: bool = False

    def __post_init__(self) -> None:
        positive = {
            "page_resources": self.page_resources,
            "page_bytes": self.page_bytes,
            "max_file_size": self.max_file_size,
            "pages_per_commit": self.pages_per_commit,
            "seconds_per_commit": self.seconds_per_commit,
            "limit_rate": self.limit_rate,
            "heartbeat_timeout": self.heartbeat_timeout,
            "failure_threshold": self.failure_threshold,
            "unit_attempts": self.unit_attempts,
        }
        for name, value in positive.items():
            if value is not None and value <= 0:
                raise RequestError(f"{name} must be greater than zero, not {value}")
        if not 0 <= self.min_file_size < self.max_file_size:
            most = f"less than max_file_size, {self.max_file_size}"
            raise RequestError(f"min_file_size must be zero or more and {most}, not {self.min_file_size}")
        if self.compression not in ("none", "gzip"):
            raise RequestError(f"compression {self.compression!r} is not offered; choose 'none' or 'gzip'")
        refuse_files(self.layout)


class ExportJobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One export job, durable in the ledger (S24, S73, S81).

    version: the version tag; 0 before the ledger has seen the record. epoch: how often the job was acquired.
    hash: of request and requestor. source_uri, destination_uri: without credentials (S39).
    destination_root: what the operator named; `destination_uri` is that or, by the layout, a folder of the job's own below.
    continues: id of the completed job whose T is this one's `since`; its cohort and what it named are compared with (B29).
    transaction_time: T, fixed at the first acquisition (S46).
    consecutive_failures: since the last commit (S23); failure_count: all (S10).
    progressed: a commit happened since the last acquisition. planned: the source has no further partition to hand out.
    sealed: no partition is open and the list of files is final; set in the same transaction as the last commit (L14).
    totals: per type, what T holds of the request, before filters and elements. resources, bytes: written and committed
        so far (bytes uncompressed); carried: how much of the totals that took, per type (empty in records that were
        written before it was kept).
    progress: percent, never decreases, 100 only when COMPLETED (L13).
    heartbeat: kept by the ledger beside the record (a heartbeat must not renew the version tag); filled in on reading.
    cleanup_due: when clean-up may take the job; None = nothing to do. cleanups: passes done.
    deleted: a tombstone until clean-up is done. keep_files: delete forgets the job but leaves what was published.
    """

    id: str
    request: ExportRequest
    requestor: str
    hash: str
    source_uri: str
    destination_uri: str
    destination_root: str = ""
    continues: str | None = None
    settings: JobSettings = msgspec.field(default_factory=JobSettings)
    queued_time: Instant
    status: JobStatus = JobStatus.QUEUED
    start_time: Instant | None = None
    end_time: Instant | None = None
    canceled_time: Instant | None = None
    transaction_time: Instant | None = None
    retry_after: Instant | None = None
    consecutive_failures: int = 0
    failure_count: int = 0
    failure: Failure | None = None
    holder: str | None = None
    epoch: int = 0
    heartbeat: Instant | None = None
    progressed: bool = False
    planned: bool = False
    sealed: bool = False
    totals: dict[str, Total] = msgspec.field(default_factory=dict)
    carried: dict[str, Total] = msgspec.field(default_factory=dict)
    partitions: int = 0
    partitions_done: int = 0
    resources: int = 0
    bytes: int = 0
    progress: int = 0
    issue_count: int = 0
    issues: tuple[Issue, ...] = ()
    cleanup_due: Instant | None = None
    cleanups: int = 0
    deleted: bool = False
    keep_files: bool = False
    schema_version: int = SCHEMA_VERSION
    version: int = 0

    @property
    def layout(self) -> str:
        """The template that its folders were made by; empty where there was none."""
        root = self.destination_root or self.destination_uri
        return template_of(root, self.destination_uri, self.queued_time, self.id, self.settings.layout)

    @property
    def gone_through(self) -> Total:
        """How much of the totals is done: what was read for what is committed, filtered out on the way or not."""
        if not self.carried:
            return Total(resources=self.resources, bytes=self.bytes)
        return Total(
            resources=sum(each.resources for each in self.carried.values()),
            bytes=sum(each.bytes for each in self.carried.values()),
        )

    @property
    def finished(self) -> bool:
        """No worker will take it up again by itself."""
        return self.status in TERMINAL


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
