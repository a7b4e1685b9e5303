"""A ledger of made-up jobs for the commands, and a worker that only moves records."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from fhirferry.cli import main, opening
from fhirferry.cli.main import program
from fhirferry.cli.options import Invocation
from fhirferry.engine.connections import Connections
from fhirferry.exporter import Exporter, open_destination
from fhirferry.jobs.holder import make_holder
from fhirferry.jobs.memory import MemoryJobStore
from fhirferry.model import steps
from fhirferry.model.instant import SECOND, Clock
from fhirferry.model.job import ExportJobRecord, Failure
from fhirferry.model.partition import Total
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource

Run = Callable[..., Result]


class FakeWorker:
    """`ends`: what run_job makes of a running record, one step after another."""

    def __init__(self, ledger: MemoryJobStore, ends: list[Any], on_progress: Callable[[ExportJobRecord], None]) -> None:
        self.ledger, self.ends, self.on_progress = ledger, ends, on_progress

    def run_job(self, job_id: str) -> ExportJobRecord:
        for end in self.ends:
            record = self.ledger.get(job_id)
            if record.status in (steps.Q, steps.T):
                record = self.commit(steps.acquire(record, "test", self.ledger.now(), by_operator=True))
            self.commit(end(record, self.ledger.now()))
        return self.ledger.get(job_id)

    def commit(self, record: ExportJobRecord) -> ExportJobRecord:
        saved = self.ledger.commit(record, record.version)
        self.on_progress(saved)
        return saved

    def run(self, *, until_idle: bool) -> None:
        assert until_idle, "this one knows no waiting"
        for record in self.ledger.list(unfinished=True):
            self.run_job(record.id)

    def clean_up(self, job_id: str) -> int:
        for record in self.ledger.acquire_cleanup(1, lease=60, job_id=job_id):
            self.ledger.cleaned(record.id, again_at=None)
        return 1


class FakeSource(MemorySource):
    """Three patients, two of them in Group/g, whatever address it is asked for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        for name in ("Patient/a", "Patient/b", "Patient/c"):
            self.put(b'{"resourceType":"%s","id":"%s"}' % tuple(part.encode() for part in name.split("/")))
        self.put(
            b'{"resourceType":"Group","id":"g","type":"person","actual":true,"member":['
            b'{"entity":{"reference":"Patient/a"}},{"entity":{"reference":"Patient/b"}}]}'
        )


class FakeExporter(Exporter):
    """The real front door over a memory ledger, with a worker that moves records only."""

    def __init__(self, clock: Clock) -> None:
        self.ledger = MemoryJobStore(clock)
        source = FakeSource(clock)
        connections = Connections(lambda uri, check: source, open_destination)
        super().__init__(ledger=self.ledger, poll=0.01, connections=connections)
        self.ends: list[Any] = []

    def worker(self, **options: Any) -> Any:
        return FakeWorker(self.ledger, self.ends, options.get("on_progress", lambda _: None))

    def add(self, job_id: str, *changes: Any, destination: str = "file:///out", **fields: Any) -> ExportJobRecord:
        """A queued job, moved by `changes` (record, now) -> record."""
        request = fields.pop("request", ExportRequest())
        source = fields.pop("source", "sqlite:///store.db")
        record = self.ledger.create(
            ExportJobRecord(
                id=job_id,
                request=request,
                requestor="",
                hash=request.hash(""),
                source_uri=source,
                destination_uri=destination,
                queued_time=self.ledger.now() - 90 * SECOND,
                **fields,
            )
        )
        for change in changes:
            record = self.ledger.commit(change(record, self.ledger.now()), record.version)
        if record.holder is not None:
            self.ledger.heartbeat(job_id, record.holder, record.epoch)
        return record


def running(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return steps.acquire(record, "here", now - 10 * SECOND)


def held_by(holder: str) -> Callable[[ExportJobRecord, int], ExportJobRecord]:
    return lambda record, now: steps.acquire(record, holder, now - 10 * SECOND)


def a_dead_holder() -> str:
    """This machine's, of a process that has ended."""
    host, _pid, *rest = make_holder().split("/")
    gone = subprocess.Popen(["true"])
    gone.wait()
    return "/".join((host, str(gone.pid), *rest))


def half(record: ExportJobRecord, now: int) -> ExportJobRecord:
    totals = {"Patient": Total(resources=2000, bytes=4_000_000)}
    return msgspec.structs.replace(
        record, totals=totals, resources=1000, bytes=2_000_000, progress=50, transaction_time=now, progressed=True
    )


def completed(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return steps.complete(msgspec.structs.replace(half(record, now), sealed=True), now)


def with_issues(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return msgspec.structs.replace(completed(record, now), issue_count=2)


def failed(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return steps.fail(record, Failure(reason="The folder is not writable.", details="mode 0500"), now)


def retriable(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return steps.retry_later(record, Failure(reason="The disk is full."), now, jitter=0.5)


def canceled(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return steps.cancel(record, now)


def given_back(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return steps.give_back(half(record, now))


@pytest.fixture
def exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> FakeExporter:
    """In an empty folder, every command meets this exporter and this clock; ledger and store seem to be there."""
    monkeypatch.chdir(tmp_path)
    fake = FakeExporter(clock)
    monkeypatch.setattr(main, "Invocation", lambda: Invocation(clock))
    home = tmp_path / "fhirferry-data"
    home.mkdir(mode=0o700)
    for name in ("store.db", "ledger.db"):
        (home / name).write_text("")
    monkeypatch.setattr(opening, "open_exporter", lambda ledger, **options: closing(fake))
    return fake


@pytest.fixture
def run() -> Run:
    """`run("jobs", "list")`: stdout, stderr, exit_code."""

    def invoke(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(program, arguments, catch_exceptions=False, **options)

    return invoke
