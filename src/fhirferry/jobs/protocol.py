"""The ledger's contract. One conformance suite (`tests/conformance/test_job_store.py`) proves every implementation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Partition


class Beat(StrEnum):
    """What a heartbeat learns."""

    OK = "ok"
    CANCELED = "canceled"  # somebody canceled or deleted the job: stop
    LOST = "lost"  # another holder has it, or it is not RUNNING any more: stop


class JobStore(Protocol):
    """Durable export jobs. Every method is one transaction, durable when it returns; safe for threads and processes.

    Raises JobConflict, JobNotFound, IllegalStep as said; StoreBusy when the database stays locked.
    Deleted jobs (tombstones) are invisible to `get`, `list`, `acquire`, `cancel`, `resume`; only clean-up sees them.
    """

    def now(self) -> Instant:
        """The ledger's present instant: all time in records is measured by it."""
        ...

    def create(self, record: ExportJobRecord, *, patients: Iterable[str] = ()) -> ExportJobRecord:
        """Add a QUEUED record; returns it with its first version tag. JobConflict when the id exists. patients: those
        that `request.patient_list` stands for; the job is never there without them."""
        ...

    def find_or_create(self, record: ExportJobRecord, *, patients: Iterable[str] = ()) -> ExportJobRecord:
        """The newest job that `rules.standing` says is this one already, as it stands; else `record` is created. The id
        tells which. In one transaction, so that of equal commands at the same instant one creates and the others
        find."""
        ...

    def get(self, job_id: str) -> ExportJobRecord:
        """The record as it stands, heartbeat included. JobNotFound."""
        ...

    def list(self, *, request_hash: str | None = None, unfinished: bool = False) -> Sequence[ExportJobRecord]:
        """Records by queued time, oldest first; narrowed to a request hash, to jobs that are not terminal."""
        ...

    def acquire(
        self, holder: str, limit: int, *, job_id: str | None = None, by_operator: bool = False
    ) -> Sequence[ExportJobRecord]:
        """Take at most `limit` jobs: queued, retriable whose time has come, running whose holder is stale or dead;
        oldest first (S12, S79). Never the same job to two callers. Uses `model.steps.acquire`; a job that this turns
        FAILED is saved and not returned.

        job_id: only this job. by_operator: a person asked for it: a retriable one is due at once, and its consecutive
        failures start again.
        """
        ...

    def heartbeat(self, job_id: str, holder: str, epoch: int) -> Beat:
        """Renew the hold: touches nothing but the heartbeat, `where id and holder and epoch and running`."""
        ...

    def commit(
        self,
        record: ExportJobRecord,
        version: int,
        *,
        partitions: Iterable[Partition] = (),
        files: Iterable[OutputFile] = (),
        references: Iterable[tuple[int, str]] = (),
    ) -> ExportJobRecord:
        """Save the record under its version tag, with partitions (inserted, or replaced by number), further files and
        what they name, (round, `Type/id`), where no earlier commit named it, as one transaction (S41, S82, L14).
        Returns it with its new tag. JobConflict: the tag is old; JobNotFound."""
        ...

    def partitions(self, job_id: str) -> Sequence[Partition]:
        """By number."""
        ...

    def files(self, job_id: str) -> Sequence[OutputFile]:
        """By kind, type, sequence; also of tombstones (clean-up needs them)."""
        ...

    def listed(self, job_id: str) -> Iterator[str]:
        """The patients that the job was created with, in order of their code points, each once.

        This and the two streams below hold a page in memory and nothing of the ledger while their reader works.
        TransientError when the job is forgotten, or its cohort put anew, before they end: half of it is no cohort."""
        ...

    def put_cohort(self, record: ExportJobRecord, version: int, patients: Iterable[str]) -> None:
        """Record who the job's patients are at its T, in small transactions; `cohort` gives them when all are in. One
        that was cut off is done again from the start. JobConflict as soon as the tag is old; JobNotFound."""
        ...

    def cohort(self, job_id: str) -> Iterator[str]:
        """The patients of `put_cohort`, in order of their code points, each once. Also of a finished job: the one that
        continues it compares."""
        ...

    def carry_named(self, record: ExportJobRecord, version: int) -> None:
        """Take over, for round 1, all that the job which this one continues named, or took over itself. Idempotent.
        JobConflict, JobNotFound; nothing happens when that job is gone."""
        ...

    def named(self, job_id: str, round: int) -> Iterator[tuple[str, bool]]:  # noqa: A002 - the word of PartitionPlan
        """What is named for a round, as `Type/id` in order; False: it was taken over by `carry_named`."""
        ...

    def cancel(self, job_id: str) -> ExportJobRecord:
        """Commit CANCELED, whoever holds the job. IllegalStep when it is terminal; JobNotFound."""
        ...

    def resume(self, job_id: str) -> ExportJobRecord:
        """An operator's retry of a FAILED or RETRIABLE job: QUEUED, due at once. IllegalStep; JobNotFound."""
        ...

    def delete(self, job_id: str, *, keep_files: bool = False) -> ExportJobRecord:
        """Leave a tombstone, due for clean-up at once; an unfinished job is canceled first. JobNotFound."""
        ...

    def acquire_cleanup(self, limit: int, *, lease: float, job_id: str | None = None) -> Sequence[ExportJobRecord]:
        """Take jobs whose `cleanup_due` has come, tombstones included; sets it `lease` seconds ahead, so that a
        clean-up that dies is done again. job_id: only this one, if it is due."""
        ...

    def cleaned(self, job_id: str, *, again_at: Instant | None) -> None:
        """A pass of clean-up is done: `cleanups` + 1 and next due `again_at`; None = finished, and a tombstone's rows go."""
        ...

    def prune(self, before: Instant) -> Sequence[str]:
        """Forget (rows only, no file) COMPLETED, FAILED, CANCELED jobs that ended before and are clean, but those that
        an unfinished job continues; their ids."""
        ...

    def close(self) -> None:
        """Give back connections. Idempotent."""
        ...
