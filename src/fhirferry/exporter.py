"""The front door for library, command line and API; the only assembler.

Here alone it is written which class serves which URL scheme. A new source or destination is one line in a table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar, Unpack

import msgspec

from fhirferry.clock import system_clock
from fhirferry.engine.access import Access, connection_hash_of, open_place
from fhirferry.engine.connections import Connections
from fhirferry.exporting.chain import going_on, last, linked
from fhirferry.exporting.dry_run import DryRun as DryRun
from fhirferry.exporting.dry_run import look_ahead
from fhirferry.exporting.handle import ExportJob as ExportJob
from fhirferry.exporting.kickoff import Kickoff, Way, as_refusal, kickoff, refuse_by_source, refuse_shared_folder
from fhirferry.exporting.named import Destinations, resolve_destination
from fhirferry.exporting.vaults import vault_opener
from fhirferry.model.errors import (
    DestinationConnectionError,
    FolderInUse,
    PermanentError,
    RequestError,
    SourceConnectionError,
)
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.request import ExportRequest

if TYPE_CHECKING:
    from fhirferry.destinations.protocol import Destination
    from fhirferry.engine.unit import OnPage
    from fhirferry.engine.verify_findings import Finding, Progress, VerifyReport
    from fhirferry.engine.worker import Worker
    from fhirferry.jobs.protocol import JobStore
    from fhirferry.sources.protocol import Source
    from fhirferry.vaults.protocol import SecretStore
    from fhirferry.vaults.secret import DestinationSecret


def _sqlite_source(path: str, check: bool) -> Source:
    from fhirferry.sources.store import StoreSource

    return StoreSource(path, clock=system_clock, check=check)


def _folder(path: str) -> Destination:
    from fhirferry.destinations.folder import FolderDestination

    return FolderDestination(path)


def _bucket(scheme: str) -> Callable[[str], Destination]:
    def opened(place: str) -> Destination:
        from fhirferry.destinations.bucket_opening import open_object_store

        return open_object_store(f"{scheme}://{place}")

    return opened


def _sqlite_ledger(path: str, clock: Clock) -> JobStore:
    from fhirferry.jobs.sqlite import SqliteJobStore

    return SqliteJobStore(path, clock=clock)


SOURCES: Mapping[str, Callable[[str, bool], Source]] = {"sqlite": _sqlite_source}
DESTINATIONS: Mapping[str, Callable[[str], Destination]] = {
    "file": _folder,
    **{scheme: _bucket(scheme) for scheme in ("az", "s3", "gs", "memory")},
}
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


def open_by_secret(uri: str, secret: DestinationSecret, job_id: str) -> Destination:
    """A destination that a job's secret opens; see `exporting.by_secret`."""
    from fhirferry.exporting.by_secret import open_with

    return open_with(uri, secret, job_id)


CONNECTIONS = Connections(open_source, open_destination, None, open_by_secret)


class Exporter:
    """Starts, finds and works export jobs of one ledger.

        exporter = Exporter(ledger="sqlite:///srv/ledger.db")
        job = exporter.start(ExportRequest(types=("Patient",)), source="sqlite:///srv/store.db",
                             destination="file:///srv/out")
        exporter.worker().run_job(job.id)
        print(job.status().status, job.manifest())

    ledger: URL, or a JobStore of your own. connections: how to open what a record names. executor: `inline`,
    `threads:N` or `processes:N`. poll: seconds between looks at the ledger. vault: where secrets are, an address (see
    `exporting.vaults`) or a SecretStore of your own; None is the environment. destinations: those that have names.
    """

    def __init__(
        self,
        *,
        ledger: str | JobStore,
        clock: Clock = system_clock,
        connections: Connections = CONNECTIONS,
        executor: str = "threads:2",
        poll: float = 1.0,
        vault: str | SecretStore | None = None,
        destinations: Destinations | None = None,
    ) -> None:
        self._ledger = ledger if isinstance(ledger, str) else None
        path = ""
        if isinstance(ledger, str):
            make, path = _choose(LEDGERS, ledger, "ledger")
            self._jobs: JobStore = make(path, clock)
        else:
            self._jobs = ledger
        if connections.open_vault is None:
            connections = connections._replace(open_vault=vault_opener(vault, path))
        self._connections = connections
        self._destinations = destinations or Destinations()
        self._executor = executor
        self._poll = poll

    def start(self, request: ExportRequest, **way: Unpack[Way]) -> ExportJob:
        """Kick off: check what can be checked now, make the durable QUEUED record, return at once (S81: always a new
        job). RequestError (FolderInUse, unknown type, no such source, destination, group); nothing is made then.
        """
        return self._created(self._checked(self._asked(request, way)).create(self._jobs).id)

    def find_or_start(self, request: ExportRequest, **way: Unpack[Way]) -> tuple[ExportJob, bool]:
        """The job that `find` gives, or one of an equal command that ended during this call; else what `start` makes.
        True: it was there. Equal calls at the same instant give one job, in whatever processes."""
        asked = self._asked(request, way)
        found = self._standing(asked.record)
        if found is None:
            try:
                asked = self._checked(asked)
            except FolderInUse:
                found = self._standing(asked.record)  # its job was made, and has claimed the folder, since we looked
                if found is None:
                    raise
        record = found or asked.find_or_create(self._jobs)
        if record.id == asked.record.id:
            return self._created(record.id), False
        return ExportJob(record.id, self._jobs, self._poll), True

    def find(self, request: ExportRequest, **way: Unpack[Way]) -> ExportJob | None:
        """The newest unfinished job of the equal request, source, destination and layout; None when there is none."""
        found = self._standing(self._asked(request, way).record)
        return None if found is None or found.finished else ExportJob(found.id, self._jobs, self._poll)

    def last(self, request: ExportRequest, **way: Unpack[Way]) -> ExportJobRecord | None:
        """The completed job that an increment goes on from: of the same source, destination (whatever folders its layout
        gave it), selection and rules the one that got furthest. None: there is none, so everything is to be exported."""
        return last(self._jobs.list(), self._asked(request, way).record)

    def since_last(
        self,
        request: ExportRequest,
        *,
        new_members: str | None = None,
        left_members: str = "keep",
        **way: Unpack[Way],
    ) -> tuple[ExportRequest, ExportJobRecord | None]:
        """The request for what came after the job that `last` gives, and that job, whose id `continues` wants; the request
        as it is where there is none. new_members: see ExportRequest; None for "full" where there is a cohort.

            request, before = exporter.since_last(request, source=source, destination=destination)
            exporter.find_or_start(request, source=source, destination=destination, continues=before and before.id)
        """
        asked = self._asked(request, way).record
        before = last(self._jobs.list(), asked)
        return (request if before is None else going_on(asked.request, before, new_members, left_members)), before

    def check(self, request: ExportRequest, **way: Unpack[Way]) -> None:
        """What `start` checks. RequestError, as there; RequestProblems with all that is wrong with the parameters."""
        self._checked(self._asked(request, way))

    def plan(self, request: ExportRequest, **way: Unpack[Way]) -> DryRun:
        """What `start` would export, and whether the destination would take it; makes no job and no file. Where patients
        are to be counted, the source keeps them, and a pin, for as long as that takes. RequestError."""
        asked = self._seen(self._asked(request, way))
        record = asked.record
        problem = None
        with closing(self._destination(record)) as target:
            try:
                target.check()
                refuse_shared_folder(record, self._jobs)
            except (DestinationConnectionError, FolderInUse) as error:
                problem = error.message
            room = target.free_bytes()
        with closing(self._connections.open_source(record.source_uri, False)) as source:
            return look_ahead(source, asked, self._jobs, free_bytes=room, problem=problem)

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
        patients: Iterable[str] | None = None,
        on_finding: Callable[[Finding], None] = lambda _: None,
        on_progress: Progress | None = None,
    ) -> VerifyReport:
        """Read every file of the export at the destination `target` again; see `engine.verify.verify`.

        Of a cohort or a chain the ledger tells what the manifest does not, where it knows the job. patients: those that a
        long list of the request named, where it does not. RequestError for another list.
        """
        from contextlib import ExitStack

        from fhirferry.engine.verify import verify
        from fhirferry.exporting.recorded import recorded

        with ExitStack() as stack:
            destination = stack.enter_context(closing(self._connections.open_destination(target)))
            source = stack.enter_context(closing(self._connections.open_source(against, False))) if against else None
            return verify(
                destination,
                manifest_name=manifest_name,
                against=source,
                recorded=recorded(destination, manifest_name, self._jobs, patients) if source else None,
                on_finding=on_finding,
                on_progress=on_progress,
            )

    def close(self) -> None:
        """Give back the ledger's connections."""
        self._jobs.close()

    def _asked(self, request: ExportRequest, way: Way) -> Kickoff:
        place = resolve_destination(self._destinations, way.get("destination", ""), addresses_allowed=True)
        asked = kickoff(request, way, place, self._jobs)
        if asked.record.destination_uri:
            return asked
        hash_now = connection_hash_of(asked.record, self._connections)
        return msgspec.structs.replace(asked, record=msgspec.structs.replace(asked.record, connection_hash=hash_now))

    def _seen(self, asked: Kickoff) -> Kickoff:
        """What source and ledger say: with the job that it continues. RequestError."""
        from fhirferry.settings import keep_apart

        record = asked.record
        keep_apart(record.destination_root, record.source_uri, *([self._ledger] if self._ledger else []))
        try:
            with closing(self._connections.open_source(record.source_uri, False)) as source:
                refuse_by_source(record.request, source, self._jobs.now())
        except SourceConnectionError as error:
            raise as_refusal(error) from error
        return msgspec.structs.replace(asked, record=linked(self._jobs.list, record))

    def _checked(self, asked: Kickoff) -> Kickoff:
        """What the destination says, too."""
        asked = self._seen(asked)
        try:
            with closing(self._destination(asked.record)) as target:
                target.check()
        except DestinationConnectionError as error:
            raise as_refusal(error) from error
        refuse_shared_folder(asked.record, self._jobs)
        return asked

    def _destination(self, record: ExportJobRecord) -> Destination:
        try:
            return open_place(self._connections, record.destination_uri, Access.of(record))
        except PermanentError as error:
            raise as_refusal(error) from None

    def _standing(self, asked: ExportJobRecord) -> ExportJobRecord | None:
        from fhirferry.jobs.rules import standing

        return standing(self._jobs.list(request_hash=asked.hash), asked)

    def _created(self, job_id: str) -> ExportJob:
        from fhirferry.faultpoints import reach

        reach("job-created")
        return ExportJob(job_id, self._jobs, self._poll)
