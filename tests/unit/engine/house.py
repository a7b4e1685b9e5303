"""A whole house in memory: source, destination, ledger, clock, and what a test wants to know of them (S86)."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import Any

import msgspec

from fhirferry.destinations.memory import MemoryDestination
from fhirferry.engine import context
from fhirferry.engine.connections import Connections
from fhirferry.engine.executors import PoolFactory
from fhirferry.engine.task import ExportTask
from fhirferry.engine.unit import UnitOrder, UnitResult, run_unit
from fhirferry.jobs.memory import MemoryJobStore
from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord, JobSettings
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Issue, Kind, Page
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.testing.clock import FakeClock


class Shop(MemorySource):
    """reads: (continuation, max_resources) of every read. before_read: may raise, is told the read's number from 0.
    issues: come with the page whose body holds the key. types_read: types whose pages were asked for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.reads: list[tuple[str | None, int]] = []
        self.types_read: set[str] = set()
        self.before_read: Callable[[int], None] = lambda _: None
        self.issues: dict[bytes, Issue] = {}
        self.contexts: set[object] = set()

    def read(self, bounds: Mapping[str, Any], continuation: str | None, max_resources: int, max_bytes: int) -> Page:
        self.before_read(len(self.reads))
        self.reads.append((continuation, max_resources))
        self.types_read.add(bounds["type"])
        self.contexts.add(context.current.get())
        page = super().read(bounds, continuation, max_resources, max_bytes)
        found = tuple(issue for key, issue in self.issues.items() if key in page.body)
        return msgspec.structs.replace(page, issues=found)


class Ledger(MemoryJobStore):
    """busy: each of the next commits raises one of these. saved: every record that a commit saved."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.busy: list[Exception] = []
        self.saved: list[ExportJobRecord] = []

    def commit(self, record: ExportJobRecord, version: int, **more: Any) -> ExportJobRecord:
        if self.busy:
            raise self.busy.pop(0)
        self.saved.append(super().commit(record, version, **more))
        return self.saved[-1]


class House:
    """One source, one destination for each URI, one ledger. open_now: connections that were not given back yet."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.source = Shop(self.clock)
        self.jobs = Ledger(self.clock)
        self.places: dict[str, MemoryDestination] = {}
        self.open_now = 0
        self.opened: list[str] = []
        self.connections = Connections(self._open_source, self._open_destination)
        self.log: list[str] = []

    def _open_source(self, uri: str, _check: bool) -> Any:
        return self._opened(uri, self.source)

    def _open_destination(self, uri: str) -> Any:
        return self._opened(uri, self.place(uri))

    def _opened(self, uri: str, target: Any) -> Any:
        self.open_now += 1
        self.opened.append(uri)
        house = self

        class Opened:
            def __getattr__(self, name: str) -> Any:
                return getattr(target, name)

            def close(self) -> None:
                house.open_now -= 1

        return Opened()

    def place(self, uri: str = "memory://d") -> MemoryDestination:
        return self.places.setdefault(uri, MemoryDestination(clock=self.clock))

    def fill(self, count: int, resource_type: str = "Patient", filling: str = "") -> None:
        """Resources with the ids 0, 1, 2 …"""
        for number in range(count):
            body = {"resourceType": resource_type, "id": str(number), "filling": filling}
            self.source.put(json.dumps(body, separators=(",", ":")).encode())

    def kick_off(
        self,
        request: ExportRequest | None = None,
        *,
        job_id: str | None = None,
        to: str = "memory://d",
        continues: str | None = None,
        **settings: Any,
    ) -> ExportJobRecord:
        request = request or ExportRequest()
        record = ExportJobRecord(
            id=job_id or f"job{len(self.jobs._jobs)}",
            request=request,
            requestor="",
            hash=request.hash(""),
            source_uri="memory://s",
            destination_uri=to,
            continues=continues,
            settings=JobSettings(**settings),
            queued_time=self.clock(),
        )
        return self.jobs.create(record)

    def task(
        self,
        *,
        holder: str = "w",
        executor: str | PoolFactory = "inline",
        stop: threading.Event | None = None,
        on_save: Callable[[ExportJobRecord], None] = lambda _: None,
    ) -> ExportTask:
        """The task of the oldest job that is due."""
        (record,) = self.jobs.acquire(holder, 1)
        return ExportTask(
            record,
            record.version,
            jobs=self.jobs,
            connections=self.connections,
            executor=executor,
            stop=stop,
            log=self.log.append,
            on_save=on_save,
            jitter=lambda: 0.5,
        )

    def run(self, **more: Any) -> ExportJobRecord:
        """Acquire the oldest job that is due, run its task; the record that the ledger then has."""
        job_id = self.task_id(task := self.task(**more))
        task.run()
        return self.jobs.get(job_id)

    @staticmethod
    def task_id(task: ExportTask) -> str:
        return task._book.record.id

    def files(self, job_id: str = "job0", kind: Kind = Kind.OUTPUT) -> list[OutputFile]:
        return [file for file in self.jobs.files(job_id) if file.kind is kind]

    def raw(self, file: OutputFile, to: str = "memory://d") -> bytes:
        data = b"".join(self.place(to).read(file.name))
        return gzip.decompress(data) if file.name.endswith(".gz") else data

    def ids(self, job_id: str = "job0", to: str = "memory://d") -> str:
        """The ids of all listed resources, files in their order, joined."""
        lines = b"".join(self.raw(file, to) for file in self.files(job_id)).splitlines()
        return "".join(json.loads(line)["id"] for line in lines)

    def names(self, to: str = "memory://d") -> list[str]:
        """Everything at the destination, hidden parts included."""
        return sorted(self.place(to)._files)

    def t_of(self, job_id: str = "job0") -> Instant | None:
        return self.jobs.get(job_id).transaction_time


class Threads:
    """A UnitPool with a thread for each unit. before: called in it before the unit runs; may wait, may raise."""

    def __init__(self, room: int, before: Callable[[UnitOrder, Threads], None]) -> None:
        self.room = room
        self.stopped = threading.Event()
        self.renewed = 0
        self._before = before
        self._threads: list[threading.Thread] = []

    def submit(self, order: UnitOrder) -> Future[UnitResult]:
        future: Future[UnitResult] = Future()

        def work() -> None:
            try:
                self._before(order, self)
                future.set_result(run_unit(order, self.stopped.is_set))
            except BaseException as error:
                future.set_exception(error)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()
        return future

    def wait(
        self, tickets: Collection[Future[UnitResult]], timeout: float, *, every: bool = False
    ) -> Sequence[Future[UnitResult]]:
        return list(wait(tickets, timeout=timeout, return_when=ALL_COMPLETED if every else FIRST_COMPLETED).done)

    def result(self, ticket: Future[UnitResult]) -> UnitResult:
        return ticket.result()

    def stop_units(self) -> None:
        self.stopped.set()

    def renew(self) -> None:
        self.renewed += 1

    def close(self) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def raising_at(house: House, number: int, error: Exception) -> Iterator[None]:
    """The source raises at this read (numbers from 0, over all runs), every time it comes to it."""

    def before(reads: int) -> None:
        if reads >= number:
            raise error

    house.source.before_read = before
    yield
    house.source.before_read = lambda _: None
