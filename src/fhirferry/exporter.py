"""The front door for library, command line and API; the only assembler.

Here alone it is written which class serves which URL scheme. A new source or destination is one line in a table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fhirferry.clock import system_clock
from fhirferry.engine.connections import Connections
from fhirferry.model.errors import (
    DestinationConnectionError,
    FolderInUse,
    IllegalStep,
    RequestError,
    SourceConnectionError,
)
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.job import ExportJobRecord, JobSettings
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Total
from fhirferry.model.request import ExportRequest
from fhirferry.transforms.asking import canonical, refuse_problems

if TYPE_CHECKING:
    from fhirferry.destinations.protocol import Destination
    from fhirferry.engine.unit import OnPage
    from fhirferry.engine.verify_findings import Finding, Progress, VerifyReport
    from fhirferry.engine.worker import Worker
    from fhirferry.jobs.protocol import JobStore
    from fhirferry.sources.protocol import Source


def _sqlite_source(path: str, check: bool) -> Source:
    from fhirferry.sources.store import StoreSource

    return StoreSource(path, clock=system_clock, check=check)


def _folder(path: str) -> Destination:
    from fhirferry.destinations.folder import FolderDestination

    return FolderDestination(path)


def _sqlite_ledger(path: str, clock: Clock) -> JobStore:
    from fhirferry.jobs.sqlite import SqliteJobStore

    return SqliteJobStore(path, clock=clock)


SOURCES: Mapping[str, Callable[[str, bool], Source]] = {"sqlite": _sqlite_source}
DESTINATIONS: Mapping[str, Callable[[str], Destination]] = {"file": _folder}
LEDGERS: Mapping[str, Callable[[str, Clock], JobStore]] = {"sqlite": _sqlite_ledger}


def open_source(uri: str, check: bool) -> Source:
    """A source by its URI; RequestError for a scheme that is not offered."""
    make, path = _choose(SOURCES, uri, "source")
    return make(path, check)


def open_destination(uri: str) -> Destination:
    """A destination by its URI; RequestError for a scheme that is not offered (S15, S74)."""
    make, path = _choose(DESTINATIONS, uri, "destination")
    return make(path)


T = TypeVar("T")


def _choose(table: Mapping[str, T], uri: str, what: str) -> tuple[T, str]:
    from fhirferry.settings import place_of

    scheme, separator, _ = uri.partition("://")
    if not separator or scheme not in table:
        raise RequestError(f"{what} {uri!r} is not offered; its URL must begin with one of: {', '.join(table)}://")
    return table[scheme], place_of(uri)


CONNECTIONS = Connections(open_source, open_destination)


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What an export would do. at_most: totals are those before filters and elements, which only reading can tell.
    free_bytes: room at the destination, None where unknown. problem: why it is refused."""

    totals: dict[str, Total]
    at_most: bool
    free_bytes: int | None
    problem: str | None

    @property
    def resources(self) -> int:
        return sum(t.resources for t in self.totals.values())

    @property
    def bytes(self) -> int:
        return sum(t.bytes for t in self.totals.values())


class Exporter:
    """Starts, finds and works export jobs of one ledger.

        exporter = Exporter(ledger="sqlite:///srv/ledger.db")
        job = exporter.start(ExportRequest(types=("Patient",)), source="sqlite:///srv/store.db",
                             destination="file:///srv/out")
        exporter.worker().run_job(job.id)
        print(job.status().status, job.manifest())

    ledger: URL, or a JobStore of your own. connections: how to open what a record names. executor: `inline`,
    `threads:N` or `processes:N`. poll: seconds between looks at the ledger.
    """

    def __init__(
        self,
        *,
        ledger: str | JobStore,
        clock: Clock = system_clock,
        connections: Connections = CONNECTIONS,
        executor: str = "threads:2",
        poll: float = 1.0,
    ) -> None:
        self._ledger = ledger if isinstance(ledger, str) else None
        if isinstance(ledger, str):
            make, path = _choose(LEDGERS, ledger, "ledger")
            self._jobs: JobStore = make(path, clock)
        else:
            self._jobs = ledger
        self._connections = connections
        self._executor = executor
        self._poll = poll

    def start(
        self,
        request: ExportRequest,
        *,
        source: str,
        destination: str,
        settings: JobSettings | None = None,
        requestor: str = "",
    ) -> ExportJob:
        """Kick off: check what can be checked now, make the durable QUEUED record, return at once (S81: always a new
        job). RequestError (FolderInUse, unknown type, no such source or destination); nothing is made then.
        """
        self.check(request, source=source, destination=destination)
        record = self._jobs.create(self._asked(request, source, destination, settings, requestor))
        return self._created(record.id)

    def find_or_start(
        self,
        request: ExportRequest,
        *,
        source: str,
        destination: str,
        settings: JobSettings | None = None,
        requestor: str = "",
    ) -> tuple[ExportJob, bool]:
        """The job that `find` gives, or one of an equal command that ended during this call; else what `start` makes.
        True: it was there. Equal calls at the same instant give one job, in whatever processes."""
        asked = self._asked(request, source, destination, settings, requestor)
        found = self._standing(asked)
        if found is None:
            try:
                self.check(request, source=source, destination=destination)
            except FolderInUse:
                found = self._standing(asked)  # its job was made, and has claimed the folder, since we looked
                if found is None:
                    raise
        record = found or self._jobs.find_or_create(asked)
        if record.id == asked.id:
            return self._created(record.id), False
        return ExportJob(record.id, self._jobs, self._poll), True

    def find(self, request: ExportRequest, *, source: str, destination: str, requestor: str = "") -> ExportJob | None:
        """The newest unfinished job of the equal request, source and destination; None when there is none."""
        found = self._standing(self._asked(request, source, destination, None, requestor))
        return None if found is None or found.finished else ExportJob(found.id, self._jobs, self._poll)

    def check(self, request: ExportRequest, *, source: str, destination: str) -> None:
        """What `start` checks. RequestError, as there; RequestProblems with all that is wrong with the parameters."""
        self._keep_apart(source, destination)
        try:
            # What the source holds at all is enough to know its types; counting an increment is the task's work.
            refuse_problems(request, self._totals(ExportRequest(), source))
            with closing(self._connections.open_destination(destination)) as target:
                target.check()
        except (SourceConnectionError, DestinationConnectionError) as error:
            raise RequestError(error.message, status_code=error.status_code, details=error.details) from error

    def plan(self, request: ExportRequest, *, source: str, destination: str) -> DryRun:
        """What `start` would export, and whether the destination would take it; writes nothing. RequestError."""
        self._keep_apart(source, destination)
        try:
            refuse_problems(request, self._totals(ExportRequest(), source))
            totals = self._totals(request, source)
        except SourceConnectionError as error:
            raise RequestError(error.message, details=error.details) from error
        with closing(self._connections.open_destination(destination)) as target:
            problem = None
            try:
                target.check()
            except (DestinationConnectionError, FolderInUse) as error:
                problem = error.message
            return DryRun(totals=totals, at_most=request.selective, free_bytes=target.free_bytes(), problem=problem)

    def jobs(self, *, unfinished: bool = False) -> Sequence[ExportJobRecord]:
        """The ledger's records, oldest first."""
        return self._jobs.list(unfinished=unfinished)

    def job(self, job_id: str) -> ExportJob:
        """A handle on a job by its id; JobNotFound."""
        return ExportJob(self._jobs.get(job_id).id, self._jobs, self._poll)

    def worker(
        self,
        *,
        max_jobs: int = 1,
        stop: threading.Event | None = None,
        log: Callable[[str], None] = lambda _: None,
        on_progress: Callable[[ExportJobRecord], None] = lambda _: None,
        on_page: OnPage | None = None,
    ) -> Worker:
        """A worker on this ledger; see `engine.worker.Worker`. RequestError for a wrong executor."""
        from fhirferry.engine.executors import parse_executor
        from fhirferry.engine.worker import Worker
        from fhirferry.jobs.holder import make_holder

        parse_executor(self._executor)
        return Worker(
            jobs=self._jobs,
            connections=self._connections,
            holder=make_holder(),
            executor=self._executor,
            max_jobs=max_jobs,
            poll=self._poll,
            stop=stop,
            log=log,
            on_progress=on_progress,
            on_page=on_page,
        )

    def prune(self, before: Instant) -> Sequence[str]:
        """Forget terminal jobs that ended before; no file is touched. Their ids."""
        return self._jobs.prune(before)

    def verify(
        self,
        target: str,
        *,
        manifest_name: str = "manifest.json",
        against: str | None = None,
        on_finding: Callable[[Finding], None] = lambda _: None,
        on_progress: Progress | None = None,
    ) -> VerifyReport:
        """Read every file of the export at the destination `target` again; see `engine.verify.verify`."""
        from contextlib import ExitStack

        from fhirferry.engine.verify import verify

        with ExitStack() as stack:
            destination = stack.enter_context(closing(self._connections.open_destination(target)))
            source = stack.enter_context(closing(self._connections.open_source(against, False))) if against else None
            return verify(
                destination,
                manifest_name=manifest_name,
                against=source,
                on_finding=on_finding,
                on_progress=on_progress,
            )

    def close(self) -> None:
        """Give back the ledger's connections."""
        self._jobs.close()

    def _asked(
        self, request: ExportRequest, source: str, destination: str, settings: JobSettings | None, requestor: str
    ) -> ExportJobRecord:
        request = canonical(request)
        return ExportJobRecord(
            id=_new_id(),
            request=request,
            requestor=requestor,
            hash=request.hash(requestor),
            source_uri=source,
            destination_uri=destination,
            settings=settings or JobSettings(),
            queued_time=self._jobs.now(),
        )

    def _standing(self, asked: ExportJobRecord) -> ExportJobRecord | None:
        from fhirferry.jobs.rules import standing

        return standing(self._jobs.list(request_hash=asked.hash), asked)

    def _created(self, job_id: str) -> ExportJob:
        from fhirferry.faultpoints import reach

        reach("job-created")
        return ExportJob(job_id, self._jobs, self._poll)

    def _keep_apart(self, source: str, destination: str) -> None:
        from fhirferry.settings import keep_apart

        keep_apart(destination, source, *([self._ledger] if self._ledger else []))

    def _totals(self, request: ExportRequest, source: str) -> dict[str, Total]:
        with closing(self._connections.open_source(source, False)) as opened:
            return dict(opened.totals(request, self._jobs.now()))


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


def _new_id() -> str:
    import os

    return os.urandom(6).hex()
