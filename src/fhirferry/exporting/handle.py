"""A job as those hold it who asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.model.errors import IllegalStep
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile

if TYPE_CHECKING:
    from fhirferry.jobs.protocol import JobStore


class ExportJob:
    """A handle on one job: everything that others than its worker may do with it."""

    def __init__(self, job_id: str, jobs: JobStore, poll: float) -> None:
        self.id = job_id
        self._jobs = jobs
        self._poll = poll

    def status(self) -> ExportJobRecord:
        """The record as it stands. JobNotFound once deleted."""
        return self._jobs.get(self.id)

    def wait(self, timeout: float | None = None) -> ExportJobRecord:
        """Until COMPLETED, FAILED or CANCELED, or `timeout` seconds are over; the record as it then stands."""
        import time

        end = None if timeout is None else time.monotonic() + timeout
        while not (record := self.status()).finished:
            left = self._poll if end is None else min(self._poll, end - time.monotonic())
            if left <= 0:
                break
            time.sleep(left)
        return record

    def cancel(self) -> ExportJobRecord:
        """CANCELED, whoever works on it; its files are removed by clean-up. IllegalStep when it is finished."""
        return self._jobs.cancel(self.id)

    def resume(self) -> ExportJobRecord:
        """Queue a FAILED or RETRIABLE job again; what is committed stays. IllegalStep otherwise."""
        return self._jobs.resume(self.id)

    def delete(self, *, keep_files: bool = False) -> ExportJobRecord:
        """Forget the job; clean-up removes its files unless `keep_files`. An unfinished one is canceled first."""
        return self._jobs.delete(self.id, keep_files=keep_files)

    def files(self) -> Sequence[OutputFile]:
        """The files that are committed so far."""
        return self._jobs.files(self.id)

    def manifest(self) -> dict[str, Any]:
        """The manifest of a sealed job, as the client gets it (B64). IllegalStep before."""
        from fhirferry.bulkdata.manifest import manifest

        record = self.status()
        if not record.sealed:
            raise IllegalStep(f"job {self.id} is {record.status}; it has no manifest before its last commit")
        content: dict[str, Any] = msgspec.json.decode(manifest(record, self.files()))
        return content
