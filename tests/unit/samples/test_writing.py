"""Files appear all together or not at all, and only where nothing else is."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, FolderInUse, RequestError
from fhirferry.samples import writing
from fhirferry.samples.writing import UNFINISHED, Made, generate


def make(folder: Path, **options: object) -> Made:
    return generate(folder, patients=3, seed=1, **options)  # type: ignore[arg-type]


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    made = make(tmp_path / "a" / "b")
    files = list((tmp_path / "a" / "b").iterdir())
    assert {path.stem for path in files} == made.types.keys()
    assert sum(path.stat().st_size for path in files) == made.bytes
    assert sum(path.read_bytes().count(b"\n") for path in files) == made.resources
    assert made.patients == 3


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    make(tmp_path)
    assert (tmp_path / "Patient.ndjson").exists()
    assert not (tmp_path / UNFINISHED).exists()


@pytest.mark.parametrize("name", ["Patient.ndjson", "notes.txt", ".hidden"])
def test_a_folder_that_holds_anything_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(FolderInUse, match="not empty"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RequestError, match="is a file; name a folder"):
        make(tmp_path / "file")
    with pytest.raises(RequestError, match="would lie in a file"):
        make(tmp_path / "file" / "below")


@pytest.mark.parametrize("there", [False, True], ids=["new folder", "empty folder"])
def test_nothing_is_left_when_it_ends_early(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "set"
    if there:
        folder.mkdir()

    def stop(made: Made) -> None:
        assert list((folder / UNFINISHED).iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(folder, on_progress=stop)
    assert folder.exists() == there
    assert not there or not list(folder.iterdir())


def test_nothing_is_left_when_publishing_fails_halfway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, moved = Path.rename, []

    def fail(path: Path, target: Path) -> Path:
        if len(moved) == 5:
            raise OSError(errno.EIO, "Input/output error")
        moved.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DestinationConnectionError, match="Input/output error; nothing was left there"):
        make(tmp_path / "set")
    assert len(moved) == 5
    assert not (tmp_path / "set").exists()


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(DestinationUnavailable, match="No space left on device"):
        make(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "Patient.ndjson").write_text("half a li")
    (tmp_path / UNFINISHED / "Old.ndjson").write_text("of an older release")
    make(tmp_path)
    assert not (tmp_path / "Old.ndjson").exists()
    assert "half a li" not in (tmp_path / "Patient.ndjson").read_text()


def test_two_at_a_time_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "Patient.ndjson").write_text("theirs")
    other = os.open(tmp_path / UNFINISHED, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FolderInUse, match="another fhirferry generate"):
            make(tmp_path)
    finally:
        os.close(other)
    assert (tmp_path / UNFINISHED / "Patient.ndjson").read_text() == "theirs"


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DestinationConnectionError, match="cannot be written: Permission denied"):
        make(tmp_path / "set")
