"""No child process outlives its parent by more than 2 s, the resource tracker of multiprocessing included."""

from __future__ import annotations

import os
import signal

import pytest

from tests.acceptance.crashing import Export, processes, wait_until

PROCESSES = ("--executor", "processes:2")


def assert_all_gone(export: Export) -> None:
    wait_until(lambda: not processes(export.marker), f"outlived their parent: {processes(export.marker)}", timeout=2)


@pytest.mark.parametrize("point", ["page-read", "file-before-sync"])
def test_busy_children_end_with_their_killed_parent(export: Export, point: str) -> None:
    parent = export.start(export.command(*PROCESSES), fault=f"{point}:1:sleep:child")
    export.wait_for_fault()
    assert len(processes(export.marker)) >= 3, "a parent, a child, a resource tracker"
    parent.kill()
    parent.wait()
    assert_all_gone(export)


def test_idle_children_end_with_their_killed_parent(export: Export) -> None:
    parent = export.start(export.command(*PROCESSES), fault="commit-before:2:sleep:parent")
    export.wait_for_fault()
    parent.kill()
    parent.wait()
    assert_all_gone(export)


@pytest.mark.parametrize("number", range(1, 4))
def test_children_that_are_just_starting_end_with_their_killed_parent(export: Export, number: int) -> None:
    parent = export.start(export.command(*PROCESSES))
    wait_until(lambda: len(processes(export.marker)) > number, "no child was started")
    parent.kill()
    parent.wait()
    assert_all_gone(export)


@pytest.mark.parametrize("more", [(), ("--limit-rate", "600kB")], ids=["working", "throttled"])
def test_second_ctrl_c_ends_all_at_once(export: Export, more: tuple[str, ...]) -> None:
    """Ctrl-C of a terminal reaches the whole group; the pool's processes leave it to their parent."""
    parent = export.start(export.command(*PROCESSES, *more), fault="page-written:1:sleep:child")
    export.wait_for_fault()
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.stderr is not None
    wait_until(lambda: "Stopping" in parent.stderr.readline(), "the first was not heard")
    os.killpg(parent.pid, signal.SIGINT)
    assert wait_until(lambda: parent.poll() is not None, "it went on", timeout=1) < 1
    assert parent.returncode == 130
    assert_all_gone(export)
    before = export.seen()
    again = export.run(export.command(*PROCESSES, *more) if not more else export.worker("--until-idle"))
    assert again.returncode == 0
    export.assert_complete(before)


@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGINT, "starting"), (signal.SIGINT, "working"), (signal.SIGTERM, "working")]
)
def test_first_signal_to_all_stops_at_a_commit_point_without_noise(
    export: Export,
    number: signal.Signals,
    moment: str,
) -> None:
    """A terminal sends Ctrl-C, systemd SIGTERM to all processes of the group."""
    fault = "page-written:2:sleep:child" if moment == "working" else "snapshot-saved:1:sleep"
    parent = export.start(export.command(*PROCESSES), fault=fault)
    export.wait_for_fault()
    if moment == "starting":
        wait_until(lambda: len(processes(export.marker)) > 2, "no child was started")
    os.killpg(parent.pid, number)
    out, err = parent.communicate(timeout=10)
    assert parent.returncode == 6, err
    assert "Traceback" not in err
    assert "died" not in err
    assert "To go on:" in out
    assert_all_gone(export)
    before = export.seen()
    assert before.record.failure_count == 0
    assert export.run(export.command(*PROCESSES)).returncode == 0
    export.assert_complete(before)
