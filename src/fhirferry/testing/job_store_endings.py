"""Conformance of JobStore when jobs end: cancel, resume, delete, clean-up. Needs pytest; use as `job_store_suite`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fhirferry.model import steps
from fhirferry.model.errors import IllegalStep, JobConflict, JobNotFound
from fhirferry.model.instant import SECOND
from fhirferry.model.job import JobStatus
from fhirferry.testing.job_store_bench import TROUBLE, Bench, LedgerFixtures, a_file, a_partition, a_record, advanced


class EndingsSuite(LedgerFixtures):
    """One caller at a time."""

    # Cancelling and resuming

    def test_cancel_wins_over_whoever_holds_the_job(self, bench: Bench) -> None:
        record = bench.run("a")
        canceled = bench.jobs.cancel("a")
        assert canceled == bench.jobs.get("a")
        assert (canceled.status, canceled.canceled_time, canceled.cleanup_due) == (
            JobStatus.CANCELED,
            bench.now,
            bench.now,
        )
        with pytest.raises(JobConflict):
            bench.save(advanced(record))
        with pytest.raises(IllegalStep):
            bench.jobs.cancel("a")
        assert bench.jobs.get("a") == canceled

    def test_resume_makes_failed_and_retriable_jobs_due_and_keeps_their_commits(self, bench: Bench) -> None:
        record = bench.run("a")
        record = bench.jobs.commit(advanced(record), record.version, files=[a_file(1)])
        bench.save(steps.fail(record, TROUBLE, bench.now))
        resumed = bench.jobs.resume("a")
        assert (resumed.status, resumed.resources, resumed.cleanup_due) == (JobStatus.QUEUED, 1, None)
        assert resumed == bench.jobs.get("a")
        with pytest.raises(IllegalStep):
            bench.jobs.resume("a")
        assert bench.jobs.get("a") == resumed
        (again,) = bench.jobs.acquire("two", 1)
        bench.save(steps.retry_later(again, TROUBLE, bench.now, jitter=0.0, retry_after=99.0))
        assert bench.jobs.resume("a").retry_after is None
        assert (bench.taken(), bench.jobs.files("a")) == (["a"], (a_file(1),))

    def test_resume_takes_no_job_from_its_holder_and_wakes_no_ended_one(self, bench: Bench) -> None:
        running, done, canceled = (bench.run(job_id) for job_id in ("running", "done", "canceled"))
        done = bench.save(steps.complete(replace(done, sealed=True), bench.now))
        canceled = bench.jobs.cancel("canceled")
        for record in (running, done, canceled):
            with pytest.raises(IllegalStep):
                bench.jobs.resume(record.id)
            assert bench.jobs.get(record.id) == record

    # Deleting and cleaning up

    def test_a_deleted_job_is_there_for_nobody_but_clean_up(self, bench: Bench) -> None:
        record = bench.run("a")
        record = bench.jobs.commit(
            advanced(record), record.version, partitions=[a_partition("a", 0)], files=[a_file(1)]
        )
        tombstone = bench.jobs.delete("a", keep_files=True)
        assert (tombstone.status, tombstone.deleted, tombstone.keep_files) == (JobStatus.CANCELED, True, True)
        for call in (bench.jobs.get, bench.jobs.cancel, bench.jobs.resume, bench.jobs.delete):
            with pytest.raises(JobNotFound):
                call("a")
        assert bench.jobs.list() == bench.jobs.list(request_hash=record.hash) == bench.jobs.list(unfinished=True) == ()
        assert bench.taken() == bench.taken(job_id="a") == []
        with pytest.raises(JobConflict):
            bench.save(advanced(record))
        assert bench.jobs.files("a") == (a_file(1),)
        assert bench.jobs.prune(bench.now + 9 * SECOND) == ()
        assert [r.deleted for r in bench.jobs.acquire_cleanup(1, lease=60.0)] == [True]

    def test_clean_up_is_leased_so_that_one_that_dies_is_done_again(self, bench: Bench) -> None:
        for job_id in ("a", "b", "c"):
            bench.queue(job_id)
            bench.jobs.cancel(job_id)
        assert [r.id for r in bench.jobs.acquire_cleanup(0, lease=60.0)] == []
        assert bench.swept("b") == ["b"]
        (record,) = bench.jobs.acquire_cleanup(1, lease=60.0)
        assert (record.id, record.cleanup_due) == ("a", bench.now + 60 * SECOND)
        assert record == bench.jobs.get("a")
        assert bench.swept() == ["c"]
        assert bench.swept() == bench.swept("a") == bench.swept("nobody") == []
        bench.wait(60)
        assert bench.swept() == ["a", "b", "c"], "equally long due: by arrival"

    def test_passes_of_clean_up_are_counted_and_the_rows_of_a_kept_job_stay(self, bench: Bench) -> None:
        record = bench.run("a")
        record = bench.jobs.commit(record, record.version, partitions=[a_partition("a", 0)], files=[a_file(1)])
        bench.jobs.cancel("a")
        assert bench.swept() == ["a"]
        bench.jobs.cleaned("a", again_at=bench.now + 30 * SECOND)
        assert (bench.jobs.get("a").cleanups, bench.jobs.get("a").cleanup_due) == (1, bench.now + 30 * SECOND)
        assert bench.swept() == []
        bench.wait(30)
        assert bench.swept() == ["a"]
        bench.jobs.cleaned("a", again_at=None)
        assert (bench.jobs.get("a").cleanups, bench.jobs.get("a").cleanup_due) == (2, None)
        bench.wait(3600)
        assert bench.swept() == []
        assert (bench.jobs.partitions("a"), bench.jobs.files("a")) == ((a_partition("a", 0),), (a_file(1),))

    def test_the_rows_of_a_deleted_job_go_with_its_last_clean_up(self, bench: Bench) -> None:
        record = bench.run("a")
        bench.jobs.commit(record, record.version, partitions=[a_partition("a", 0)], files=[a_file(1)])
        bench.jobs.delete("a")
        assert bench.swept() == ["a"]
        bench.jobs.cleaned("a", again_at=bench.now + 1)
        assert bench.jobs.files("a") == (a_file(1),)
        bench.wait(1)
        assert bench.swept() == ["a"]
        bench.jobs.cleaned("a", again_at=None)
        assert (bench.jobs.partitions("a"), bench.jobs.files("a")) == ((), ())
        with pytest.raises(JobNotFound):
            bench.save(advanced(record))
        assert bench.jobs.create(a_record("a")).cleanups == 0, "nothing of it is left"
        assert bench.jobs.files("a") == ()

    def test_a_pass_that_began_before_a_delete_does_not_tick_it_off(self, bench: Bench) -> None:
        bench.queue("a")
        bench.jobs.cancel("a")
        assert bench.swept() == ["a"]
        bench.jobs.delete("a")
        bench.jobs.cleaned("a", again_at=None)
        assert bench.swept() == ["a"]

    def test_nothing_is_swept_from_under_a_resumed_job(self, bench: Bench) -> None:
        bench.save(steps.fail(bench.run("a"), TROUBLE, bench.now))
        assert bench.swept() == ["a"]
        bench.jobs.resume("a")
        (record,) = bench.jobs.acquire("two", 1)
        bench.jobs.cleaned("a", again_at=bench.now)
        assert bench.jobs.get("a") == record, "the holder's tag still counts"
        bench.wait(3600)
        assert bench.swept() == []

    def test_prune_forgets_clean_jobs_that_ended_before(self, bench: Bench) -> None:
        for job_id in ("old", "unclean", "border"):
            record = bench.run(job_id)
            bench.jobs.commit(record, record.version, partitions=[a_partition(job_id, 0)], files=[a_file(1)])
            bench.jobs.cancel(job_id)
        bench.queue("waiting")
        for job_id in ("old", "border"):
            assert bench.swept(job_id) == [job_id]
            bench.jobs.cleaned(job_id, again_at=None)
        border = bench.jobs.get("border").end_time
        assert border is not None
        assert bench.jobs.prune(border) == ("old",)
        assert [r.id for r in bench.jobs.list()] == ["unclean", "border", "waiting"]
        assert (bench.jobs.partitions("old"), bench.jobs.files("old")) == ((), ())
        assert bench.jobs.files("border") == (a_file(1),)
        assert bench.jobs.prune(bench.now + 1) == ("border",)

    def test_b29_prune_leaves_what_an_unfinished_job_continues(self, bench: Bench) -> None:
        bench.save(steps.complete(replace(bench.run("first"), sealed=True), bench.now))
        assert bench.swept("first") == ["first"]
        bench.jobs.cleaned("first", again_at=None)
        bench.jobs.create(replace(a_record("second"), continues="first"))
        bench.wait(10)
        assert bench.jobs.prune(bench.now + 1) == ()
        bench.jobs.cancel("second")
        assert bench.jobs.prune(bench.now + 1) == ("first",)
