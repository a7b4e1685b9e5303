"""The folder's own rules: what it refuses and with which error (S16, S26, S33, S61), links, modes, marks, leftovers."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirferry.destinations.durable import sort_error
from fhirferry.destinations.folder import FolderDestination
from fhirferry.model.errors import (
    DestinationConnectionError,
    DestinationUnavailable,
    FolderInUse,
    PermanentError,
    RequestError,
)
from tests.unit.destinations.places import JOB, tree, write

OTHER = "77aa0042"


# Errors


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_s26_a_full_disk_passes_and_the_message_says_what_to_do(code: int) -> None:
    error = sort_error(OSError(code, os.strerror(code)), "/data/out")
    assert isinstance(error, DestinationUnavailable)
    assert "free some space" in error.message
    assert "/data/out" in error.message


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENOTCONN])
def test_s61_passing_trouble_is_tried_again(code: int) -> None:
    assert isinstance(sort_error(OSError(code, os.strerror(code)), "/data/out"), DestinationUnavailable)


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP, errno.ENOENT, errno.EFBIG]
)
def test_s16_s33_final_trouble_is_400_and_says_what_to_do(code: int) -> None:
    error = sort_error(OSError(code, os.strerror(code)), "/data/out")
    assert isinstance(error, DestinationConnectionError)
    assert error.status_code == 400
    assert "; " in error.message


def test_s16_an_error_nobody_foresaw_is_final() -> None:
    assert isinstance(sort_error(OSError(errno.EXDEV, "Cross-device link"), "x"), DestinationConnectionError)
    assert isinstance(sort_error(OSError("no number"), "x"), DestinationConnectionError)


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_s16_a_path_that_is_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    destination = FolderDestination(tmp_path / "file" / below)
    for call in (destination.check, lambda: destination.prepare(JOB)):
        with pytest.raises(DestinationConnectionError, match="give a folder"):
            call()
    assert (tmp_path / "file").read_text() == "mine"


def test_s16_a_folder_without_permission_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may do anything, so the operating system's refusal is played here."""
    root.mkdir()
    honest = os.open

    def refusing(path: str, flags: int, *args: int, **more: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return honest(path, flags, *args, **more)

    with monkeypatch.context() as refused:
        refused.setattr(os, "open", refusing)
        with pytest.raises(DestinationConnectionError, match="right to write"):
            FolderDestination(root).prepare(JOB)
    with monkeypatch.context() as refused:
        refused.setattr(os, "access", lambda *_: False)
        with pytest.raises(DestinationConnectionError, match="right to write"):
            FolderDestination(root).check()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`mounted(options)`: a small file system of its own, where this user may mount one."""
    places: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"mount-{len(places)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode != 0:
            pytest.skip("may not mount a file system here")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


def test_s26_a_disk_really_full_passes_and_works_again_with_room(mounted: Callable[[str], Path]) -> None:
    place = mounted("size=256k")
    destination = FolderDestination(place / "out")
    destination.prepare(JOB)
    ballast = place / "ballast"
    ballast.write_bytes(b"x" * 100_000)
    writer = destination.create(destination.part_name(JOB, "a"))
    with pytest.raises(DestinationUnavailable, match="free some space"):
        writer.write(b"x" * 300_000)
    writer.abort()
    with pytest.raises(DestinationUnavailable, match="free some space"):
        destination.put(JOB, "manifest.json", b"x" * 300_000)
    assert [stored.name for stored in destination.list()] == []
    assert [stored.name for stored in destination.list(".fhirferry/")] == [".fhirferry/job"]
    room = destination.free_bytes()
    assert room is not None
    assert room < 256_000
    ballast.unlink()
    write(destination, "a", b"x" * 100_000)


def test_s16_a_read_only_file_system_is_refused(mounted: Callable[[str], Path]) -> None:
    place = mounted("size=64k,ro")
    for path in (place, place / "new"):
        for call in (FolderDestination(path).check, lambda path=path: FolderDestination(path).prepare(JOB)):
            with pytest.raises(DestinationConnectionError, match="read-only"):
                call()


# Check


def test_check_writes_nothing_at_all(tmp_path: Path, root: Path) -> None:
    before = tree(tmp_path)
    FolderDestination(root / "deep" / "er").check()
    FolderDestination(root / "deep" / "er").check(JOB)
    assert tree(tmp_path) == before
    assert (FolderDestination(root / "deep").free_bytes() or 0) > 0
    FolderDestination(root).prepare(JOB)
    before = tree(tmp_path)
    FolderDestination(root).check(JOB)
    with pytest.raises(FolderInUse):
        FolderDestination(root).check()
    assert tree(tmp_path) == before


def test_a_refused_prepare_writes_nothing(root: Path) -> None:
    root.mkdir()
    (root / "Patient-1.ndjson").write_text("{}\n")
    before = tree(root)
    with pytest.raises(FolderInUse, match=r"Patient-1\.ndjson"):
        FolderDestination(root).prepare(JOB)
    assert tree(root) == before


# Links


def test_links_inside_the_destination_do_not_lead_out(folder: FolderDestination, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text("secret")
    (root / "link").symlink_to(outside)
    (root / "Patient-1.ndjson").symlink_to(outside / "secret.json")
    (root / "Patient-2.ndjson").symlink_to(outside / "none.json")
    part, gone = write(folder), folder.part_name(JOB, "gone")
    calls: list[Callable[[], object]] = [
        lambda: folder.publish(gone, "Patient-1.ndjson"),
        lambda: folder.publish(part, "link/Patient-1.ndjson"),
        lambda: folder.publish(part, "Patient-1.ndjson"),
        lambda: folder.publish(part, "Patient-2.ndjson"),
        lambda: folder.put(JOB, "link/x.json", b"{}"),
        lambda: folder.delete(["link/secret.json"]),
        lambda: list(folder.read("link/secret.json")),
        lambda: list(folder.read("Patient-1.ndjson")),
    ]
    for call in calls:
        with pytest.raises(PermanentError):
            call()
    assert folder.stat("Patient-1.ndjson") is None
    assert folder.stat("link/secret.json") is None
    assert list(folder.list()) == []
    folder.put(JOB, "Patient-1.ndjson", b"mine")  # replaces the link, not what it leads to
    assert (outside / "secret.json").read_text() == "secret"
    assert os.listdir(outside) == ["secret.json"]


def test_a_hidden_folder_that_is_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (root / ".fhirferry").symlink_to(outside)
    with pytest.raises(DestinationConnectionError):
        FolderDestination(root).prepare(JOB)
    assert os.listdir(outside) == []


def test_the_destination_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "current").symlink_to("real")
    destination = FolderDestination(tmp_path / "current")
    destination.prepare(JOB)
    destination.publish(write(destination), "Patient-1.ndjson")
    assert (tmp_path / "real" / "Patient-1.ndjson").read_bytes() == b"{}\n"


def test_list_passes_over_what_is_no_file_of_a_destination(folder: FolderDestination, root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "with space.txt").write_text("x")
    (root / os.fsdecode(b"\xff.txt")).write_text("x")
    (root / "plain.txt").write_text("x")
    assert [stored.name for stored in folder.list()] == ["plain.txt"]
    with pytest.raises(RequestError):
        list(folder.read("pipe"))


# Modes


def test_nobody_else_can_read_what_was_written(root: Path) -> None:
    old = os.umask(0)
    try:
        destination = FolderDestination(root / "deep")
        destination.prepare(JOB)
        write(destination, "waiting")
        destination.publish(write(destination), "deleted/Bundle-1.ndjson")
        destination.put(JOB, "manifest.json", b"{}")
    finally:
        os.umask(old)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert len(modes) == 9
    assert modes == {path: 0o700 if path.is_dir() else 0o600 for path in modes}


# Whose folder


def test_of_two_jobs_that_claim_a_folder_at_once_one_wins(root: Path) -> None:
    for number in range(20):
        place = root / str(number)
        start, won, lost = threading.Barrier(2), list[str](), list[str]()

        def claim(job: str, place: Path = place, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                FolderDestination(place).prepare(job)
                won.append(job)  # noqa: B023 - joined below
            except FolderInUse:
                lost.append(job)  # noqa: B023

        threads = [threading.Thread(target=claim, args=(job,)) for job in (JOB, OTHER)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == len(lost) == 1
        assert (place / ".fhirferry" / "job").read_text().strip() == won[0]
        assert sorted(os.listdir(place / ".fhirferry")) == sorted(["job", won[0]])


def test_a_file_system_without_hard_links_is_served(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: object, **more: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    FolderDestination(root).prepare(JOB)
    mark = (root / ".fhirferry" / "job").stat()
    FolderDestination(root).prepare(JOB)
    with pytest.raises(FolderInUse):
        FolderDestination(root).prepare(OTHER)
    assert sorted(os.listdir(root / ".fhirferry")) == [JOB, "job"]
    assert os.path.samestat((root / ".fhirferry" / "job").stat(), mark), "who waits for its lock must not miss it"


@pytest.mark.parametrize("mark", [b"", b"\x1b[31m\n\xff", b"a/b"])
def test_a_damaged_mark_is_anothers_and_not_printed(folder: FolderDestination, root: Path, mark: bytes) -> None:
    (root / ".fhirferry" / "job").write_bytes(mark)
    with pytest.raises(FolderInUse) as caught:
        folder.prepare(JOB)
    assert caught.value.message.isprintable()
    assert "cannot name" in caught.value.message


# Leftovers


def test_nothing_is_left_of_a_deleted_export(folder: FolderDestination, root: Path) -> None:
    folder.publish(write(folder), "deleted/Bundle-1.ndjson")
    folder.publish(write(folder, "b"), "Patient-1.ndjson")
    folder.put(JOB, "manifest.json", b"{}")
    folder.sweep(JOB, frozenset())
    folder.delete([stored.name for stored in folder.list()])
    folder.forget(JOB)
    assert list(root.iterdir()) == []


def test_delete_leaves_folders_that_hold_what_is_not_ours(folder: FolderDestination, root: Path) -> None:
    folder.publish(write(folder), "deleted/Bundle-1.ndjson")
    (root / "deleted" / "notes of mine.txt").write_text("x")
    folder.delete(["deleted/Bundle-1.ndjson"])
    assert os.listdir(root / "deleted") == ["notes of mine.txt"]


def test_sweep_and_forget_leave_what_is_not_ours(folder: FolderDestination, root: Path) -> None:
    mine = root / ".fhirferry" / JOB / "mine.txt"
    mine.write_text("x")
    write(folder)
    folder.sweep(JOB, frozenset())
    folder.forget(JOB)
    assert [path for path in root.rglob("*") if path.is_file()] == [mine]


def test_a_put_after_the_job_was_forgotten_fails(folder: FolderDestination, root: Path) -> None:
    folder.sweep(JOB, frozenset())
    folder.forget(JOB)
    with pytest.raises(DestinationConnectionError, match="removed meanwhile"):
        folder.put(JOB, "manifest.json", b"{}")
    assert list(root.iterdir()) == []


def test_two_tasks_of_a_job_may_publish_the_same_at_once(folder: FolderDestination) -> None:
    """A worker that was stopped and wakes up beside its successor (issue: crash) does no harm and gets no error."""
    parts = [write(folder, str(number)) for number in range(50)]
    errors: list[BaseException] = []

    def publish() -> None:
        try:
            for number, part in enumerate(parts, 1):
                FolderDestination(folder.path).publish(part, f"Patient-{number}.ndjson")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(folder.list("Patient-"))) == 50
