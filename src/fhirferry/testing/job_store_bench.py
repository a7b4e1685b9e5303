"""What the conformance suites of JobStore work with: a ledger, its clock, the holders that have died, small records.

Needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from fhirferry.jobs.protocol import JobStore
from fhirferry.model.instant import SECOND, Clock, Instant
from fhirferry.model.job import ExportJobRecord, Failure, JobSettings
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind, Partition, PartitionPlan, Total
from fhirferry.model.request import ExportRequest

MakeStore = Callable[[Clock, Callable[[str], bool]], JobStore]
"""Makes an empty ledger with this clock and this knowledge of dead holders."""

START: Instant = 1_800_000_000 * SECOND
TROUBLE = Failure(reason="The disk is full.", status_code=503)


def a_record(job_id: str, queued_time: Instant = START, **changes: object) -> ExportJobRecord:
    """A queued job that gives up after three failures and holds for ten seconds."""
    request = ExportRequest(types=("Patient",), since=START - SECOND)
    record = ExportJobRecord(
        id=job_id,
        request=request,
        requestor="somebody",
        hash=request.hash("somebody"),
        source_uri="sqlite:store.db",
        destination_uri="file:out",
        settings=JobSettings(heartbeat_timeout=10.0, failure_threshold=3),
        queued_time=queued_time,
    )
    return replace(record, **changes)


def a_partition(job_id: str, number: int, **changes: object) -> Partition:
    """A slice of Patients."""
    plan = PartitionPlan(resource_type="Patient", bounds={"from": 10 * number, "T": START, "open": None})
    return replace(Partition(job_id=job_id, number=number, plan=plan), **changes)


def a_file(sequence: int, **changes: object) -> OutputFile:
    """Patient-<sequence>.ndjson of partition 0."""
    file = OutputFile(
        kind=Kind.OUTPUT,
        type="Patient",
        part=f"{sequence:04d}.part",
        name=f"Patient-{sequence}.ndjson",
        sequence=sequence,
        count=3,
        bytes=120,
        raw_bytes=300,
        sha256="ab" * 32,
        partition=0,
    )
    return replace(file, **changes)


def advanced(record: ExportJobRecord, resources: int = 1) -> ExportJobRecord:
    """The record after a commit point: what the engine saves."""
    return replace(
        record,
        resources=record.resources + resources,
        progressed=True,
        consecutive_failures=0,
        totals={"Patient": Total(resources=9, bytes=900)},
    )


class Bench:
    """A ledger under test; its clock stands still until `wait`."""

    def __init__(self, make: MakeStore) -> None:
        self.now = START
        self.dead: set[str] = set()
        self.jobs = make(self.clock, self.dead.__contains__)

    def clock(self) -> Instant:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    def queue(self, *job_ids: str, **changes: object) -> None:
        """Create jobs, each a second after the one before."""
        for job_id in job_ids:
            self.jobs.create(a_record(job_id, self.now, **changes))
            self.wait(1)

    def run(self, job_id: str, holder: str = "one") -> ExportJobRecord:
        """Create a job and acquire it."""
        self.queue(job_id)
        (record,) = self.jobs.acquire(holder, 1, job_id=job_id)
        return record

    def save(self, record: ExportJobRecord) -> ExportJobRecord:
        """Commit under the record's own tag."""
        return self.jobs.commit(record, record.version)

    def taken(
        self, holder: str = "two", limit: int = 9, job_id: str | None = None, *, by_operator: bool = False
    ) -> list[str]:
        """Ids that an acquisition gives."""
        return [r.id for r in self.jobs.acquire(holder, limit, job_id=job_id, by_operator=by_operator)]

    def swept(self, job_id: str | None = None) -> list[str]:
        """Ids that an acquisition for clean-up gives, leased for 60 seconds."""
        return [record.id for record in self.jobs.acquire_cleanup(9, lease=60.0, job_id=job_id)]


class LedgerFixtures:
    """`bench`, from the `make` of the subclass."""

    @pytest.fixture
    def make(self) -> MakeStore:
        raise NotImplementedError("give the suite a fixture `make`")

    @pytest.fixture
    def bench(self, make: MakeStore) -> Iterator[Bench]:
        bench = Bench(make)
        yield bench
        bench.jobs.close()
        bench.jobs.close()  # idempotent
