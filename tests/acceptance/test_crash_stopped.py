"""A worker that is stopped past its heartbeat, replaced, and wakes up: it commits nothing and deletes nothing listed."""

from __future__ import annotations

import os
import signal

import pytest

from fhirferry.destinations import mark
from fhirferry.model.job import JobStatus
from tests.acceptance.crashing import CLEANING, Child, Export, processes, wait_until

SOON = ("--heartbeat-timeout", "500ms")
PROCESSES = ("--executor", "processes:2")


def replaced_and_woken(export: Export, sleeper: Child, expected: int) -> None:
    """Another process takes the job over and completes it; then the sleeper wakes up and ends."""
    before = export.seen()
    other = export.run(export.command(*SOON))
    assert other.returncode == 0, other.stderr
    export.assert_same_resources(before)
    after, contents = export.seen(), export.contents()
    os.killpg(sleeper.pid, signal.SIGCONT)
    _, err = sleeper.communicate(timeout=60)  # a busy machine, and PARTING
    assert sleeper.returncode == expected, err
    assert "Traceback" not in err
    assert "stopped: the job was canceled, or another worker has it" in err
    assert export.contents() == contents
    woken = export.seen()
    assert (woken.record, woken.files, woken.published) == after
    wait_until(lambda: not processes(export.marker), "it left a process behind", timeout=2)
    export.clean_up_later(200)  # once more, when everybody who was cut off must have ended
    export.assert_complete(before)


@pytest.mark.parametrize(
    "point",
    ["job-acquired:1", "snapshot-saved:1", "unit-started:3", "file-synced:3", "commit-before:3", "commit-after:3",
     "published:3", "sealed:1", "sums-written:1"],
)  # fmt: skip
def test_stopped_at_a_point_past_its_heartbeat(export: Export, point: str) -> None:
    sleeper = export.stopped(export.command(*SOON), f"{point}:stop")
    replaced_and_woken(export, sleeper, expected=0)  # it sees the other one's completed job to its end


@pytest.mark.parametrize("point", ["page-written:2", "file-synced:2"])
def test_stopped_with_its_pool(export: Export, point: str) -> None:
    sleeper = export.stopped(export.command(*SOON, *PROCESSES), f"{point}:stop:child")
    replaced_and_woken(export, sleeper, expected=0)


def test_stopped_worker_loses_its_job_to_another_worker_and_goes_on_with_its_life(export: Export) -> None:
    assert export.run(export.command("--detach", *SOON)).returncode == 0
    sleeper = export.stopped(export.worker(), "commit-before:3:stop")
    before = export.seen()
    other = export.start(export.worker())
    wait_until(lambda: export.record().cleanups == 1, "nobody took the job over")
    assert export.record().status is JobStatus.COMPLETED
    contents = export.contents()
    sleeper.send_signal(signal.SIGCONT)
    assert sleeper.stderr is not None
    for line in sleeper.stderr:
        if "another worker has it" in line:
            break
    assert export.contents() == contents
    for worker in (sleeper, other):
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
    codes = [worker.wait(10) for worker in (sleeper, other)]
    assert codes[1] == 0
    export.clean_up_later(200)
    export.assert_complete(before)


@pytest.mark.parametrize("point", CLEANING)
def test_l15_s60_a_cleaner_stopped_past_its_lease_takes_nothing_of_the_next_export(
    export: Export, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(mark, "PATIENCE", 0.1)  # of this process
    assert export.run(export.command()).returncode == 0
    first = export.record().id
    sleeper = export.stopped(["jobs", "delete", first, "--yes", "--ledger", str(export.ledger)], f"{point}:1:stop")
    export.clean_up_later(200)  # another worker, when the lease has run out
    follower = export.run(export.command())
    os.killpg(sleeper.pid, signal.SIGCONT)
    _, err = sleeper.communicate(timeout=30)
    assert "Traceback" not in err
    if point == "cleanup-holding":  # nobody else could clean up, so nobody could have the folder
        assert (follower.returncode, f"holds the export of job {first}" in follower.stderr) == (2, True)
        follower = export.run(export.command())
    assert follower.returncode == 0, follower.stderr
    export.assert_complete()
    export.clean_up_later(200)
    export.assert_complete()
