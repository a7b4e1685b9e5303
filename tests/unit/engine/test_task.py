"""One task, one job: resume, T, settings, contexts, and every way out."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest

from fhirferry.engine import context, task
from fhirferry.engine.task import ExportTask
from fhirferry.jobs.protocol import Beat
from fhirferry.model.errors import (
    DestinationConnectionError,
    DestinationUnavailable,
    JobConflict,
    RequestError,
    SnapshotGone,
    SourceConnectionError,
    StoreBusy,
)
from fhirferry.model.job import JobStatus
from fhirferry.model.request import ExportRequest
from fhirferry.testing.faults import fault
from fhirferry.testing.interleaving import Stage
from tests.unit.engine.house import House, raising_at


def test_s1_s86_a_task_takes_an_acquired_job_to_its_end(house: House) -> None:
    house.fill(3)
    house.kick_off()
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "012"
    assert house.names() == ["Patient-1.ndjson", "SHA256SUMS", "manifest.json"]


@pytest.mark.parametrize(("with_record", "version"), [(False, 1), (True, 0)])
def test_s40_without_record_or_tag_it_refuses_before_anything_happens(
    house: House, with_record: bool, version: int
) -> None:
    record = house.kick_off()
    with pytest.raises(RequestError, match="version tag"):
        ExportTask(record if with_record else None, version, jobs=house.jobs, connections=house.connections)  # type: ignore[arg-type]
    assert house.opened == []
    assert house.jobs.get("job0") == record


def test_s2_s27_s41_every_save_uses_the_tag_that_the_last_one_gave(house: House) -> None:
    house.fill(4)
    house.kick_off(page_resources=1, pages_per_commit=1)
    house.run()
    versions = [record.version for record in house.jobs.saved]
    assert versions == list(range(versions[0], versions[0] + len(versions)))
    assert len(versions) == 6  # T, four commits, COMPLETED


def test_s3_s42_s17_s25_a_resume_goes_on_where_the_commits_end(house: House) -> None:
    house.fill(7)
    house.fill(3, "Encounter")
    house.kick_off(page_resources=1, pages_per_commit=2, unit_attempts=1)
    with raising_at(house, 6, StoreBusy("away")):
        house.run()
    before = house.jobs.files("job0")
    assert house.jobs.get("job0").resources == 5  # 3 encounters, and 2 of the patients
    house.source.reads.clear()
    house.clock.advance(1000)
    record = house.run()
    assert record.status is JobStatus.COMPLETED
    assert house.ids() == "012" + "0123456"
    assert set(before) <= set(house.jobs.files("job0"))
    assert len(house.source.reads) == 5  # nothing committed is read again
    assert record.resources == 10


def test_s46_t_is_fixed_once_and_what_comes_later_never_appears(house: House) -> None:
    house.fill(4)
    house.kick_off(page_resources=1, pages_per_commit=1, unit_attempts=1)
    house.source.put(b'{"resourceType":"Patient","id":"queued"}')  # after the kick-off, before the first acquisition
    with raising_at(house, 2, StoreBusy("away")):
        house.run()
    moment = house.t_of()
    house.clock.advance(1000)
    house.source.put(b'{"resourceType":"Patient","id":"late"}')
    house.source.delete("Patient", "3")
    house.run()
    assert house.ids() == "0123queued"
    assert house.t_of() == moment


def test_s46_a_crash_between_pin_and_save_keeps_the_t(house: House) -> None:
    house.fill(1)
    house.kick_off()
    with fault("snapshot-pinned:1:raise"):
        assert house.run().status is JobStatus.RETRIABLE
    (pinned, _) = house.source._pins["job0"]
    house.clock.advance(1000)
    house.run()
    assert house.t_of() == pinned


def test_s47_since_is_exclusive_and_exports_chain(house: House) -> None:
    house.fill(2)
    house.kick_off(to="memory://first")
    first = house.run()
    house.clock.advance(1)
    house.source.put(b'{"resourceType":"Patient","id":"new"}')
    house.kick_off(ExportRequest(since=first.transaction_time), to="memory://second")
    house.run()
    assert house.ids("job0", "memory://first") == "01"
    assert house.ids("job1", "memory://second") == "new"


def test_s44_the_page_size_is_the_record_s(house: House) -> None:
    house.fill(5)
    house.kick_off(page_resources=2)
    house.run()
    assert [size for _, size in house.source.reads] == [2, 2, 2]


def test_s48_s50_s18_s75_each_read_carries_the_newest_continuation(house: House) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=2, unit_attempts=1)
    with raising_at(house, 2, StoreBusy("away")):
        house.run()
    (partition,) = house.jobs.partitions("job0")
    house.clock.advance(1000)
    house.run()
    continuations = [continuation for continuation, _ in house.source.reads]
    assert continuations[0] is None
    assert continuations[2] == partition.continuation is not None
    assert len(set(continuations)) == 3
    assert house.jobs.partitions("job0")[0].done


def test_s51_s83_every_connection_is_given_back_whatever_the_outcome(house: House) -> None:
    house.fill(4)
    house.kick_off(page_resources=1, pages_per_commit=1, unit_attempts=1)
    with raising_at(house, 2, StoreBusy("away")):
        house.run()
    assert house.open_now == 0
    house.clock.advance(1000)
    house.run()
    assert house.open_now == 0
    assert len(house.opened) >= 2 * 4  # each unit opened its own


def test_s69_the_destination_is_the_one_named_in_the_record(house: House) -> None:
    house.fill(1)
    house.kick_off(to="memory://elsewhere")
    house.run()
    assert house.names("memory://elsewhere") == ["Patient-1.ndjson", "SHA256SUMS", "manifest.json"]
    assert list(house.places) == ["memory://elsewhere"]


def test_s28_s56_s64_completed_only_after_the_last_commit_and_with_its_end_time(house: House) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=1)
    record = house.run()
    *before, last = house.jobs.saved
    assert last.status is JobStatus.COMPLETED
    assert {r.status for r in before} == {JobStatus.RUNNING}
    assert before[-1].sealed
    assert record.end_time == house.clock()
    assert record.start_time == house.clock()


def test_s23_a_commit_clears_the_consecutive_failures(house: House) -> None:
    house.fill(6)
    house.kick_off(page_resources=1, pages_per_commit=1, unit_attempts=1)
    for read in (0, 0, 2):
        with raising_at(house, read, StoreBusy("away")):
            record = house.run()
        house.clock.advance(1000)
    assert (record.consecutive_failures, record.failure_count) == (1, 3)
    record = house.run()
    assert (record.consecutive_failures, record.failure_count) == (0, 3)


@pytest.mark.parametrize("outcome", ["completed", "retriable", "failed", "conflict", "stopped"])
def test_s66_the_context_is_set_for_the_work_and_put_back_in_every_outcome(house: House, outcome: str) -> None:
    house.fill(2)
    house.kick_off(unit_attempts=1)
    stop = threading.Event()
    run = house.task(stop=stop)
    if outcome in ("retriable", "failed"):
        house.source.fail_next(StoreBusy("x") if outcome == "retriable" else SnapshotGone("x"))
    elif outcome == "conflict":
        house.jobs.cancel("job0")
    elif outcome == "stopped":
        stop.set()
    outside = context.TaskContext("outside", background=False)
    token = context.current.set(outside)
    try:
        run.run()
        assert context.current.get() is outside
    finally:
        context.current.reset(token)
    if outcome == "completed":
        assert house.source.contexts == {context.TaskContext("job0", background=True)}


def test_s59_s60_l19_a_conflict_stops_the_task_with_one_line_and_no_further_write(house: House) -> None:
    house.fill(4)
    house.kick_off(page_resources=1, pages_per_commit=1)
    run = house.task()
    house.source.before_read = lambda reads: house.jobs.cancel("job0") if reads == 2 else None  # type: ignore[func-returns-value]
    run.run()
    record = house.jobs.get("job0")
    assert record.status is JobStatus.CANCELED
    assert house.jobs.saved[-1].version + 1 == record.version  # the cancel, and nothing after it
    assert len(house.log) == 1
    assert "canceled" in house.log[0]
    # listed files stay for clean-up; the file of the run that could not be committed is gone
    assert house.names() == ["Patient-1.ndjson", "Patient-2.ndjson"]


def test_s60_l11_a_heartbeat_that_lost_the_job_stops_the_task(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.fill(50)
    house.kick_off(page_resources=1, pages_per_commit=1, heartbeat_timeout=0.04)
    run = house.task()
    at_work = threading.Event()
    monkeypatch.setattr(house.jobs, "heartbeat", lambda *_: Beat.LOST if at_work.is_set() else Beat.OK)

    def until_lost(reads: int) -> None:
        if reads == 3:
            at_work.set()
            assert run._lost.wait(5)

    house.source.before_read = until_lost
    run.run()
    record = house.jobs.get("job0")
    assert record.status is JobStatus.RUNNING  # whoever has it now goes on
    assert record.resources == 3  # what came in afterwards is not committed
    assert house.names() == [f"Patient-{number}.ndjson" for number in (1, 2, 3)]
    assert len(house.log) == 1


@pytest.mark.parametrize("how", ["lost", "stop"])
def test_a_long_pause_before_a_retry_ends_when_the_task_shall_leave(house: House, how: str) -> None:
    house.fill(1)
    house.kick_off()
    stop = threading.Event()
    run = house.task(stop=stop)
    house.source.fail_next(StoreBusy("throttled", retry_after=600))
    threading.Timer(0.05, (stop if how == "stop" else run._lost).set).start()
    start = time.monotonic()
    run.run()
    assert time.monotonic() - start < 5
    assert house.jobs.get("job0").status is (JobStatus.QUEUED if how == "stop" else JobStatus.RUNNING)


def test_s60_a_fenced_task_removes_its_own_run_s_file_and_no_other_s(house: House) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=1)
    with Stage() as stage:
        old = stage.start(lambda: house.run(holder="old"))
        old.run(until="commit-after")
        old.run(until="unit-finished")
        house.clock.advance(61)
        new = stage.start(lambda: house.run(holder="new"))
        new.run(until="unit-finished")
        assert len([name for name in house.names() if name.endswith(".part")]) == 2
        old.run()
        assert len([name for name in house.names() if name.endswith(".part")]) == 1
        assert "Patient-1.ndjson" in house.names()
        new.run()
    assert house.jobs.get("job0").status is JobStatus.COMPLETED
    assert house.ids() == "012"
    assert house.names() == [*(f"Patient-{number}.ndjson" for number in (1, 2, 3)), "SHA256SUMS", "manifest.json"]


def test_a_stop_gives_the_job_back_at_a_commit_point_without_counting_a_failure(house: House) -> None:
    house.fill(9)
    house.kick_off(page_resources=1)
    stop = threading.Event()
    house.source.before_read = lambda reads: stop.set() if reads == 3 else None  # type: ignore[func-returns-value]
    record = house.run(stop=stop)
    assert record.status is JobStatus.QUEUED
    assert (record.failure_count, record.holder) == (0, None)
    assert house.ids() == "0123"
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "012345678"


def test_a_sealed_job_is_finished_without_reading_anything(house: House) -> None:
    house.fill(3)
    house.kick_off()
    with fault("sealed:1:raise"):
        assert house.run().status is JobStatus.RETRIABLE
    assert "manifest.json" not in house.names()
    house.source.reads.clear()
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED
    assert house.source.reads == []
    assert "manifest.json" in house.names()


def test_what_a_predecessor_committed_is_published_by_the_next(house: House) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=1)
    house.place().fail_next("publish", DestinationUnavailable("away"))
    record = house.run()
    assert record.status is JobStatus.RETRIABLE
    assert [file.name for file in house.files()] == ["Patient-1.ndjson"]
    assert house.names() == [house.files()[0].part]
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "012"


# Failures


def test_s4_s10_s11_s13_transient_failures_are_retriable_until_the_threshold(house: House) -> None:
    house.fill(2)
    house.kick_off(unit_attempts=1, failure_threshold=3)
    waits = []
    for failures in (1, 2):
        house.source.fail_next(StoreBusy("the store is locked"))
        record = house.run()
        assert record.status is JobStatus.RETRIABLE
        assert (record.consecutive_failures, record.failure_count) == (failures, failures)
        assert record.failure is not None
        assert (record.failure.reason, record.failure.status_code) == ("the store is locked", 503)
        assert record.retry_after is not None
        waits.append((record.retry_after - house.clock()) / 1_000_000)
        assert house.jobs.acquire("w", 1) == ()  # S13: not before its time
        house.clock.now = record.retry_after
    assert waits == [1.0, 2.0]
    house.source.fail_next(StoreBusy("the store is locked"))
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert record.end_time == house.clock()
    assert house.jobs.acquire("w", 1) == ()


def test_s13_a_wish_for_a_longer_wait_is_honoured(house: House) -> None:
    house.fill(1)
    house.kick_off(unit_attempts=1)
    house.source.fail_next(StoreBusy("busy", retry_after=77))
    record = house.run()
    assert record.retry_after == house.clock() + 77_000_000


@pytest.mark.parametrize(
    "error",
    [SnapshotGone("pruned"), SourceConnectionError("no such store"), DestinationConnectionError("no", status_code=403)],
)
def test_s4_s73_a_permanent_failure_is_final_at_once_with_reason_and_code(house: House, error: Exception) -> None:
    house.fill(1)
    house.kick_off()
    house.source.fail_next(error)
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert record.failure is not None
    assert record.failure.reason == str(error)
    assert record.failure.status_code == error.status_code  # type: ignore[attr-defined]
    assert record.end_time == house.clock()
    assert len(house.source.reads) == 1  # one try


def test_s63_the_unexpected_is_unknown_to_the_client_and_placed_for_the_operator(house: House) -> None:
    house.fill(1)
    house.kick_off(unit_attempts=1)
    house.source.fail_next(ZeroDivisionError("Mrs. Smith, born 1950"))
    record = house.run()
    assert record.status is JobStatus.RETRIABLE
    assert record.failure is not None
    assert (record.failure.reason, record.failure.status_code) == ("Unknown error", 500)
    assert "ZeroDivisionError at" in record.failure.details
    assert "house.py" in record.failure.details
    assert "Smith" not in repr(record) + repr(house.log)  # an unforeseen message may quote a resource


def test_units_are_tried_again_inside_the_task(house: House) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, unit_attempts=3)
    house.source.fail_next(StoreBusy("busy"), ZeroDivisionError())
    record = house.run()
    assert record.status is JobStatus.COMPLETED
    assert record.failure_count == 0
    assert [line.partition(":")[0] for line in house.log] == ["partition 0 is tried again"] * 2


def test_unit_attempts_count_from_the_last_commit(house: House) -> None:
    house.fill(4)
    house.kick_off(page_resources=1, pages_per_commit=1, unit_attempts=2)
    failing = {0, 2, 4, 6}
    tries = iter(range(100))

    def every_other(_: int) -> None:
        if next(tries) in failing:
            raise StoreBusy("busy")

    house.source.before_read = every_other
    assert house.run().status is JobStatus.COMPLETED


@pytest.mark.parametrize("point", ["create", "write", "commit", "sync"])
def test_s16_a_destination_that_is_away_for_a_moment_costs_one_try_and_no_orphan(house: House, point: str) -> None:
    house.fill(2)
    house.kick_off()
    house.place().fail_next(point, DestinationUnavailable("disk full"))
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "01"
    assert house.names() == ["Patient-1.ndjson", "SHA256SUMS", "manifest.json"]


@pytest.mark.parametrize("operation", ["prepare", "publish", "put"])
def test_l19_trouble_outside_the_units_is_an_outcome_too(house: House, operation: str) -> None:
    house.fill(2)
    house.kick_off()
    house.place().fail_next(operation, DestinationUnavailable("disk full"))
    record = house.run()
    assert record.status is JobStatus.RETRIABLE
    assert record.failure is not None
    assert record.failure.reason == "disk full"
    house.clock.advance(1000)
    assert house.run().status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    "point",
    [
        "job-acquired",
        "destination-prepared",
        "snapshot-pinned",
        "snapshot-saved",
        "unit-started",
        "page-read",
        "page-written",
        "unit-finished",
        "commit-before",
        "commit-inside",
        "commit-after",
        "published",
        "sealed",
        "sums-written",
        "manifest-written",
        "completed",
    ],
)
def test_l19_whatever_is_raised_wherever_an_outcome_is_saved(house: House, point: str) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=1, unit_attempts=1)
    with fault(f"{point}:1:raise"):
        record = house.run()
    assert record.status is (JobStatus.COMPLETED if point == "completed" else JobStatus.RETRIABLE)
    assert house.log
    house.clock.advance(1000)
    if point != "completed":
        assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "012"


def test_s26_a_busy_ledger_is_asked_again_and_the_result_kept(house: House) -> None:
    house.fill(2)
    house.kick_off(page_resources=1, pages_per_commit=1)
    run = house.task()
    house.source.before_read = lambda reads: house.jobs.busy.extend([StoreBusy("locked")] * 2) if reads == 1 else None  # type: ignore[func-returns-value]
    run.run()
    assert house.jobs.get("job0").status is JobStatus.COMPLETED
    assert len(house.source.reads) == 2  # nothing was read twice
    assert [line.partition(":")[0] for line in house.log] == ["a commit is tried again"] * 2


def test_l19_a_ledger_that_is_busy_for_a_moment_still_gets_the_outcome(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(task.steps, "backoff", lambda failures, _: waits.append(failures) or 0.001)
    house.fill(1)
    house.kick_off(unit_attempts=1)
    house.source.before_read = lambda _: house.jobs.busy.extend([StoreBusy("locked")] * 3)
    house.source.fail_next(SnapshotGone("pruned"))
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert waits == [1, 2, 3]


def test_l19_a_conflict_while_the_outcome_is_saved_is_one_more_line(house: House) -> None:
    house.fill(1)
    house.kick_off(unit_attempts=1)

    def cancel_and_fail(_: int) -> None:
        house.jobs.cancel("job0")
        raise StoreBusy("locked")

    house.source.before_read = cancel_and_fail
    assert house.run().status is JobStatus.CANCELED
    assert len(house.log) == 1


def test_a_job_that_is_deleted_and_cleaned_away_ends_its_task_quietly(house: House) -> None:
    house.fill(2)
    house.kick_off(unit_attempts=1)
    run = house.task()

    def vanish(_: int) -> None:
        house.jobs.delete("job0")
        (tombstone,) = house.jobs.acquire_cleanup(1, lease=9)
        house.jobs.cleaned(tombstone.id, again_at=None)
        raise StoreBusy("locked")

    house.source.before_read = vanish
    run.run()
    assert len(house.log) == 1
    assert house.names() == []


def test_l17_every_kick_off_is_a_new_job_with_data_of_its_own(house: House) -> None:
    house.fill(1)
    house.kick_off(to="memory://1")
    house.run()
    house.clock.advance(1)
    house.source.put(b'{"resourceType":"Patient","id":"new"}')
    house.kick_off(to="memory://2")
    house.run()
    assert house.ids("job1", "memory://2") == "0new"
    assert house.jobs.get("job0").hash == house.jobs.get("job1").hash  # S81: shown, never used to share


def test_failed_keeps_its_commits_and_an_operator_s_retry_finishes_at_the_same_t(house: House) -> None:
    house.fill(5)
    house.kick_off(page_resources=1, pages_per_commit=1)
    with raising_at(house, 3, SnapshotGone("gone")):
        assert house.run().status is JobStatus.FAILED
    moment, kept = house.t_of(), house.jobs.files("job0")
    assert [file.name for file in kept] == ["Patient-1.ndjson", "Patient-2.ndjson", "Patient-3.ndjson"]
    house.clock.advance(3600)
    house.source.put(b'{"resourceType":"Patient","id":"late"}')
    house.jobs.resume("job0")
    record = house.run()
    assert record.status is JobStatus.COMPLETED
    assert (house.ids(), record.transaction_time, record.failure) == ("01234", moment, None)
    assert house.jobs.files("job0")[:3] == kept


def test_folder_in_use_fails_the_job_and_touches_nothing(house: House) -> None:
    house.fill(1)
    house.kick_off()
    house.run()
    before = {name: b"".join(house.place().read(name)) for name in house.names()}
    house.kick_off()
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert record.failure is not None
    assert record.failure.status_code == 409
    assert {name: b"".join(house.place().read(name)) for name in house.names()} == before


def test_s82_a_task_whose_record_is_old_writes_nothing(house: House) -> None:
    house.fill(1)
    house.kick_off()
    old = house.task()
    house.clock.advance(61)
    new = house.task(holder="next")
    old.run()
    assert house.jobs.saved == []
    assert house.jobs.get("job0").holder == "next"
    new.run()
    assert house.jobs.get("job0").status is JobStatus.COMPLETED


def test_a_conflict_of_the_ledger_is_no_failure_of_the_job(house: House) -> None:
    house.fill(1)
    record = house.kick_off()
    run = house.task()
    house.jobs.busy.append(JobConflict("changed"))
    run.run()
    assert msgspec.structs.replace(house.jobs.get("job0"), heartbeat=None).failure_count == record.failure_count


@pytest.mark.parametrize("ending", ["canceled", "deleted", "given to another"])
def test_promise_2_who_wakes_up_after_the_last_clean_up_leaves_no_pin(
    house: House, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    house.fill(2)
    house.kick_off()
    snapshot = house.source.snapshot

    def late(job_id: str) -> int:
        if ending == "given to another":
            house.clock.advance(1000)
            assert house.jobs.acquire("other", 1)
        else:
            house.jobs.cancel(job_id) if ending == "canceled" else house.jobs.delete(job_id)
        return snapshot(job_id)

    monkeypatch.setattr(house.source, "snapshot", late)
    house.task().run()
    assert set(house.source._pins) == ({"job0"} if ending == "given to another" else set())
