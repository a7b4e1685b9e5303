"""Conformance of JobStore among threads that share one store. Needs pytest; used like `job_store_suite`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from fhirferry.model.errors import IllegalStep, JobConflict
from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
from fhirferry.testing.job_store_bench import Bench, LedgerFixtures, a_file, a_partition, advanced

_T = TypeVar("_T")


def at_once(*calls: Callable[[], _T]) -> list[_T]:
    """What each call gives, all started at one moment in threads of their own."""
    start = threading.Barrier(len(calls))
    results: dict[int, _T] = {}

    def run(index: int, call: Callable[[], _T]) -> None:
        start.wait(30)
        results[index] = call()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [results[index] for index in range(len(calls))]


class RivalsSuite(LedgerFixtures):
    """Several threads, one store."""

    @pytest.fixture(autouse=True)
    def restless(self) -> Iterator[None]:
        """Threads that take turns all the time, so that one meets the other half-way."""
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        yield
        sys.setswitchinterval(usual)

    def test_s79_two_threads_never_get_the_same_job(self, bench: Bench) -> None:
        def take_all(holder: str) -> list[str]:
            mine: list[str] = []
            while taken := bench.taken(holder, limit=1):
                mine += taken
            return mine

        for turn in range(5):
            ids = [f"{turn}-{n:02d}" for n in range(20)]
            bench.queue(*ids, settings=JobSettings(heartbeat_timeout=9999.0))
            mine, theirs = at_once(lambda: take_all("one"), lambda: take_all("two"))
            assert sorted(mine + theirs) == ids
            assert (mine, theirs) == (sorted(mine), sorted(theirs)), "each saw the oldest first"

    def test_s82_of_simultaneous_commits_exactly_one_wins(self, bench: Bench) -> None:
        record = bench.run("a")
        for attempt in range(5):
            base = record

            def commit(who: int, base: ExportJobRecord = base, attempt: int = attempt) -> int | None:
                file = a_file(attempt + 1, part=f"{attempt}-{who}")
                try:
                    bench.jobs.commit(
                        advanced(base, who), base.version, partitions=[a_partition("a", who)], files=[file]
                    )
                except JobConflict:
                    return None
                return who

            outcomes = at_once(*(lambda who=who: commit(who) for who in (1, 2, 3, 4)))
            (winner,) = [who for who in outcomes if who is not None]
            record = bench.jobs.get("a")
            assert record.resources == base.resources + winner
            assert bench.jobs.files("a")[-1].part == f"{attempt}-{winner}"

    def test_a_cancel_and_a_commit_at_once_end_as_if_one_came_first(self, bench: Bench) -> None:
        for job_id in ("a", "b", "c", "d", "e"):
            record = bench.run(job_id)

            def commit(record: ExportJobRecord = record) -> bool:
                try:
                    bench.jobs.commit(advanced(record), record.version, files=[a_file(1)])
                except JobConflict:
                    return False
                return True

            def cancel(job_id: str = job_id) -> bool:
                try:
                    return bench.jobs.cancel(job_id).status is JobStatus.CANCELED
                except IllegalStep:
                    return False

            committed, canceled = at_once(commit, cancel)
            after = bench.jobs.get(job_id)
            assert canceled
            assert after.status is JobStatus.CANCELED
            assert (after.resources, len(bench.jobs.files(job_id))) == ((1, 1) if committed else (0, 0))
