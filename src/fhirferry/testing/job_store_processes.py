"""Conformance of a durable JobStore among real processes. Needs pytest; used like `job_store_suite`.

(`job_store_cohort_processes` has more of it.)

The subclass also gives a fixture `opening`: Python source that a child runs to open, as `jobs`, the ledger that `make`
made, with the machine's clock and `fhirferry.jobs.holder.is_dead`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from fhirferry.clock import system_clock
from fhirferry.jobs.holder import is_dead
from fhirferry.jobs.protocol import JobStore
from fhirferry.model.job import JobStatus
from fhirferry.testing.job_store_bench import MakeStore, a_file, a_partition, a_record, advanced

Child = subprocess.Popen[str]

_GO = """
import os, sys
from fhirferry.jobs.holder import make_holder
from fhirferry.model.errors import JobConflict
from fhirferry.testing.job_store_bench import a_file, a_partition, advanced
print("ready", flush=True)
sys.stdin.readline()
"""


class ProcessFixtures:
    """`jobs`, and `child` to start others, from the `make` and `opening` of the subclass."""

    @pytest.fixture
    def make(self) -> MakeStore:
        raise NotImplementedError("give the suite a fixture `make`")

    @pytest.fixture
    def opening(self) -> str:
        raise NotImplementedError("give the suite a fixture `opening`")

    @pytest.fixture
    def jobs(self, make: MakeStore) -> Iterator[JobStore]:
        jobs = make(system_clock, is_dead)
        yield jobs
        jobs.close()

    @pytest.fixture
    def child(self, jobs: JobStore, opening: str) -> Iterator[Callable[[str], Child]]:
        """Starts a child that has the ledger open and waits for a line; then it runs the source."""
        assert jobs.list() == (), "the ledger is made before a child opens it"
        children: list[Child] = []

        def start(source: str) -> Child:
            process = subprocess.Popen(
                [sys.executable, "-c", opening + _GO + source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            children.append(process)
            return process

        yield start
        for process in children:
            process.kill()
            process.communicate()


class ProcessesSuite(ProcessFixtures):
    """Several processes, one ledger."""

    def test_s79_two_processes_never_get_the_same_job(self, jobs: JobStore, child: Callable[[str], Child]) -> None:
        ids = [f"job-{n:02d}" for n in range(30)]
        for number, job_id in enumerate(ids):
            jobs.create(a_record(job_id, number))
        # They stay alive until both are through: the jobs of a dead holder would be due again.
        source = """
me = make_holder()
while taken := jobs.acquire(me, 1): print(taken[0].id)
print("end", flush=True)
sys.stdin.read()
"""
        mine, theirs = together([child(source), child(source)])
        assert sorted(mine + theirs) == ids
        assert (mine, theirs) == (sorted(mine), sorted(theirs)), "each saw the oldest first"

    def test_equal_commands_at_the_same_instant_make_one_job(
        self, jobs: JobStore, child: Callable[[str], Child]
    ) -> None:
        source = """
from fhirferry.testing.job_store_bench import a_record
for round in range(20):
    destination = f"file:{round}"
    print(jobs.find_or_create(a_record(f"{round}-{os.getpid()}", jobs.now(), destination_uri=destination)).id)
"""
        mine, theirs, others = together([child(source) for _ in range(3)])
        assert mine == theirs == others
        assert sorted(mine) == sorted(record.id for record in jobs.list())
        assert len(set(mine)) == 20

    def test_s82_of_simultaneous_commits_exactly_one_wins(self, jobs: JobStore, child: Callable[[str], Child]) -> None:
        jobs.create(a_record("a"))
        source = """
record, wins = jobs.get("a"), 0
for attempt in range(10):
    file = a_file(attempt + 1, part=f"{attempt}-{os.getpid()}")
    try:
        record = jobs.commit(advanced(record), record.version, files=[file]); wins += 1
    except JobConflict:
        record = jobs.get("a")
    while record.resources <= attempt: record = jobs.get("a")
print(wins, flush=True)
"""
        wins = together([child(source) for _ in range(3)])
        assert sum(int(lines[0]) for lines in wins) == 10
        assert jobs.get("a").resources == len(jobs.files("a")) == 10

    def test_what_a_commit_returned_survives_kill_9(self, jobs: JobStore, child: Callable[[str], Child]) -> None:
        jobs.create(a_record("a"))
        source = """
(record,) = jobs.acquire(make_holder(), 1)
record = jobs.commit(advanced(record), record.version, partitions=[a_partition("a", 0)], files=[a_file(1)])
print(record.version, flush=True)
os.kill(os.getpid(), 9)
"""
        process = child(source)
        ((version,),) = together([process])
        assert process.returncode == -signal.SIGKILL
        record = jobs.get("a")
        assert (record.version, record.resources, record.status) == (int(version), 1, JobStatus.RUNNING)
        assert (jobs.partitions("a"), jobs.files("a")) == ((a_partition("a", 0),), (a_file(1),))
        (taken,) = jobs.acquire("next", 1)
        assert (taken.epoch, taken.consecutive_failures) == (2, 0), "the dead holder is not waited for"

    def test_l14_kill_9_inside_a_commit_leaves_nothing_of_it(
        self, jobs: JobStore, child: Callable[[str], Child]
    ) -> None:
        jobs.create(a_record("a"))
        source = """
from fhirferry import faultpoints
(record,) = jobs.acquire(make_holder(), 1)
print(record.version, flush=True)
faultpoints.armed = lambda point: os.kill(os.getpid(), 9)
jobs.commit(advanced(record), record.version, partitions=[a_partition("a", 0)], files=[a_file(1)])
"""
        process = child(source)
        ((version,),) = together([process])
        assert process.returncode == -signal.SIGKILL
        record = jobs.get("a")
        assert (record.version, record.resources) == (int(version), 0)
        assert (jobs.partitions("a"), jobs.files("a")) == ((), ())
        assert jobs.commit(advanced(record), record.version, files=[a_file(1)]).resources == 1

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells for certain")
    def test_a_stopped_holder_keeps_its_job_and_a_killed_one_does_not(
        self, jobs: JobStore, child: Callable[[str], Child]
    ) -> None:
        jobs.create(a_record("a"))
        process = child("print(jobs.acquire(make_holder(), 1)[0].id, flush=True)\nsys.stdin.readline()")
        assert begin(process) == "a"
        assert jobs.acquire("next", 1) == ()
        process.send_signal(signal.SIGSTOP)
        assert jobs.acquire("next", 1) == ()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie
        assert [r.id for r in jobs.acquire("next", 1)] == ["a"]


def begin(process: Child) -> str:
    """Let a waiting child run; the first line that it prints then."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def together(processes: list[Child]) -> list[list[str]]:
    """Let waiting children run at the same time; the lines that each printed up to `end`, or till it ended."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [_lines(process) for process in processes]


def _lines(process: Child) -> list[str]:
    lines: list[str] = []
    for line in process.stdout or ():
        if line == "end\n":
            return lines
        lines.append(line.strip())
    process.wait(60)
    return lines
