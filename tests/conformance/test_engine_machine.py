"""Two workers, one ledger, every order of events that hypothesis thinks of: the promises of design section 2 hold.

Ledger, source, destination and clock are in memory; the workers are the real ones, stopped at every fault point.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fhirferry.destinations.memory import MemoryDestination
from fhirferry.engine import carry, task
from fhirferry.engine.cleanup import GRACE, LEASE, clean
from fhirferry.engine.connections import Connections
from fhirferry.engine.heartbeat import Heartbeat
from fhirferry.engine.task import ExportTask
from fhirferry.faultpoints import POINTS
from fhirferry.jobs.memory import MemoryJobStore
from fhirferry.model.errors import DestinationUnavailable, FolderInUse, IllegalStep, StoreBusy
from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind, Partition, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.testing.clock import FakeClock
from fhirferry.testing.interleaving import Actor, Stage

WORKERS = ("a", "b")
PLACES = ("memory://1", "memory://2", "memory://3")
TYPES = ("Observation", "Patient")
TIMEOUT = 60.0
ELSEWHERE = ("job-created", *(point for point in POINTS if point.startswith(("file-", "cleanup-"))))
"""Points that a task with parts in memory does not pass."""
TASK_POINTS = tuple(point for point in POINTS if point not in ELSEWHERE)
PASSING = ("create", "write", "commit", "publish", "put", "sync", "prepare", "sweep", "delete", "forget", "check")


class Dock(MemoryDestination):
    """Lets the machine look."""

    def bytes_of(self, name: str) -> bytes | None:
        found = self._files.get(name)
        return None if found is None else found[0]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._files)


class Shop(MemorySource):
    """shown: what the source held at each T that it handed out, noted independently of its own reading."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.shown: dict[Instant, frozenset[bytes]] = {}
        self.plans_badly = False

    def snapshot(self, job_id: str) -> Instant:
        t = super().snapshot(job_id)
        bodies = (version.body for version in self._current.values())
        self.shown.setdefault(t, frozenset(body for body in bodies if body is not None))
        return t

    def partitions(self, *arguments: Any, **more: Any) -> Iterator[PartitionPlan]:
        for number, plan in enumerate(super().partitions(*arguments, **more)):
            if number == 1 and self.plans_badly:
                self.plans_badly = False
                raise StoreBusy("passing")
            yield plan


class Ledger(MemoryJobStore):
    """Notes which acquisition every commit comes from: only the present holder's may get through."""

    def __init__(self, clock: FakeClock, dead: set[str]) -> None:
        super().__init__(clock, is_dead=dead.__contains__)
        self.holds: dict[threading.Thread, tuple[str, int]] = {}

    def commit(
        self,
        record: ExportJobRecord,
        version: int,
        *,
        partitions: Iterable[Partition] = (),
        files: Iterable[OutputFile] = (),
        references: Iterable[tuple[int, str]] = (),
    ) -> ExportJobRecord:
        before = self._find(record.id)
        saved = super().commit(record, version, partitions=partitions, files=files, references=references)
        assert before is not None
        assert before.status is JobStatus.RUNNING
        assert (before.holder, before.epoch) == self.holds[threading.current_thread()]
        return saved


class HandBeat(Heartbeat):
    """Beats when the machine says so, and not by itself."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        _beating[threading.current_thread()] = self

    def __enter__(self) -> HandBeat:
        return self

    def __exit__(self, *_: object) -> None:
        _beating.pop(threading.current_thread(), None)


_beating: dict[threading.Thread, HandBeat] = {}


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(task, "Heartbeat", HandBeat)
        self.patch.setattr(carry, "backoff", lambda *_: 0.0)
        self.stage = Stage().__enter__()
        self.clock = FakeClock()
        self.dead: set[str] = set()
        self.jobs = Ledger(self.clock, self.dead)
        self.source = Shop(self.clock)
        self.docks = {uri: Dock(clock=self.clock) for uri in PLACES}
        self.connections = Connections(lambda _uri, _check: self.source, self.docks.__getitem__)
        self.workers: dict[str, Actor] = {}
        self.stops: dict[str, threading.Event] = {}
        self.cleaner: Actor | None = None
        self.lives = 0
        self.ids: list[str] = []
        self.last: dict[str, ExportJobRecord] = {}
        self.kept: dict[str, set[str]] = {uri: set() for uri in PLACES}

    @initialize(count=st.sampled_from([9, 9, 3, 0]))
    def open_shop(self, count: int) -> None:
        for number in range(count):
            self.write(number, 0)
        self.kick_off(PLACES[0], 1, 2, 400, 2, packed=False, types=None)

    # What the world does

    @rule(number=st.integers(0, 9), value=st.sampled_from([0, 1, 2, None]))
    def write(self, number: int, value: int | None) -> None:
        if value is None:
            self.source.delete(TYPES[number % 2], f"r{number}")
            return
        filling = "x" * (150 * (number == 4))  # one that no small file may hold beside another
        body = f'{{"resourceType":"{TYPES[number % 2]}","id":"r{number}","v":{value}.50,"f":"{filling}"}}'
        self.source.put(body.encode())

    @precondition(lambda self: len(self.ids) < 3)
    @rule(
        place=st.sampled_from(PLACES),
        page=st.sampled_from([1, 1, 3]),
        cadence=st.sampled_from([1, 2, None]),
        size=st.sampled_from([150, 400, 100_000]),
        attempts=st.integers(1, 2),
        packed=st.booleans(),
        types=st.sampled_from([None, ("Patient",)]),
    )
    def kick_off(
        self, place: str, page: int, cadence: int | None, size: int, attempts: int, packed: bool, types: Any
    ) -> None:
        request = ExportRequest(types=types)
        record = ExportJobRecord(
            id=f"job{len(self.ids)}",
            request=request,
            requestor="",
            hash=request.hash(""),
            source_uri="memory://s",
            destination_uri=place,
            queued_time=self.clock(),
            settings=JobSettings(
                page_resources=page,
                pages_per_commit=cadence,
                max_file_size=size,
                unit_attempts=attempts,
                heartbeat_timeout=TIMEOUT,
                compression="gzip" if packed else "none",
            ),
        )
        self.jobs.create(record)
        self.ids.append(record.id)

    @rule(seconds=st.sampled_from([1.0, 30.0, TIMEOUT + 1, 2 * TIMEOUT + GRACE + 10]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(where=st.sampled_from(["reading", "planning", *PASSING]))
    def hiccup(self, where: str) -> None:
        if where == "reading":
            self.source.fail_next(StoreBusy("passing"))
        elif where == "planning":
            self.source.plans_badly = True
        else:
            for dock in self.docks.values():
                dock.fail_next(where, DestinationUnavailable("passing"))

    # What workers do

    @rule(
        name=st.sampled_from(WORKERS),
        point=st.sampled_from([*TASK_POINTS, None]),
        times=st.sampled_from([1, 1, 2, 5]),
        crash=st.sampled_from([None, None, "unnoticed", "noticed"]),
        late=st.booleans(),
    )
    def go_on(self, name: str, point: str | None, times: int, crash: str | None, late: bool) -> None:
        """A worker that has nothing looks for work; it comes to a point so many times, and may die there.

        late: by now everybody's heartbeat is stale."""
        self.clock.advance(TIMEOUT + 1 if late else 0)
        if name not in self.workers or self.workers[name].ended:
            self.lives += 1
            holder, stop = f"{name}{self.lives}", threading.Event()
            self.stops[name] = stop
            self.workers[name] = self.stage.start(lambda: self.work(holder, stop))
        worker = self.workers[name]
        for _ in range(times - 1):
            worker.run(until=point)
        if crash is None:
            worker.run(until=point)
        elif not worker.ended:
            worker.crash(at=point)
            holding = self.jobs.holds.get(worker._thread)
            if crash == "noticed" and holding is not None:
                self.dead.add(holding[0])

    def work(self, holder: str, stop: threading.Event, limit: int = 1) -> None:
        for record in self.jobs.acquire(holder, limit):
            self.jobs.holds[threading.current_thread()] = (holder, record.epoch)
            export = ExportTask(
                record, record.version, jobs=self.jobs, connections=self.connections, stop=stop, jitter=lambda: 0.5
            )
            export.run()

    @rule(name=st.sampled_from(WORKERS), leave=st.booleans())
    def beat(self, name: str, leave: bool) -> None:
        if leave and name in self.stops:
            self.stops[name].set()
        elif name in self.workers and (heartbeat := _beating.get(self.workers[name]._thread)) is not None:
            heartbeat.beat()

    @rule(what=st.sampled_from(["go on", "go on", "go on", "run", "crash"]))
    def clean_up(self, what: str) -> None:
        if self.cleaner is None or self.cleaner.ended:
            self.cleaner = self.stage.start(self.clean_all)
        if what == "crash":
            self.cleaner.crash(at="cleanup-swept")
        elif what == "run":
            self.cleaner.run()
        else:
            self.cleaner.step()

    def clean_all(self, limit: int = 2) -> None:
        for record in self.jobs.acquire_cleanup(limit, lease=LEASE):
            clean(record, self.jobs, self.connections)

    # What operators do

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), what=st.sampled_from(["cancel", "resume", "resume", "resume", "delete", "forget"]))
    def operate(self, data: st.DataObject, what: str) -> None:
        job_id = data.draw(st.sampled_from(self.ids))
        record = self.records().get(job_id)
        if record is None:
            return
        with contextlib.suppress(IllegalStep):
            if what == "cancel":
                self.jobs.cancel(job_id)
            elif what == "resume":
                self.jobs.resume(job_id)
            elif what == "delete":
                self.jobs.delete(job_id)
            else:
                if self.docks[record.destination_uri]._owner == job_id:
                    published = {each.name for each in self.jobs.files(job_id)}
                    self.kept[record.destination_uri] |= published | {"manifest.json", "SHA256SUMS"}
                self.jobs.delete(job_id, keep_files=True)

    # What must hold

    def records(self) -> dict[str, ExportJobRecord]:
        return {record.id: record for record in self.jobs.list()}

    def standing(self) -> list[ExportJobRecord]:
        return [record for record in self.records().values() if record.status is not JobStatus.CANCELED]

    @invariant()
    def no_actor_failed(self) -> None:
        for actor in [*self.workers.values(), *filter(None, [self.cleaner])]:
            if actor.error is not None:
                raise actor.error

    @invariant()
    def listed_files_are_there_and_whole(self) -> None:
        for record in self.standing():
            dock = self.docks[record.destination_uri]
            for file in self.jobs.files(record.id):
                there = [data for name in (file.part, file.name) if (data := dock.bytes_of(name)) is not None]
                assert len(there) == 1, f"{file.name} of {record.id} is at the destination {len(there)} times"
                assert hashlib.sha256(there[0]).hexdigest() == file.sha256
                assert len(there[0]) == file.bytes

    @invariant()
    def nothing_is_listed_twice(self) -> None:
        for record in self.standing():
            files = self.jobs.files(record.id)
            lines = self.lines(record, files)
            keys = [(line["resourceType"], line["id"]) for line in map(msgspec.json.decode, lines)]
            assert len(set(keys)) == len(keys)
            sequences: dict[tuple[Kind, str], list[int]] = {}
            for file in files:
                sequences.setdefault((file.kind, file.type), []).append(file.sequence)
            assert all(found == list(range(1, len(found) + 1)) for found in sequences.values())
            assert record.resources == len(lines)

    @invariant()
    def nothing_goes_backwards(self) -> None:
        for record in self.records().values():
            before = self.last.get(record.id, record)
            assert record.progress >= before.progress
            assert (record.progress == 100) is (record.status is JobStatus.COMPLETED)
            assert record.resources >= before.resources
            assert record.partitions_done >= before.partitions_done
            assert record.epoch >= before.epoch
            assert record.sealed >= before.sealed
            if before.transaction_time is not None:
                assert record.transaction_time == before.transaction_time
            self.last[record.id] = record

    @invariant()
    def what_is_complete_shows_the_source_at_t(self) -> None:
        for record in self.standing():
            if record.sealed:
                assert record.transaction_time is not None
                shown = self.source.shown[record.transaction_time]
                wanted = {b for b in shown if record.request.types is None or b'"Patient"' in b}
                assert set(self.lines(record, self.jobs.files(record.id))) == wanted
            if record.status is JobStatus.COMPLETED:
                assert "manifest.json" in self.docks[record.destination_uri].names

    @invariant()
    def a_manifest_is_a_sealed_job_s(self) -> None:
        for uri, dock in self.docks.items():
            content = dock.bytes_of("manifest.json")
            if content is not None and not self.kept[uri]:
                row = self.jobs._find(msgspec.json.decode(content)["extension"]["fhirferry"]["job"])
                assert row is not None
                assert row.sealed

    def lines(self, record: ExportJobRecord, files: Sequence[OutputFile]) -> list[bytes]:
        dock, found = self.docks[record.destination_uri], []
        for file in files:
            data = dock.bytes_of(file.name) or dock.bytes_of(file.part) or b""
            raw = gzip.decompress(data) if record.settings.compression == "gzip" else data
            assert raw.endswith(b"\n")
            lines = raw.splitlines()
            assert len(lines) == file.count
            assert len(raw) == file.raw_bytes
            assert len(raw) <= record.settings.max_file_size or len(lines) == 1  # S20, L7
            found += lines
        return found

    def teardown(self) -> None:
        try:
            self.run_to_the_end()
        finally:
            self.stage.__exit__(None, None, None)
            self.patch.undo()
            _beating.clear()

    def run_to_the_end(self) -> None:
        """Whoever still runs goes on; then a last worker and clean-up see to the rest."""
        for dock in self.docks.values():
            dock._failures.clear()
        self.source._failures.clear()
        self.source.plans_badly = False
        for actor in [*self.workers.values(), *filter(None, [self.cleaner])]:
            actor.run()
        self.no_actor_failed()
        for turn in range(6):
            for record in self.records().values():
                if record.status is JobStatus.FAILED and turn < 3:
                    self.jobs.resume(record.id)  # the trouble is over, so nothing is in its way any more
            self.clock.advance(2 * TIMEOUT + LEASE + 6 * GRACE)
            last = self.stage.start(lambda: self.work("last", threading.Event(), limit=9))
            last.run()
            cleaner = self.stage.start(lambda: self.clean_all(limit=9))
            cleaner.run()
            assert last.error is None
            assert cleaner.error is None
        self.listed_files_are_there_and_whole()
        self.nothing_is_listed_twice()
        self.nothing_goes_backwards()
        self.what_is_complete_shows_the_source_at_t()
        for record in self.records().values():
            assert record.finished
            assert record.cleanup_due is None
            if record.status is JobStatus.FAILED:
                assert record.failure is not None
                assert record.failure.status_code == FolderInUse.status_code
        for uri, dock in self.docks.items():
            mine = [r for r in self.standing() if r.destination_uri == uri]
            listed = {f.name for r in mine for f in self.jobs.files(r.id)}
            parts = {f.part for r in mine for f in self.jobs.files(r.id) if r.status is JobStatus.FAILED}
            sealed = {"manifest.json", "SHA256SUMS"} if any(r.sealed for r in mine) else set()
            failed = tuple(f".fhirferry/{r.id}/" for r in mine if r.status is JobStatus.FAILED)
            left = {name for name in dock.names if not name.startswith(failed)}
            assert left <= listed | parts | sealed | self.kept[uri]
        assert not set(self.source._pins) - {r.id for r in self.standing() if r.status is JobStatus.FAILED}


# Short runs at a few milliseconds each: more of them than the profile's number find more.
Machine.TestCase.settings = settings(stateful_step_count=60, max_examples=3 * settings().max_examples)
TestTwoWorkers = Machine.TestCase
