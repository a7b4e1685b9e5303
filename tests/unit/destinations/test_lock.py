"""The mark is the lock of the place (L15, S60): who takes a folder from its job, and who waits, refuses or is not held up."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirferry.destinations import mark
from fhirferry.destinations.folder import FolderDestination
from fhirferry.destinations.mark import hold
from fhirferry.model.errors import DestinationUnavailable, FolderInUse, PermanentError
from tests.unit.destinations.places import JOB, tree, write

OTHER = "77aa0042"
NAMES = ["manifest.json", "Patient-1.ndjson"]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a lock."""
    monkeypatch.setattr(mark, "PATIENCE", 0.0)


CLEANER = """
import sys
from fhirferry.destinations.folder import FolderDestination
from fhirferry.testing.faults import fault
with fault("cleanup-holding:1:stop"):
    FolderDestination(sys.argv[1]).forget(sys.argv[2], sys.argv[3:])
"""


def stopped_cleaner(start: Start, root: Path, job: str = JOB) -> subprocess.Popen[bytes]:
    """A process that was stopped when it had seen that the folder is the job's, and had deleted nothing."""
    child = start([sys.executable, "-c", CLEANER, str(root), job, *NAMES])
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    return child


def exported(folder: FolderDestination, job: str = JOB) -> None:
    folder.prepare(job)
    part = folder.part_name(job, "a")
    writer = folder.create(part)
    writer.write(job.encode())
    writer.commit()
    folder.publish(part, "Patient-1.ndjson")
    folder.put(job, "manifest.json", job.encode())


def test_l15_s60_a_cleaner_that_slept_past_its_lease_takes_nothing_of_the_next_export(
    folder: FolderDestination, root: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(folder)
    sleeper = stopped_cleaner(start, root)
    before = tree(root)
    with monkeypatch.context() as hasty:
        hasty.setattr(mark, "PATIENCE", 0.0)
        next_cleaner = FolderDestination(root)
        next_cleaner.sweep(JOB, frozenset())
        with pytest.raises(DestinationUnavailable, match=f"locked by process {sleeper.pid}, .* of job {JOB}"):
            next_cleaner.forget(JOB, NAMES)
        with pytest.raises(DestinationUnavailable, match=f"process {sleeper.pid}"):
            FolderDestination(root).prepare(OTHER)
        with pytest.raises(FolderInUse):
            FolderDestination(root).check(OTHER)
    assert tree(root).keys() == before.keys() - {f".fhirferry/{JOB}"}

    follower = threading.Thread(target=exported, args=(FolderDestination(root), OTHER))
    follower.start()  # waits for the sleeper, and would not without the lock
    follower.join(0.2)
    assert follower.is_alive()
    sleeper.send_signal(signal.SIGCONT)
    assert sleeper.wait(10) == 0
    follower.join(10)
    assert {name: (root / name).read_text() for name in NAMES} == dict.fromkeys(NAMES, OTHER)
    next_cleaner.forget(JOB, NAMES)
    assert {name: (root / name).read_text() for name in NAMES} == dict.fromkeys(NAMES, OTHER)
    assert sorted(os.listdir(root / ".fhirferry")) == [OTHER, "job"]


def test_the_lock_of_a_cleaner_that_died_is_free_at_once_and_nothing_is_left_of_it(
    folder: FolderDestination, root: Path, start: Start, impatient: None
) -> None:
    exported(folder)
    sleeper = stopped_cleaner(start, root)
    sleeper.kill()
    sleeper.wait(10)
    folder.sweep(JOB, frozenset())
    folder.forget(JOB, NAMES)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("shared", [False, True])
def test_two_threads_of_one_process_exclude_each_other_as_two_processes_do(
    folder: FolderDestination, impatient: None, shared: bool
) -> None:
    with hold(folder.path, JOB) as ours:
        assert ours
        with pytest.raises(DestinationUnavailable), hold(folder.path, JOB, shared=shared):
            pass
    with hold(folder.path, JOB, shared=shared) as ours:
        assert ours


def test_who_only_wants_the_place_to_stay_its_own_does_not_hold_up_another_who_does(
    folder: FolderDestination, impatient: None
) -> None:
    """A worker that was stopped while it wrote the manifest does not stop its successor; it stops the clean-up."""
    with hold(folder.path, JOB, shared=True):
        exported(FolderDestination(folder.path))
        with pytest.raises(FolderInUse):
            FolderDestination(folder.path).prepare(OTHER)
        with pytest.raises(DestinationUnavailable):
            folder.forget(JOB)


@pytest.mark.parametrize("heir", [None, JOB, OTHER])
def test_who_waited_for_a_mark_that_was_removed_looks_again(
    folder: FolderDestination, heir: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """heir: who has the folder when the wait is over; the lock that was waited for is on a file without name."""
    honest = fcntl.flock
    seen: list[bool] = []

    def overtaken(file: int, how: int) -> None:
        if not seen:
            seen.append(True)
            mark.disclaim(folder.path)
            if heir:
                mark.claim(folder.path, heir)
        honest(file, how)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with hold(folder.path, JOB) as ours:
        assert ours is (heir == JOB)
        if ours:
            with (Path(folder.path) / ".fhirferry" / "job").open("r+") as same, pytest.raises(BlockingIOError):
                honest(same.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_is_not_handed_on_to_a_child(folder: FolderDestination, start: Start, impatient: None) -> None:
    with hold(folder.path, JOB):
        child = start([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False)
    with hold(folder.path, JOB) as ours:
        assert ours
    assert child.poll() is None


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_served(
    folder: FolderDestination, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(file: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    exported(folder)
    with pytest.raises(FolderInUse):
        folder.prepare(OTHER)
    folder.sweep(JOB, frozenset())
    folder.forget(JOB, NAMES)
    assert list(root.iterdir()) == []


def test_a_lock_that_fails_for_another_reason_is_told(
    folder: FolderDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(file: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", failing)
    with pytest.raises(DestinationUnavailable, match="Input/output"):
        folder.forget(JOB)
    assert (Path(folder.path) / ".fhirferry" / "job").exists()


def test_l15_a_finisher_that_slept_over_the_end_of_its_job_cannot_write_into_the_next_export(
    folder: FolderDestination, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that is not ours kept its part folder alive, so only the mark can tell."""
    (root / ".fhirferry" / JOB / "mine.txt").write_text("x")
    folder.sweep(JOB, frozenset())
    folder.forget(JOB)
    exported(FolderDestination(root), OTHER)
    with pytest.raises(PermanentError, match="removed meanwhile"):
        folder.put(JOB, "manifest.json", b"late")
    assert (root / "manifest.json").read_text() == OTHER


def test_a_claim_that_meets_the_end_of_a_clean_up_is_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other's clean-up removes the empty hidden folder, or its mark, while the next job is at its claim."""
    honest = os.link

    def gone(*args: str, **more: int) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def taken_and_freed(*args: str, **more: int) -> None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    for link in (gone, taken_and_freed):
        monkeypatch.setattr(os, "link", link)
        with pytest.raises(DestinationUnavailable, match="tried again"):
            FolderDestination(root).prepare(JOB)
    monkeypatch.setattr(os, "link", honest)
    FolderDestination(root).prepare(JOB)
    assert write(FolderDestination(root))
