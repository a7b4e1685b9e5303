"""Conformance suite of JobStore. Needs pytest.

Subclass JobStoreSuite under a name that pytest collects, with a fixture `make` that gives a MakeStore. So go the suites
of `job_store_endings` (cancel, delete, clean-up), `job_store_cohorts` (what may be long: patients, names),
`job_store_rivals` (threads) and `job_store_processes`.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fhirferry import faultpoints
from fhirferry.jobs.protocol import Beat
from fhirferry.model import steps
from fhirferry.model.errors import IllegalStep, JobConflict, JobNotFound, RequestError
from fhirferry.model.job import JobSettings, JobStatus
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind, Total
from fhirferry.testing.job_store_bench import TROUBLE, Bench, LedgerFixtures, a_file, a_partition, a_record, advanced


class JobStoreSuite(LedgerFixtures):
    """Finding, acquiring, holding, committing: one caller at a time."""

    # Creating and finding

    def test_a_created_job_reads_back_with_its_first_tag(self, bench: Bench) -> None:
        created = bench.jobs.create(a_record("a"))
        assert created == a_record("a", version=created.version)
        assert created.version > 0
        assert bench.jobs.get("a") == created
        assert bench.jobs.now() == bench.now

    def test_create_refuses_a_known_id_even_a_deleted_one_and_a_job_that_is_not_queued(self, bench: Bench) -> None:
        bench.queue("a")
        with pytest.raises(JobConflict):
            bench.jobs.create(a_record("a"))
        bench.jobs.delete("a")
        with pytest.raises(JobConflict):
            bench.jobs.create(a_record("a"))
        with pytest.raises(IllegalStep):
            bench.jobs.create(a_record("b", status=JobStatus.RUNNING))

    def test_s81_l17_equal_requests_are_jobs_of_their_own_and_found_by_their_hash(self, bench: Bench) -> None:
        bench.queue("a", "b")
        bench.queue("c", hash="another")
        bench.jobs.cancel("a")
        same = a_record("a").hash
        assert [r.id for r in bench.jobs.list(request_hash=same)] == ["a", "b"]
        assert [r.id for r in bench.jobs.list(request_hash=same, unfinished=True)] == ["b"]
        assert bench.jobs.list(request_hash="nobody's") == ()
        assert bench.jobs.get("b").status is JobStatus.QUEUED

    def test_find_or_create_gives_the_newest_unfinished_job_of_the_same_request_and_way(self, bench: Bench) -> None:
        assert bench.jobs.find_or_create(a_record("a")) == bench.jobs.get("a")
        bench.queue("b", "other")
        bench.jobs.create(a_record("elsewhere", bench.now, destination_uri="file:elsewhere"))
        bench.jobs.create(a_record("of-another", bench.now, source_uri="sqlite:another.db"))
        bench.jobs.create(a_record("asked-otherwise", bench.now, hash="another"))
        bench.jobs.delete("other")
        assert bench.jobs.find_or_create(a_record("c", bench.now)) == bench.jobs.get("b")
        assert [r.id for r in bench.jobs.acquire("one", 9, job_id="b")] == ["b"]
        assert bench.jobs.find_or_create(a_record("c", bench.now)) == bench.jobs.get("b")
        assert "c" not in [r.id for r in bench.jobs.list()]

    def test_s65_what_the_operator_named_tells_ways_apart_not_the_folder_that_a_layout_made(self, bench: Bench) -> None:
        way = {"destination_root": "file:///srv", "settings": JobSettings(layout="<resourcename>")}
        bench.queue("a", destination_uri="file:///srv/run-a", **way)
        bench.jobs.create(a_record("flat", bench.now, **way | {"settings": JobSettings()}))
        bench.jobs.create(a_record("of-another-root", bench.now, **way | {"destination_root": "file:///srv/one"}))
        asked = a_record("b", bench.now, destination_uri="file:///srv/run-b", **way)
        assert bench.jobs.find_or_create(asked).id == "a"
        other = a_record("c", bench.now, destination_uri="file:///srv/c", **way)
        assert bench.jobs.find_or_create(other).id == "c", "a folder by another template"
        bench.jobs.create(a_record("no-layout", bench.now, destination_uri="file:///elsewhere"))
        rooted = a_record("d", bench.now, destination_uri="file:///elsewhere", destination_root="file:///elsewhere")
        assert bench.jobs.find_or_create(rooted).id == "no-layout", "without a layout the folder is what was named"

    def test_find_or_create_finds_a_job_that_ended_after_it_was_asked_and_none_that_ended_before(
        self, bench: Bench
    ) -> None:
        asked = a_record("b", bench.now)
        bench.queue("a")
        bench.jobs.cancel("a")
        assert bench.jobs.find_or_create(asked) == bench.jobs.get("a")
        bench.wait(1)
        assert bench.jobs.find_or_create(a_record("c", bench.now)).id == "c"
        bench.queue("d")
        bench.jobs.cancel("d")
        assert bench.jobs.find_or_create(asked).id == "c", "one that still goes on is nearer than one that ended"

    def test_find_or_create_refuses_what_create_refuses(self, bench: Bench) -> None:
        bench.queue("a", hash="another")
        with pytest.raises(JobConflict):
            bench.jobs.find_or_create(a_record("a"))
        with pytest.raises(IllegalStep):
            bench.jobs.find_or_create(a_record("b", status=JobStatus.RUNNING))

    def test_list_is_oldest_first_and_ties_are_in_order_of_arrival(self, bench: Bench) -> None:
        for job_id, queued in (("c", 5), ("z", 3), ("b", 5), ("a", 7)):
            bench.jobs.create(a_record(job_id, queued))
        bench.jobs.cancel("c")
        assert [r.id for r in bench.jobs.list()] == ["z", "c", "b", "a"]
        assert [r.id for r in bench.jobs.list(unfinished=True)] == ["z", "b", "a"]
        assert bench.taken() == ["z", "b", "a"]

    def test_an_unknown_job_is_not_found(self, bench: Bench) -> None:
        for call in (bench.jobs.get, bench.jobs.cancel, bench.jobs.resume, bench.jobs.delete):
            with pytest.raises(JobNotFound):
                call("nobody")
        with pytest.raises(JobNotFound):
            bench.jobs.commit(a_record("nobody"), 1)
        assert bench.taken(job_id="nobody") == []
        assert (bench.jobs.partitions("nobody"), bench.jobs.files("nobody")) == ((), ())
        bench.jobs.cleaned("nobody", again_at=None)

    def test_the_ledger_keeps_nothing_of_the_callers_own_objects(self, bench: Bench) -> None:
        totals = {"Patient": Total(resources=1, bytes=9)}
        bench.jobs.create(a_record("a", totals=totals))
        totals.clear()
        bench.jobs.get("a").totals.clear()
        assert bench.jobs.get("a").totals == {"Patient": Total(resources=1, bytes=9)}

    # Acquiring

    def test_s12_acquire_gives_queued_due_and_stale_jobs_and_no_other(self, bench: Bench) -> None:
        stale, held, done = (bench.run(job_id) for job_id in ("stale", "held", "done"))
        bench.save(steps.complete(replace(done, sealed=True), bench.now))
        later = bench.run("later")
        bench.save(steps.retry_later(later, TROUBLE, bench.now, jitter=0.5, retry_after=7.0))
        bench.queue("queued", "canceled")
        bench.jobs.cancel("canceled")
        bench.wait(10)
        assert bench.jobs.heartbeat("held", "one", held.epoch) is Beat.OK
        taken = bench.jobs.acquire("two", 9)
        assert [r.id for r in taken] == ["stale", "later", "queued"]
        assert {(r.status, r.holder, r.heartbeat) for r in taken} == {(JobStatus.RUNNING, "two", bench.now)}
        assert taken[0].epoch == stale.epoch + 1
        assert list(taken) == [bench.jobs.get(r.id) for r in taken]
        assert bench.taken() == []

    def test_s13_a_retriable_job_waits_for_its_time_unless_a_person_asks_for_it(self, bench: Bench) -> None:
        record = bench.save(steps.retry_later(bench.run("a"), TROUBLE, bench.now, jitter=0.5, retry_after=7.0))
        bench.wait(7 - 1e-6)
        assert bench.taken() == []
        bench.wait(1e-6)
        assert record.retry_after == bench.now
        assert bench.taken() == ["a"]
        again = bench.jobs.get("a")
        bench.save(steps.retry_later(again, TROUBLE, bench.now, jitter=0.5, retry_after=7.0))
        assert bench.taken(job_id="a") == []
        assert bench.taken(job_id="a", by_operator=True) == ["a"]

    def test_s79_oldest_first_and_never_more_than_the_limit(self, bench: Bench) -> None:
        bench.queue("a", "b", "c")
        assert bench.taken(limit=0) == []
        assert bench.taken(limit=-1) == []
        assert bench.taken(limit=2) == ["a", "b"]
        assert bench.taken(limit=2) == ["c"]

    def test_a_job_that_a_person_asks_for_is_taken_alone_and_only_when_nobody_works_on_it(self, bench: Bench) -> None:
        bench.queue("a", "b")
        assert bench.taken("one", job_id="b") == ["b"]
        assert bench.taken(job_id="b") == []
        bench.jobs.cancel("a")
        assert bench.taken(job_id="a") == []
        bench.wait(10.1)
        assert bench.taken(job_id="b") == ["b"]

    def test_a_dead_holder_is_not_waited_for(self, bench: Bench) -> None:
        bench.run("a")
        assert bench.taken() == []
        bench.dead.add("one")
        assert bench.taken() == ["a"]

    def test_how_long_a_heartbeat_holds_is_in_the_record(self, bench: Bench) -> None:
        bench.queue("slow", settings=JobSettings(heartbeat_timeout=100.0))
        bench.queue("quick", settings=JobSettings(heartbeat_timeout=0.5))
        assert bench.taken("one") == ["slow", "quick"]
        bench.wait(0.6)
        assert bench.taken() == ["quick"]
        bench.wait(100)
        assert bench.taken() == ["slow", "quick"]

    def test_a_heartbeat_from_the_future_is_stale(self, bench: Bench) -> None:
        bench.run("a")
        bench.wait(-3600)
        assert bench.taken() == ["a"]

    def test_l12_a_crash_loop_ends_in_failed_at_the_threshold(self, bench: Bench) -> None:
        bench.run("a")
        for failures in (1, 2):
            bench.wait(11)
            (record,) = bench.jobs.acquire("two", 1)
            assert (record.consecutive_failures, record.failure_count) == (failures, failures)
        bench.queue("b")
        bench.wait(11)
        assert bench.taken(limit=1) == ["b"], "a job that turns FAILED neither is returned nor counts for the limit"
        failed = bench.jobs.get("a")
        assert (failed.status, failed.failure_count, failed.holder) == (JobStatus.FAILED, 3, None)
        assert failed.failure is not None
        assert failed.cleanup_due == failed.end_time == bench.now

    def test_s23_l11_a_commit_clears_the_count_so_a_slow_job_goes_on_for_ever(self, bench: Bench) -> None:
        record = bench.run("a")
        for _ in range(5):
            bench.wait(11)
            (record,) = bench.jobs.acquire("two", 1)
            record = bench.save(advanced(record))
            assert record.consecutive_failures == 0
        assert (record.resources, record.epoch) == (5, 6)

    # The hold

    def test_a_heartbeat_renews_the_hold_and_nothing_else(self, bench: Bench) -> None:
        record = bench.run("a")
        bench.wait(9)
        assert bench.jobs.heartbeat("a", "one", record.epoch) is Beat.OK
        assert bench.jobs.get("a") == replace(record, heartbeat=bench.now)
        assert bench.save(advanced(record)).heartbeat == bench.now, "a commit takes no heartbeat back"
        assert bench.jobs.get("a").heartbeat == bench.now

    def test_s2_a_holder_that_was_replaced_can_neither_beat_nor_commit(self, bench: Bench) -> None:
        old = bench.run("a")
        bench.wait(11)
        (new,) = bench.jobs.acquire("one", 1)
        assert bench.jobs.heartbeat("a", "one", old.epoch) is Beat.LOST
        assert bench.jobs.heartbeat("a", "two", new.epoch) is Beat.LOST
        with pytest.raises(JobConflict):
            bench.save(advanced(old))
        assert bench.jobs.get("a") == new
        assert bench.jobs.heartbeat("a", "one", new.epoch) is Beat.OK

    def test_a_heartbeat_learns_that_the_job_was_canceled_deleted_or_ended(self, bench: Bench) -> None:
        canceled, deleted, ended = (bench.run(job_id) for job_id in ("canceled", "deleted", "ended"))
        bench.jobs.cancel("canceled")
        bench.jobs.delete("deleted")
        bench.save(steps.give_back(ended))
        for record, beat in ((canceled, Beat.CANCELED), (deleted, Beat.CANCELED), (ended, Beat.LOST)):
            assert bench.jobs.heartbeat(record.id, "one", record.epoch) is beat
        assert bench.swept("deleted") == ["deleted"]
        bench.jobs.cleaned("deleted", again_at=None)
        assert bench.jobs.heartbeat("deleted", "one", deleted.epoch) is Beat.CANCELED

    # Committing

    def test_s40_a_commit_without_record_or_tag_is_refused_before_anything_else(self, bench: Bench) -> None:
        record = bench.run("a")
        for missing in ((record, None), (record, 0), (None, record.version)):
            with pytest.raises(RequestError):
                bench.jobs.commit(*missing)
        assert bench.jobs.get("a") == record

    def test_s41_s82_a_commit_saves_and_renews_the_tag_and_the_old_tag_is_refused(self, bench: Bench) -> None:
        record = bench.run("a")
        first = bench.save(advanced(record))
        assert first == advanced(replace(record, version=first.version))
        assert first.version != record.version
        with pytest.raises(JobConflict):
            bench.jobs.commit(advanced(record), record.version)
        assert bench.jobs.get("a") == first
        assert bench.save(advanced(first)).resources == 2

    def test_s24_files_and_partitions_read_back_whole_and_in_order(self, bench: Bench) -> None:
        record = bench.run("a")
        errors = a_file(1, kind=Kind.ERROR, type="OperationOutcome", part="e.part", name="")
        files = [
            a_file(2),
            errors,
            a_file(1),
            a_file(1, type="Observation", part="o.part", name="Observation-1.ndjson"),
        ]
        numbers = [11, 2, 0]
        record = bench.jobs.commit(
            advanced(record), record.version, partitions=(a_partition("a", n) for n in numbers), files=iter(files)
        )
        assert bench.jobs.partitions("a") == tuple(a_partition("a", n) for n in sorted(numbers))
        assert bench.jobs.files("a") == (errors, files[3], files[2], files[0])
        moved = a_partition("a", 2, continuation="next", attempt=1, done=True)
        bench.jobs.commit(record, record.version, partitions=[moved], files=[a_file(3)])
        assert bench.jobs.partitions("a") == (a_partition("a", 0), moved, a_partition("a", 11))
        assert [f.sequence for f in bench.jobs.files("a") if f.type == "Patient"] == [1, 2, 3]

    def test_l14_a_failure_inside_a_commit_leaves_nothing_of_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = bench.run("a")
        record = bench.jobs.commit(record, record.version, partitions=[a_partition("a", 0)])

        def break_down(point: str) -> None:
            assert point == "commit-inside"
            raise KeyboardInterrupt

        monkeypatch.setattr(faultpoints, "armed", break_down)
        sealed = replace(advanced(record), sealed=True)
        last = [a_partition("a", 0, done=True), a_partition("a", 1)]
        with pytest.raises(KeyboardInterrupt):
            bench.jobs.commit(sealed, record.version, partitions=last, files=[a_file(1)])
        monkeypatch.setattr(faultpoints, "armed", None)
        assert bench.jobs.get("a") == record
        assert bench.jobs.partitions("a") == (a_partition("a", 0),)
        assert bench.jobs.files("a") == ()
        assert bench.jobs.commit(sealed, record.version, partitions=last, files=[a_file(1)]).sealed, (
            "and it can be done again"
        )
        assert (bench.jobs.partitions("a"), bench.jobs.files("a")) == (tuple(last), (a_file(1),))

    @pytest.mark.parametrize(
        "doubled",
        [a_file(1, part="x", name="x"), a_file(2, part="0001.part"), a_file(2, name="Patient-1.ndjson")],
        ids=["sequence", "part", "name"],
    )
    def test_no_file_can_be_listed_twice(self, bench: Bench, doubled: OutputFile) -> None:
        record = bench.run("a")
        record = bench.jobs.commit(record, record.version, files=[a_file(1)])
        for files in ([doubled], [a_file(3), doubled]):
            with pytest.raises(JobConflict):
                bench.jobs.commit(advanced(record), record.version, files=files)
        assert (bench.jobs.get("a"), bench.jobs.files("a")) == (record, (a_file(1),))
        other = bench.run("b")
        bench.jobs.commit(other, other.version, files=[a_file(1)])

    def test_a_partition_of_another_job_is_refused(self, bench: Bench) -> None:
        bench.queue("b")
        record = bench.run("a")
        with pytest.raises(RequestError):
            bench.jobs.commit(record, record.version, partitions=[a_partition("b", 0)])
        assert (bench.jobs.get("a"), bench.jobs.partitions("b")) == (record, ())
