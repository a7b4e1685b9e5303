"""A store, a ledger and a destination around the real exporter, and the history of what was written into the store."""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fhirferry.destinations.memory import MemoryDestination
from fhirferry.engine.connections import Connections
from fhirferry.engine.verify_findings import Outcome as Verdict
from fhirferry.exporter import Exporter
from fhirferry.exporting import patient_list
from fhirferry.fhir.resource import Deletion, read_resource
from fhirferry.jobs.memory import MemoryJobStore
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.model.errors import RequestError
from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
from fhirferry.model.request import ExportRequest
from fhirferry.sources.store import StoreSource
from fhirferry.store import cohorts, naming, walks
from fhirferry.store.sqlite import SqliteStore
from fhirferry.store.writing import Outcome
from fhirferry.testing.clock import FakeClock
from tests.property.oracle import History
from tests.property.worlds import encode

FAST = Path("/dev/shm")  # nothing here is about power cuts


class Ferry:
    """clock: stands still but for writing. instants: of all that happened, oldest first."""

    def __init__(self, folder: str, *, durable_ledger: bool) -> None:
        self.clock = FakeClock()
        self.history = History()
        self.instants: list[int] = [self.clock.now]
        self._last_t = 0
        self._looked = False  # whether the store was asked yet what Provenance is about
        self._source = f"sqlite://{folder}/store"
        self._store = SqliteStore(f"{folder}/store", clock=self.clock, create=True)
        self._places: dict[str, MemoryDestination] = {}
        jobs = SqliteJobStore(f"{folder}/ledger", clock=self.clock) if durable_ledger else MemoryJobStore(self.clock)
        self._exporter = Exporter(
            ledger=jobs,
            clock=self.clock,
            connections=Connections(
                lambda uri, check: StoreSource(uri.removeprefix("sqlite://"), self.clock, check=check), self._place
            ),
            executor="inline",
        )
        self._count = 0

    def close(self) -> None:
        self._exporter.close()
        self._store.close()

    def _place(self, uri: str) -> MemoryDestination:
        return self._places.setdefault(uri, MemoryDestination(clock=self.clock))

    def write(self, batch: Sequence[Any]) -> None:
        """Resources, and (type, id) for deletions, all at one instant."""
        self.clock.advance(3600)
        now = self.clock.now
        for item in batch:  # each by itself: one instant may have several versions of an id
            data = read_resource(encode(item)) if isinstance(item, dict) else Deletion(*item)
            (outcome,) = self._store.write([data])
            if outcome in (Outcome.NEW, Outcome.CHANGED, Outcome.DELETED):
                before = self.history.newest(data.type, data.id)
                given = None if isinstance(data, Deletion) else data.updated
                changed = given if given is not None and self._last_t < given <= now else max(now, self._last_t + 1)
                changed = max(changed, before.changed if before else 0)
                self.history.add(data.type, data.id, self._store.get(data.type, data.id), changed)
        self.instants.append(now)

    def prune(self) -> None:
        self._store.prune()
        self.history.vague |= not self._looked

    def ask(self, fields: dict[str, Any], patients: Iterable[str] | None, **way: Any) -> dict[str, Any]:
        return {
            "request": ExportRequest(**fields),
            "source": self._source,
            "destination": "memory://d",
            "patients": None if patients is None else list(patients),
            **way,
        }

    def since_last(self, fields: dict[str, Any], patients: Iterable[str] | None, **how: Any) -> dict[str, Any]:
        """What `ask` gives, for what came after the last one."""
        asked = self.ask(fields, patients, layout="<timestamp>")
        request, before = self._exporter.since_last(**asked, **how)
        return {**asked, "request": request, "continues": before and before.id}

    def export(
        self, asked: dict[str, Any], settings: JobSettings, between: Sequence[Any] = (), during: Sequence[Any] = ()
    ) -> Exported:
        """Kick off, and carry it. between: written before a worker takes it up; during: one each time a page was read,
        "prune" prunes. RequestError when it is refused."""
        if "layout" not in asked:
            self._count += 1
            asked = {**asked, "destination": f"memory://{self._count}"}
        job = self._exporter.start(**asked, settings=settings)
        for batch in between:
            self.write(batch)
        later = iter(during)

        def change(*_: object) -> None:
            self._last_t = job.status().transaction_time or 0
            batch = next(later, None)
            if batch == "prune":
                self.prune()
            elif batch is not None:
                self.write(batch)

        log: list[str] = []
        stop = threading.Event()

        def watch(record: ExportJobRecord) -> None:
            if record.status is JobStatus.RETRIABLE:  # on a clock that stands still it would wait for ever
                stop.set()

        worker = self._exporter.worker(on_page=change, log=log.append, stop=stop, on_progress=watch)
        record = worker.run_job(job.id)
        if record.failure is not None and record.failure.status_code < 500:
            raise RequestError(record.failure.reason)  # whom it names is looked up by the job, where they are many
        assert record.status is JobStatus.COMPLETED, (record.failure, log)
        request = record.request
        if request.level != "system" and not request.provenance and "Provenance" in (request.types or ["Provenance"]):
            self._looked = True
        self._last_t = record.transaction_time or 0
        self.instants.append(self._last_t)
        return Exported(record, self._place(record.destination_uri), settings)

    def verify(self, record: ExportJobRecord) -> None:
        """The house's own proof finds nothing."""
        report = self._exporter.verify(record.destination_uri, against=self._source)
        assert report.outcome is Verdict.HOLDS, report.findings


class Exported:
    """What lies at the destination. output: bytes by name; deleted: names; warned: lines in error files."""

    def __init__(self, record: ExportJobRecord, place: MemoryDestination, settings: JobSettings) -> None:
        self.record = record
        manifest = json.loads(b"".join(place.read("manifest.json")))
        self.output: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.warned = 0
        for kind in ("output", "deleted", "error"):
            for item in manifest[kind]:
                name = item["url"].removeprefix(record.destination_uri).lstrip("/")
                data = b"".join(place.read(name))
                lines = (gzip.decompress(data) if name.endswith(".gz") else data).split(b"\n")
                assert lines.pop() == b""
                assert len(lines) == item["count"] > 0
                if kind == "error":
                    self.warned += len(lines)
                elif kind == "deleted":
                    self._told(lines)
                else:
                    assert {json.loads(line)["resourceType"] for line in lines} == {item["type"]}
                    assert len(lines) == 1 or sum(map(len, lines)) + len(lines) <= settings.max_file_size
                    for line in lines:
                        self._take(line)

    def _take(self, line: bytes) -> None:
        content = json.loads(line)
        name = f"{content['resourceType']}/{content['id']}"
        assert name not in self.output, f"{name} twice"
        self.output[name] = line

    def _told(self, lines: Sequence[bytes]) -> None:
        entries = [entry["request"] for line in lines for entry in json.loads(line)["entry"]]
        assert {entry["method"] for entry in entries} == {"DELETE"}
        names = Counter(entry["url"] for entry in entries)
        assert set(names.values()) == {1}, "told twice"
        assert not self.deleted & names.keys(), "told twice"
        self.deleted |= names.keys()


@contextlib.contextmanager
def ferry(*, wide: bool = False, durable_ledger: bool = False) -> Iterator[Ferry]:
    """One in a folder of its own, whose every batch is tiny. wide: cohorts are read in the order on disk."""
    where = str(FAST) if FAST.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(cohorts, "WIDE", 10**9 if wide else 0)
        patched.setattr(walks, "PATIENTS", 2)
        patched.setattr(walks, "CHUNK", 3)
        patched.setattr(naming, "AT_ONCE", 4)
        patched.setattr(patient_list, "IN_REQUEST", 1)
        made = Ferry(folder, durable_ledger=durable_ledger)
        try:
            yield made
        finally:
            made.close()
