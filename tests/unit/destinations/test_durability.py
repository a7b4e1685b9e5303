"""The folder's promise 5 (issue: durability): fsync before anybody may list a file, and no damaged file passes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirferry.destinations import part_writer
from fhirferry.destinations.folder import FolderDestination
from fhirferry.faultpoints import POINTS
from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, PermanentError
from tests.unit.destinations.places import JOB, write


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    """What reaches the disk, in order: `fsync <path>`, `rename <name>`, `mkdir <name>`."""
    events: list[str] = []
    fsync, rename, mkdir = os.fsync, os.rename, os.mkdir

    def note(path: str) -> str:
        return os.path.relpath(path, root)

    def noted_fsync(fd: int) -> None:
        fsync(fd)
        events.append("fsync " + note(os.readlink(f"/proc/self/fd/{fd}")))

    def noted_rename(old: str, new: str, **more: int) -> None:
        rename(old, new, **more)
        events.append("rename " + new)

    def noted_mkdir(name: str, *args: int, **more: int) -> None:
        mkdir(name, *args, **more)
        events.append("mkdir " + (note(name) if os.path.isabs(name) else name))

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    monkeypatch.setattr(os, "mkdir", noted_mkdir)
    return events


def test_a_file_and_its_folder_are_synced_before_it_is_published(folder: FolderDestination, journal: list[str]) -> None:
    part = write(folder)
    folder.sync()  # what the unit of work does before it returns
    folder.publish(part, "deleted/Bundle-1.ndjson")
    folder.sync()
    assert journal == [
        f"fsync .fhirferry/{JOB}/a.part",
        f"fsync .fhirferry/{JOB}",
        "mkdir deleted",
        "fsync .",
        "rename Bundle-1.ndjson",
        "fsync .",
        "fsync deleted",
    ]


def test_a_resumed_task_syncs_what_its_dead_forerunner_renamed(folder: FolderDestination, journal: list[str]) -> None:
    part = write(folder)
    folder.publish(part, "Patient-1.ndjson")
    journal.clear()
    resumed = FolderDestination(folder.path)
    resumed.publish(part, "Patient-1.ndjson")
    resumed.sync()
    assert journal == ["fsync ."]
    resumed.sync()
    assert journal == ["fsync ."]


def test_a_failed_sync_is_owed_still(
    folder: FolderDestination, journal: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = write(folder)
    folder.sync()
    folder.publish(part, "Patient-1.ndjson")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing(errno.EIO))
        with pytest.raises(DestinationUnavailable):
            folder.sync()
    journal.clear()
    folder.sync()
    assert journal == ["fsync ."]


def test_put_is_durable_when_it_returns(folder: FolderDestination, journal: list[str]) -> None:
    folder.put(JOB, "a/manifest.json", b"{}")
    temporary = journal[2]
    assert temporary.startswith("fsync .fhirferry/")
    assert journal == ["mkdir a", "fsync .", temporary, "rename manifest.json", "fsync a", "fsync ."]


def test_prepare_makes_every_folder_and_its_mark_durable(root: Path, journal: list[str]) -> None:
    FolderDestination(root / "x" / "y").prepare(JOB)
    for made, above in (("mkdir .", "fsync .."), ("mkdir x", "fsync ."), ("mkdir x/y", "fsync x")):
        assert above in journal[journal.index(made) :]
    assert "fsync x/y/.fhirferry" in journal
    assert "fsync x/y" in journal
    assert (root / "x/y/.fhirferry/job").read_text().strip() == JOB


def test_prepare_syncs_again_what_a_dead_prepare_only_made(root: Path, journal: list[str]) -> None:
    root.mkdir()
    journal.clear()
    FolderDestination(root).prepare(JOB)
    assert "fsync .." in journal
    journal.clear()
    FolderDestination(root).prepare(JOB)
    assert {"fsync ..", "fsync .", "fsync .fhirferry"} <= set(journal)


def test_short_writes_lose_nothing(folder: FolderDestination, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, bytes(data[:7])))
    data = bytes(range(256)) * 4
    assert b"".join(folder.read(write(folder, data=data))) == data


def test_bytes_that_did_not_arrive_are_noticed_at_commit(
    folder: FolderDestination, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write

    def lying(fd: int, data: memoryview) -> int:
        whole(fd, bytes(data[:-1]))
        return len(data)

    monkeypatch.setattr(os, "write", lying)
    with pytest.raises(DestinationUnavailable, match="3 were written"):
        write(folder)
    assert list((root / ".fhirferry" / JOB).iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "close"])
def test_a_disk_that_fails_at_the_end_leaves_no_file(
    folder: FolderDestination, root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    writer = folder.create(folder.part_name(JOB, "a"))
    writer.write(b"{}\n")
    honest = getattr(os, call)
    failed = []

    def once(fd: int) -> None:
        honest(fd)
        if not failed:
            failed.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, once)
        with pytest.raises(DestinationUnavailable):
            writer.commit()
    assert list((root / ".fhirferry" / JOB).iterdir()) == []


def test_an_error_of_the_early_flush_is_not_lost(
    folder: FolderDestination, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports a failed write-back once: the final fsync would say that all is well."""
    flushed = threading.Event()

    def failing_flush(fd: int) -> None:
        flushed.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(part_writer, "FLUSH_EVERY", 1000)
    monkeypatch.setattr(os, "fdatasync", failing_flush)
    writer = folder.create(folder.part_name(JOB, "a"))
    writer.write(b"x" * 1000)
    assert flushed.wait(5)
    with pytest.raises(DestinationUnavailable):
        writer.commit()
    assert list((root / ".fhirferry" / JOB).iterdir()) == []


def test_a_finished_writer_cannot_touch_the_file_that_has_its_descriptor_now(folder: FolderDestination) -> None:
    old = folder.create(folder.part_name(JOB, "old"))
    old.abort()
    new = folder.create(folder.part_name(JOB, "new"))
    for call in (old.commit, lambda: old.write(b"stray"), old.abort):
        with contextlib.suppress(PermanentError):
            call()
    new.write(b"{}\n")
    new.commit()
    assert b"".join(folder.read(folder.part_name(JOB, "new"))) == b"{}\n"


def test_an_early_flush_changes_nothing_in_the_file(folder: FolderDestination, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_writer, "FLUSH_EVERY", 1000)
    writer = folder.create(folder.part_name(JOB, "a"))
    for number in range(100):
        writer.write(b"%03d\n" % number * 100)
    writer.commit()
    expected = b"".join(b"%03d\n" % number * 100 for number in range(100))
    assert b"".join(folder.read(folder.part_name(JOB, "a"))) == expected
    dropped = folder.create(folder.part_name(JOB, "b"))
    dropped.write(b"x" * 5000)
    dropped.abort()
    assert not any(thread.name == "flusher" for thread in threading.enumerate())


def test_a_folder_without_the_notion_of_fsync_is_served(
    folder: FolderDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.fsync

    def files_only(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        honest(fd)

    monkeypatch.setattr(os, "fsync", files_only)
    folder.publish(write(folder), "Patient-1.ndjson")
    folder.sync()


def test_half_a_rename_of_a_file_system_without_journal_is_finished(folder: FolderDestination, root: Path) -> None:
    part = write(folder)
    os.link(root / part, root / "Patient-1.ndjson")
    folder.publish(part, "Patient-1.ndjson")
    assert [stored.name for stored in folder.list()] == ["Patient-1.ndjson"]
    assert [stored.name for stored in folder.list(".fhirferry/" + JOB)] == []


CHILD = """
import sys
from fhirferry import faultpoints
from fhirferry.destinations.folder import FolderDestination
folder = FolderDestination(sys.argv[1])
def stop(point):
    if point == sys.argv[2]:
        print("here", flush=True)
        sys.stdin.read()
faultpoints.armed = stop
writer = folder.create(folder.part_name("0b6c5e1a", "a"))
writer.write(b"{}\\n" * 1000)
stop("writing")
writer.commit()
"""


@pytest.mark.parametrize("point", ["writing", *(point for point in POINTS if point.startswith("file-"))])
def test_a_writer_killed_in_the_middle_leaves_nothing_visible(
    folder: FolderDestination, root: Path, start: Callable[..., subprocess.Popen[bytes]], point: str
) -> None:
    child = start([sys.executable, "-c", CHILD, str(root), point], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"here\n"
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    assert [stored.name for stored in folder.list()] == []
    assert list(folder.sweep(JOB, frozenset())) == [f".fhirferry/{JOB}/a.part"]
    folder.forget(JOB)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("call", ["put", "prepare"])
def test_a_small_file_killed_in_the_middle_is_swept(root: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """L15: what nobody lists is removed, also the half of a manifest or of a mark."""
    folder = FolderDestination(root)
    if call == "put":
        folder.prepare(JOB)
    honest = os.fsync
    with monkeypatch.context() as killed:
        killed.setattr(
            os, "fsync", lambda fd: (honest if os.path.isdir(f"/proc/self/fd/{fd}") else failing(errno.EIO))(fd)
        )
        killed.setattr(os, "unlink", failing(errno.EIO))  # a killed process tidies nothing
        with pytest.raises(DestinationUnavailable):
            folder.put(JOB, "manifest.json", b"{}") if call == "put" else folder.prepare(JOB)
    (orphan,) = [stored.name for stored in folder.list(".fhirferry/") if stored.name != ".fhirferry/job"]
    assert list(folder.sweep("77aa0042", frozenset())) == []
    assert (root / orphan).exists()
    assert list(folder.sweep(JOB, frozenset())) == [orphan]
    folder.forget(JOB)
    assert list(root.iterdir()) == []


LIMITED = """
import resource, signal, sys
from fhirferry.destinations.folder import FolderDestination
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = FolderDestination(sys.argv[1])
writer = folder.create(folder.part_name("0b6c5e1a", "a"))
try:
    for _ in range(100):
        writer.write(b"x" * 3000)
except Exception as error:
    print(type(error).__name__, error)
writer.abort()
"""


def test_a_file_the_file_system_cannot_hold_is_final_and_says_what_helps(folder: FolderDestination, root: Path) -> None:
    said = subprocess.run([sys.executable, "-c", LIMITED, str(root)], capture_output=True, check=True, text=True).stdout
    assert said.startswith(DestinationConnectionError.__name__)
    assert "--max-file-size" in said
    assert list((root / ".fhirferry" / JOB).iterdir()) == []


def failing(code: int) -> Callable[..., None]:
    def fail(*args: object, **more: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail
