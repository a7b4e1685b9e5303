"""Every ledger keeps every promise of `jobs/protocol.py`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from fhirferry.jobs.memory import MemoryJobStore
from fhirferry.jobs.protocol import JobStore
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.model import steps
from fhirferry.model.errors import FerryError
from fhirferry.model.instant import SECOND
from fhirferry.model.job import ExportJobRecord
from fhirferry.testing.job_store_bench import START, TROUBLE, MakeStore, a_file, a_partition, a_record, advanced
from fhirferry.testing.job_store_cohort_processes import CohortProcessesSuite
from fhirferry.testing.job_store_cohorts import CohortsSuite
from fhirferry.testing.job_store_endings import EndingsSuite
from fhirferry.testing.job_store_processes import ProcessesSuite
from fhirferry.testing.job_store_rivals import RivalsSuite
from fhirferry.testing.job_store_suite import JobStoreSuite


class Memory:
    @pytest.fixture
    def make(self) -> MakeStore:
        return lambda clock, is_dead: MemoryJobStore(clock, is_dead=is_dead)


class Sqlite:
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStore:
        return lambda clock, is_dead: SqliteJobStore(tmp_path / "ledger.db", clock=clock, is_dead=is_dead)


class TestMemory(Memory, JobStoreSuite):
    pass


class TestSqlite(Sqlite, JobStoreSuite):
    pass


class TestMemoryEndings(Memory, EndingsSuite):
    pass


class TestSqliteEndings(Sqlite, EndingsSuite):
    pass


class TestMemoryCohorts(Memory, CohortsSuite):
    pass


class TestSqliteCohorts(Sqlite, CohortsSuite):
    pass


class TestMemoryAmongThreads(Memory, RivalsSuite):
    pass


class TestSqliteAmongThreads(Sqlite, RivalsSuite):
    pass


class SqliteOpening(Sqlite):
    @pytest.fixture
    def opening(self, tmp_path: Path) -> str:
        return f"""
from fhirferry.clock import system_clock
from fhirferry.jobs.sqlite import SqliteJobStore
jobs = SqliteJobStore({str(tmp_path / "ledger.db")!r}, clock=system_clock)
"""


class TestSqliteAmongProcesses(SqliteOpening, ProcessesSuite):
    pass


class TestSqliteCohortsAmongProcesses(SqliteOpening, CohortProcessesSuite):
    pass


PATIENTS = st.lists(st.sampled_from(["1", "2", "B", "a"]), max_size=3)
NAMES = st.lists(st.tuples(st.integers(1, 2), st.sampled_from(["Location/1", "Patient/2", "Group/3"])), max_size=3)
IDS = st.sampled_from(["a", "b", "c"])
HOLDERS = st.sampled_from(["one", "two"])
STEPS: list[Callable[[ExportJobRecord, int], ExportJobRecord]] = [
    lambda record, now: advanced(record),
    lambda record, now: steps.complete(replace(record, sealed=True), now),
    lambda record, now: steps.fail(record, TROUBLE, now),
    lambda record, now: steps.retry_later(record, TROUBLE, now, jitter=0.5),
    lambda record, now: steps.give_back(record),
]


class SameAnswers(RuleBasedStateMachine):
    """Whatever happens, in whatever order, memory and SQLite answer alike: engine tests on memory prove something."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.dead: set[str] = set()
        self.folder = tempfile.TemporaryDirectory(prefix="ledger-")
        self.seen: list[ExportJobRecord] = []
        self.stores: tuple[JobStore, JobStore] = (
            MemoryJobStore(lambda: self.now, is_dead=self.dead.__contains__),
            SqliteJobStore(
                Path(self.folder.name) / "ledger.db", clock=lambda: self.now, is_dead=self.dead.__contains__
            ),
        )

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def both(self, call: Callable[[JobStore], object]) -> object:
        answers: list[object] = []
        for store in self.stores:
            try:
                answers.append(call(store))
            except FerryError as error:
                answers.append((type(error), error.message))
        assert answers[0] == answers[1]
        return answers[0]

    def remember(self, answer: object) -> None:
        records = answer if isinstance(answer, tuple) else (answer,)
        self.seen += [record for record in records if isinstance(record, ExportJobRecord)]

    def recall(self, pick: int) -> ExportJobRecord | None:
        """One of the last records that somebody read, so often an old one."""
        return self.seen[-1 - pick] if pick < len(self.seen) else None

    @rule(job_id=IDS, age=st.integers(-3, 3), patients=PATIENTS)
    def create(self, job_id: str, age: int, patients: list[str]) -> None:
        record = a_record(job_id, self.now + age)
        self.remember(self.both(lambda jobs: jobs.create(record, patients=patients)))

    @rule(job_id=IDS, age=st.integers(-3, 3), patients=PATIENTS)
    def find_or_create(self, job_id: str, age: int, patients: list[str]) -> None:
        record = a_record(job_id, self.now + age)
        self.remember(self.both(lambda jobs: jobs.find_or_create(record, patients=patients)))

    @rule(holder=HOLDERS, limit=st.integers(0, 3), job_id=st.none() | IDS, by_operator=st.booleans())
    def acquire(self, holder: str, limit: int, job_id: str | None, by_operator: bool) -> None:
        self.remember(self.both(lambda jobs: jobs.acquire(holder, limit, job_id=job_id, by_operator=by_operator)))

    @rule(pick=st.integers(0, 3))
    def heartbeat(self, pick: int) -> None:
        if record := self.recall(pick):
            hold = (record.id, record.holder or "", record.epoch)
            self.both(lambda jobs: jobs.heartbeat(*hold))

    @rule(
        pick=st.integers(0, 3),
        step=st.sampled_from(STEPS),
        partitions=st.lists(st.integers(0, 3), max_size=2),
        files=st.lists(st.integers(1, 4), max_size=2),
        references=NAMES,
    )
    def commit(
        self,
        pick: int,
        step: Callable[[ExportJobRecord, int], ExportJobRecord],
        partitions: list[int],
        files: list[int],
        references: list[tuple[int, str]],
    ) -> None:
        if record := self.recall(pick):
            # As a function, as the step itself may be refused.
            def save(jobs: JobStore, record: ExportJobRecord = record) -> ExportJobRecord:
                return jobs.commit(
                    step(record, self.now),
                    record.version,
                    partitions=[a_partition(record.id, number, attempt=record.version) for number in partitions],
                    files=[a_file(number) for number in files],
                    references=references,
                )

            self.remember(self.both(save))

    @rule(pick=st.integers(0, 3), patients=PATIENTS)
    def put_cohort(self, pick: int, patients: list[str]) -> None:
        if record := self.recall(pick):
            self.both(lambda jobs: jobs.put_cohort(record, record.version, patients))

    @rule(pick=st.integers(0, 3), continues=IDS)
    def carry_named(self, pick: int, continues: str) -> None:
        if record := self.recall(pick):
            self.both(lambda jobs: jobs.carry_named(replace(record, continues=continues), record.version))

    @rule(job_id=IDS)
    def cancel(self, job_id: str) -> None:
        self.remember(self.both(lambda jobs: jobs.cancel(job_id)))

    @rule(job_id=IDS)
    def resume(self, job_id: str) -> None:
        self.remember(self.both(lambda jobs: jobs.resume(job_id)))

    @rule(job_id=IDS, keep=st.booleans())
    def delete(self, job_id: str, keep: bool) -> None:
        self.both(lambda jobs: jobs.delete(job_id, keep_files=keep))

    @rule(limit=st.integers(0, 3), job_id=st.none() | IDS)
    def acquire_cleanup(self, limit: int, job_id: str | None) -> None:
        self.both(lambda jobs: jobs.acquire_cleanup(limit, lease=5.0, job_id=job_id))

    @rule(job_id=IDS, wait=st.none() | st.integers(0, 5))
    def cleaned(self, job_id: str, wait: int | None) -> None:
        again = None if wait is None else self.now + wait * SECOND
        self.both(lambda jobs: jobs.cleaned(job_id, again_at=again))

    @rule(age=st.integers(-5, 5))
    def prune(self, age: int) -> None:
        self.both(lambda jobs: jobs.prune(self.now + age * SECOND))

    @rule(seconds=st.sampled_from([0.5, 3, 11, -2]))
    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    @rule(holder=HOLDERS)
    def die_or_rise(self, holder: str) -> None:
        self.dead ^= {holder}

    @invariant()
    def hold_the_same(self) -> None:
        self.both(lambda jobs: (jobs.list(), jobs.list(unfinished=True), jobs.list(request_hash=a_record("a").hash)))
        for job_id in ("a", "b", "c"):
            self.both(lambda jobs, job_id=job_id: (jobs.partitions(job_id), jobs.files(job_id)))
            self.both(lambda jobs, job_id=job_id: (list(jobs.listed(job_id)), list(jobs.cohort(job_id))))
            self.both(lambda jobs, job_id=job_id: [list(jobs.named(job_id, number)) for number in (1, 2)])


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(stateful_step_count=30)
