"""The export job: its record, a frozen value, and its statuses. The steps between them are in `model.steps`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant
from fhirferry.model.layout import refuse_files, template_of
from fhirferry.model.partition import Issue, Total
from fhirferry.model.request import ExportRequest

SCHEMA_VERSION = 3
"""1: `file:` URLs held the path as it is. 2: they are percent-encoded. 3: `destination_root` is kept."""
FIRST_ISSUES = 20
"""So many issues are kept in the record; all of them are in the error files."""


class JobStatus(StrEnum):
    """Where a job stands. The edges are in `steps.STEPS`, by the verb that takes them."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a holder works on it and beats its heart
    RETRIABLE = "retriable"  # failed in passing; due again at retry_after
    COMPLETED = "completed"  # sealed, published, manifest written
    FAILED = "failed"  # final, until an operator retries it; commits are kept
    CANCELED = "canceled"  # final; its files are removed


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED})


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
    secret_name: of the secret that opens the destination, in the store of secrets (S9); its text is never here.
    connection_hash: of the connection string in it, where no `destination_uri` says where the files go (S37); else empty.
    destination_name: what the operator calls the destination; then the secret is the operator's too, not the job's own.
    continues: id of the completed job whose T is this one's `since`; its cohort and what it named are compared with (B29).
    transaction_time: T, fixed at the first acquisition (S46).
    history_after: the job brings the versions that were superseded after this; None: none. Fixed with T.
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
    secret_name: str | None = None
    connection_hash: str = ""
    destination_name: str | None = None
    continues: str | None = None
    settings: JobSettings = msgspec.field(default_factory=JobSettings)
    queued_time: Instant
    status: JobStatus = JobStatus.QUEUED
    start_time: Instant | None = None
    end_time: Instant | None = None
    canceled_time: Instant | None = None
    transaction_time: Instant | None = None
    history_after: Instant | None = None
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
    def own_secret(self) -> str | None:
        """Name of the secret that was made for this job, and goes with it (S29)."""
        return self.secret_name if self.destination_name is None else None

    @property
    def finished(self) -> bool:
        """No worker will take it up again by itself."""
        return self.status in TERMINAL
