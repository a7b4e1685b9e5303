"""Conformance of a durable JobStore with what may be long, among real processes. Needs pytest; use as `job_store_processes`."""

from __future__ import annotations

import signal
from collections.abc import Callable

from fhirferry.jobs.protocol import JobStore
from fhirferry.testing.job_store_bench import a_record, advanced
from fhirferry.testing.job_store_cohorts import patients
from fhirferry.testing.job_store_processes import Child, ProcessFixtures, begin, together


class CohortProcessesSuite(ProcessFixtures):
    """Several processes, one ledger."""

    def test_l1_kill_9_amid_a_cohort_leaves_nothing_of_it_to_be_seen(
        self, jobs: JobStore, child: Callable[[str], Child]
    ) -> None:
        jobs.create(a_record("a"))
        source = """
from fhirferry.testing.job_store_cohorts import AT_ONCE, broken
def dying():
    try:
        yield from broken(AT_ONCE + 5)
    finally:
        os.kill(os.getpid(), 9)
(record,) = jobs.acquire(make_holder(), 1)
print(record.version, flush=True)
jobs.put_cohort(record, record.version, dying())
"""
        process = child(source)
        together([process])
        assert process.returncode == -signal.SIGKILL
        assert list(jobs.cohort("a")) == []
        (record,) = jobs.acquire("next", 1)
        jobs.put_cohort(record, record.version, patients(7))
        assert list(jobs.cohort("a")) == patients(7)

    def test_b40_kill_9_amid_a_long_list_leaves_no_job(self, jobs: JobStore, child: Callable[[str], Child]) -> None:
        source = """
from fhirferry.testing.job_store_bench import a_record
from fhirferry.testing.job_store_cohorts import MANY, patients
def dying():
    yield from patients(MANY)
    os.kill(os.getpid(), 9)
jobs.create(a_record("a"), patients=dying())
"""
        process = child(source)
        together([process])
        assert process.returncode == -signal.SIGKILL
        assert jobs.list() == ()
        jobs.create(a_record("a"))
        assert list(jobs.listed("a")) == []

    def test_s2_whoever_lost_the_job_stops_writing_its_cohort(
        self, jobs: JobStore, child: Callable[[str], Child]
    ) -> None:
        jobs.create(a_record("a"))
        source = """
from fhirferry.testing.job_store_cohorts import AT_ONCE, patients
def slow():
    yield from patients(AT_ONCE)
    print("half", flush=True)
    sys.stdin.readline()
    yield "late"
(record,) = jobs.acquire(make_holder(), 1)
try: jobs.put_cohort(record, record.version, slow())
except JobConflict: print("stopped", flush=True)
"""
        process = child(source)
        assert begin(process) == "half"
        record = jobs.get("a")
        record = jobs.commit(advanced(record), record.version)
        jobs.put_cohort(record, record.version, patients(9))
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "stopped\n"
        assert list(jobs.cohort("a")) == patients(9)

    def test_of_two_who_write_a_cohort_at_once_none_mixes_with_the_other(
        self, jobs: JobStore, child: Callable[[str], Child]
    ) -> None:
        jobs.create(a_record("a"))
        (record,) = jobs.acquire("one", 1)
        source = """
from fhirferry.testing.job_store_cohorts import patients
record = jobs.get("a")
try: jobs.put_cohort(record, record.version, (f"{os.getpid()}-{each}" for each in patients()))
except JobConflict: print("stopped")
else: print("done")
"""
        both = [child(source), child(source)]
        assert ["done"] in together(both)
        whole = list(jobs.cohort("a"))
        assert whole in [[f"{each.pid}-{patient}" for patient in patients()] for each in both]
        assert jobs.get("a") == record
