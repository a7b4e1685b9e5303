"""kill -9 at every fault point, then the same command or a worker ("What must hold" no. 1): real processes."""

from __future__ import annotations

import os
import signal

import pytest

from fhirferry.faultpoints import POINTS
from fhirferry.model.job import JobStatus
from tests.acceptance.crashing import CLEANING, Export

IN_UNITS = POINTS[POINTS.index("unit-started") : POINTS.index("unit-finished") + 1]
IN_REMOVAL = ("cleanup-holding",)
"""Points that no export passes: `test_crash_workers` kills a deletion at every point of a clean-up."""
OF_PATIENTS = ("cohort-recorded", "cohort-selected", "round-named")
"""Points of exports that name patients or follow references: in `test_crash_selected`."""
IN_EXPORT = [point for point in POINTS if point not in (*IN_REMOVAL, *OF_PATIENTS)]
AFTER_END = IN_EXPORT[IN_EXPORT.index("completed") :]
NTH = dict.fromkeys(POINTS, 1) | dict.fromkeys(IN_UNITS, 3) | {"page-read": 8, "page-written": 8}
NTH |= {"commit-before": 3, "commit-inside": 5, "commit-after": 3, "published": 3}
WITH_POOL = ("commit-before", "commit-inside", "commit-after", "published", "sealed", "manifest-written", "completed")
"""Points of the parent while its pool runs: before and after, it is as if it were inline."""
PROCESSES = ("--executor", "processes:2")


def test_every_point_has_a_place_in_these_tests() -> None:
    assert set(NTH) == set(POINTS) == {*IN_EXPORT, *CLEANING, *OF_PATIENTS}
    assert {*IN_UNITS, *WITH_POOL} <= set(IN_EXPORT)
    assert set(IN_REMOVAL) <= set(CLEANING)


def killed(export: Export, point: str, *more: str, where: str = "any", nth: int | None = None) -> None:
    result = export.run(export.command(*more), fault=f"{point}:{nth or NTH[point]}:kill:{where}")
    assert result.returncode == -signal.SIGKILL, result.stderr


def go_on(export: Export, *more: str) -> None:
    """The same command again: finds its job, says so, completes."""
    before = export.seen()
    again = export.run(export.command(*more))
    assert again.returncode == 0, again.stderr
    assert f"Resuming export job {before.record.id}" in again.stderr
    assert "(resumed)" in again.stdout
    export.assert_complete(before)
    assert export.record().failure_count == 0, "the person's own command is no failure"


def go_on_after_end(export: Export, *more: str) -> None:
    """The export was complete; the same command says whose it is, and a worker does the clean-up."""
    before = export.seen()
    assert before.record.status is JobStatus.COMPLETED
    assert export.verify() == 0
    again = export.run(export.command(*more))
    assert (again.returncode, before.record.id in again.stderr) == (2, True), again.stderr
    export.clean_up_later(200)
    export.assert_complete(before)


@pytest.mark.parametrize("point", IN_EXPORT)
def test_inline_killed_and_the_same_command_again(export: Export, point: str) -> None:
    killed(export, point)
    (go_on_after_end if point in AFTER_END else go_on)(export)


@pytest.mark.parametrize("point", WITH_POOL)
def test_parent_of_a_pool_killed_and_the_same_command_again(export: Export, point: str) -> None:
    killed(export, point, *PROCESSES)
    (go_on_after_end if point in AFTER_END else go_on)(export, *PROCESSES)


@pytest.mark.parametrize("point", IN_UNITS)
def test_parent_killed_while_a_child_is_in_a_unit(export: Export, point: str) -> None:
    """The orphan is at this very point while the same command goes on at once."""
    child = export.start(export.command(*PROCESSES), fault=f"{point}:2:sleep:child")
    export.wait_for_fault()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    go_on(export, *PROCESSES)


@pytest.mark.parametrize("point", IN_UNITS)
def test_pool_process_killed_alone_and_the_command_goes_on_by_itself(export: Export, point: str) -> None:
    result = export.run(export.command(*PROCESSES), fault=f"{point}:2:kill:child")
    assert result.returncode == 0, result.stderr
    assert "A process that ran units of work died" in result.stderr
    export.assert_complete()
    assert export.record().epoch == 1


@pytest.mark.parametrize(
    "point", ["job-created", "snapshot-pinned", "file-synced", "commit-after", "sealed", "sums-written"]
)
def test_killed_and_a_worker_takes_over_at_once(export: Export, point: str) -> None:
    """A dead holder on the same host is known to be dead: nobody waits for its heartbeat (a minute)."""
    killed(export, point)
    before = export.seen()
    result = export.run(export.worker("--until-idle"))
    assert result.returncode == 0, result.stderr
    export.assert_complete(before)


def test_killed_in_its_clean_up_and_a_worker_does_it_again(export: Export) -> None:
    killed(export, "completed")
    before = export.seen()
    assert export.run(export.worker("--until-idle")).returncode == 0
    export.assert_complete(before)


def test_created_is_durable_and_detached_is_created(export: Export) -> None:
    """Whoever was told of a job finds it after any crash."""
    result = export.run(export.command("--detach"), fault="job-created:1:kill")
    assert result.returncode == -signal.SIGKILL
    record = export.record()
    assert (record.status, record.epoch, export.out.exists()) == (JobStatus.QUEUED, 0, False)
    assert export.run(export.worker("--until-idle")).returncode == 0
    export.assert_complete()
    assert export.record().id == record.id
