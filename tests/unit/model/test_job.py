"""The status table is the whole truth: every (status, step) pair is legal, or raises and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from fhirferry.model import steps
from fhirferry.model.errors import IllegalStep, RequestError
from fhirferry.model.instant import SECOND
from fhirferry.model.job import TERMINAL, ExportJobRecord, Failure, JobSettings, JobStatus
from fhirferry.model.request import ExportRequest
from fhirferry.model.steps import STEPS

NOW = 1_800_000_000 * SECOND
TROUBLE = Failure(reason="The disk is full.", status_code=503)

Q, R, T, C, F, X = (
    JobStatus.QUEUED,
    JobStatus.RUNNING,
    JobStatus.RETRIABLE,
    JobStatus.COMPLETED,
    JobStatus.FAILED,
    JobStatus.CANCELED,
)

Step = Callable[[ExportJobRecord], ExportJobRecord]
VERBS: dict[str, tuple[Step, dict[JobStatus, JobStatus]]] = {
    "acquire": (lambda r: steps.acquire(r, "me", NOW), {Q: R, T: R, R: R}),
    "acquire by operator": (lambda r: steps.acquire(r, "me", NOW, by_operator=True), {Q: R, T: R, R: R}),
    "complete": (lambda r: steps.complete(r, NOW), {R: C}),
    "fail": (lambda r: steps.fail(r, TROUBLE, NOW), {R: F}),
    "retry later": (lambda r: steps.retry_later(r, TROUBLE, NOW, jitter=0.5), {R: T}),
    "give back": (steps.give_back, {R: Q}),
    "cancel": (lambda r: steps.cancel(r, NOW), {Q: X, R: X, T: X}),
    "resume": (steps.resume, {F: Q, T: Q}),
    "delete": (lambda r: steps.delete(r, NOW, keep_files=False), {Q: X, R: X, T: X, C: C, F: F, X: X}),
}


def record(status: JobStatus = Q, **changes: object) -> ExportJobRecord:
    plain = ExportJobRecord(
        id="a",
        request=ExportRequest(),
        requestor="somebody",
        hash="h",
        source_uri="s",
        destination_uri="d",
        settings=JobSettings(failure_threshold=3, heartbeat_timeout=10.0),
        queued_time=NOW - SECOND,
        status=status,
        holder="other" if status is R else None,
        progressed=True,
        sealed=True,
        resources=7,
        epoch=4,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize(("status", "verb"), [(status, verb) for status in JobStatus for verb in VERBS])
def test_every_step_from_every_status_is_legal_or_raises_and_changes_nothing(status: JobStatus, verb: str) -> None:
    step, edges = VERBS[verb]
    before = record(status)
    kept = msgspec.json.encode(before)
    if status in edges:
        after = step(before)
        assert after.status is edges[status]
        assert verb == "delete" or after.status in STEPS[verb.removesuffix(" by operator")][status]
        assert (after.resources, after.id, after.request) == (before.resources, before.id, before.request)
        assert (after.holder is not None) == (after.status is R)
    else:
        with pytest.raises(IllegalStep, match=f"job a is {status}"):
            step(before)
    assert msgspec.json.encode(before) == kept


def test_terminal_jobs_are_left_only_by_an_operators_retry_of_a_failed_one() -> None:
    assert set(TERMINAL) == {C, F, X} == {status for status in JobStatus if record(status).finished}
    assert {(verb, s) for verb, edges in STEPS.items() for s in edges if s in TERMINAL} == {("resume", F)}


def test_s12_acquire_sets_holder_epoch_heartbeat_and_the_first_start_only_once() -> None:
    first = steps.acquire(record(), "me", NOW)
    assert (first.holder, first.epoch, first.heartbeat, first.start_time) == ("me", 5, NOW, NOW)
    assert (first.progressed, first.consecutive_failures) == (False, 0)
    again = steps.acquire(replace(first, status=T, retry_after=NOW), "me too", NOW + 9)
    assert (again.start_time, again.epoch, again.retry_after) == (NOW, 6, None)


def test_l12_a_take_over_without_a_commit_counts_and_ends_at_the_threshold() -> None:
    after = steps.acquire(record(), "me", NOW)
    for failures in (1, 2):
        after = steps.acquire(after, "next", NOW)
        assert (after.status, after.consecutive_failures, after.failure_count) == (R, failures, failures)
    after = steps.acquire(after, "next", NOW + 5)
    assert (after.status, after.failure_count, after.holder) == (F, 3, None)
    assert (after.end_time, after.cleanup_due, after.epoch) == (NOW + 5, NOW + 5, 7)
    assert after.failure is not None


def test_l12_a_take_over_after_a_commit_counts_nothing() -> None:
    after = steps.acquire(record(R, progressed=True, consecutive_failures=0), "next", NOW)
    assert (after.status, after.failure_count, after.progressed) == (R, 0, False)


def test_a_person_who_asks_starts_the_count_again_and_never_gets_a_failed_job() -> None:
    after = steps.acquire(record(R, progressed=False, consecutive_failures=2), "me", NOW, by_operator=True)
    assert (after.status, after.consecutive_failures) == (R, 0)


def test_s10_s11_s13_failures_wait_longer_each_and_end_at_the_threshold() -> None:
    before = record(R, failure_count=4)
    first = steps.retry_later(before, TROUBLE, NOW, jitter=0.5)
    assert (first.retry_after, first.consecutive_failures, first.failure_count) == (NOW + SECOND, 1, 5)
    second = steps.retry_later(steps.acquire(first, "me", NOW), TROUBLE, NOW, jitter=0.5)
    assert second.retry_after == NOW + 2 * SECOND
    third = steps.retry_later(steps.acquire(second, "me", NOW), TROUBLE, NOW, jitter=0.5)
    assert (third.status, third.failure, third.cleanup_due, third.retry_after) == (F, TROUBLE, NOW, None)


@pytest.mark.parametrize(("asked", "waits"), [(None, 1), (0.2, 1), (60.0, 60)])
def test_s13_a_server_that_asks_for_a_longer_wait_gets_it(asked: float | None, waits: int) -> None:
    after = steps.retry_later(record(R), TROUBLE, NOW, jitter=0.5, retry_after=asked)
    assert after.retry_after == NOW + waits * SECOND


@given(st.integers(0, 100_000), st.floats(0, 1, exclude_max=True))
def test_s13_backoff_doubles_up_to_five_minutes_with_jitter(failures: int, jitter: float) -> None:
    plain = min(300.0, 2.0 ** (max(1, failures) - 1)) if failures < 20 else 300.0
    assert 0.5 * plain <= steps.backoff(failures, jitter) <= 1.5 * plain
    assert steps.backoff(failures, 0.5) == plain


def test_s56_only_a_sealed_job_completes() -> None:
    with pytest.raises(IllegalStep, match="not sealed"):
        steps.complete(record(R, sealed=False), NOW)
    after = steps.complete(record(R, failure=TROUBLE), NOW)
    assert (after.progress, after.end_time, after.failure, after.cleanup_due) == (100, NOW, None, NOW)


def test_s4_fail_keeps_commits_and_reason_and_a_retry_starts_the_count_again() -> None:
    failed = steps.fail(record(R, consecutive_failures=1), TROUBLE, NOW)
    assert (failed.failure, failed.consecutive_failures, failed.end_time) == (TROUBLE, 2, NOW)
    retried = steps.resume(failed)
    assert (retried.consecutive_failures, retried.failure_count, retried.failure) == (0, 1, TROUBLE)
    assert (retried.end_time, retried.cleanup_due, retried.resources) == (None, None, 7)


def test_giving_back_counts_no_failure() -> None:
    after = steps.give_back(record(R))
    assert (after.failure_count, after.consecutive_failures, after.failure) == (0, 0, None)


@pytest.mark.parametrize("keep", [True, False])
def test_delete_leaves_a_tombstone_that_is_due_and_cancels_only_what_is_unfinished(keep: bool) -> None:
    done = steps.delete(record(C, end_time=NOW - 9), NOW, keep_files=keep)
    assert (done.deleted, done.keep_files, done.cleanup_due, done.end_time) == (True, keep, NOW, NOW - 9)
    assert steps.delete(record(R), NOW, keep_files=keep).canceled_time == NOW


@pytest.mark.parametrize(
    ("age", "is_stale"), [(0, False), (10 * SECOND, False), (10 * SECOND + 1, True), (-1, True), (None, True)]
)
def test_a_heartbeat_is_stale_when_too_old_missing_or_from_the_future(age: int | None, is_stale: bool) -> None:
    assert steps.stale(record(R, heartbeat=None if age is None else NOW - age), NOW) is is_stale


@pytest.mark.parametrize("name", [n for n, v in asdict(JobSettings()).items() if not isinstance(v, bool | str)])
@pytest.mark.parametrize("value", [0, -1])
def test_settings_that_cannot_work_are_refused(name: str, value: int) -> None:
    if (name, value) != ("min_file_size", 0):
        with pytest.raises(RequestError, match=name):
            JobSettings(**{name: value})


@pytest.mark.parametrize("least", [1000, 1001])
def test_b54_a_least_size_that_is_not_below_the_largest_is_refused(least: int) -> None:
    JobSettings(min_file_size=999, max_file_size=1000)
    with pytest.raises(RequestError, match="less than max_file_size, 1000, not"):
        JobSettings(min_file_size=least, max_file_size=1000)


@pytest.mark.parametrize("layout", ["", "<resourcename>", "data/<resourcename>/v1.2_a-b", "all-<resourcename>"])
def test_s65_a_layout_of_plain_folders_is_taken(layout: str) -> None:
    assert JobSettings(layout=layout).layout == layout


@pytest.mark.parametrize(
    "layout",
    ["/", "/a", "a/", "a//b", ".", "..", "a/../b", "a b", "a\\b", "é", "a\n", "<timestamp>", "<id>/a", "<resourceName>", "<",
     ".fhirferry", "a/.FhirFerry", "Deleted", "error", "history/a", "manifest.json", "sha256sums", "x" * 201,
     "x" * 150 + "<resourcename><resourcename>"],
)  # fmt: skip
def test_s65_a_layout_that_leads_out_or_into_what_is_anothers_is_refused(layout: str) -> None:
    with pytest.raises(RequestError, match=r"is not a layout|settled at its kick-off"):
        JobSettings(layout=layout)


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(RequestError, match="zip"):
        JobSettings(compression="zip")


def test_s24_s73_a_record_survives_json() -> None:
    full = replace(
        record(F, failure=TROUBLE, cleanup_due=NOW),
        request=ExportRequest(types=("Patient", "Device"), since=1, until=2),
    )
    assert msgspec.json.decode(msgspec.json.encode(full), type=ExportJobRecord) == full
