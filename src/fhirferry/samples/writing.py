"""A set of made-up data as files: all of them or none."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import IO

import msgspec

from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, FolderInUse, RequestError
from fhirferry.samples.fragments import Lines, lines
from fhirferry.samples.groups import make_groups
from fhirferry.samples.history import add_record
from fhirferry.samples.odd import make_odd
from fhirferry.samples.providers import make_world

UNFINISHED = ".generating"
"""Folder in the folder: files stand in here until all are whole."""
BATCH = 32
"""Patients whose resources are in memory at a time; some 5 MB."""


class Made(msgspec.Struct):
    """What has been made so far. bytes: with the newlines, as the files have them."""

    patients: int = 0
    types: dict[str, list[int]] = {}

    def add(self, kind: str, resources: int, size: int) -> None:
        count = self.types.setdefault(kind, [0, 0])
        count[0] += resources
        count[1] += size

    @property
    def resources(self) -> int:
        return sum(count for count, _ in self.types.values())

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.types.values())


def generate(
    folder: Path,
    *,
    patients: int,
    seed: int,
    odd: bool = False,
    on_progress: Callable[[Made], None] = lambda _made: None,
) -> Made:
    """Write `<Type>.ndjson` for so many patients into a folder that is empty or not there yet.

    The same arguments give the same bytes. Whatever ends this early, also an exception of `on_progress`, leaves no file
    there; after a kill -9 the next run clears what is left. Raises RequestError (FolderInUse) for a folder that cannot
    be taken, DestinationConnectionError or DestinationUnavailable when it cannot be written.
    """
    made = Made()
    try:
        with _Files(folder, made) as files:
            world, shared = make_world(seed, patients)
            files.write(shared)
            for start in range(0, patients, BATCH):
                batch, end = lines(), min(start + BATCH, patients)
                for index in range(start, end):
                    add_record(world, index, batch)
                files.write(batch)
                made.patients = end
                on_progress(made)
            for group in make_groups(world, patients):
                files.write_long("Group", [group])
            for kind, pieces in make_odd(world) if odd else ():
                files.write_long(kind, pieces)
            files.publish()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        failure = DestinationUnavailable if full else DestinationConnectionError
        raise failure(f"{folder} cannot be written: {error.strerror or error}; nothing was left there.") from error
    return made


class _Files(AbstractContextManager["_Files"]):
    """The files of one run, and the folder that they stand in until they are whole."""

    def __init__(self, folder: Path, made: Made) -> None:
        self._folder, self._made = folder, made
        self._work = folder / UNFINISHED
        self._files: dict[str, IO[bytes]] = {}
        self._is_new = _check(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._work.mkdir(exist_ok=True)
        self._lock = os.open(self._work, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FolderInUse(f"{folder}: another fhirferry generate is writing there") from None

    def write(self, batch: Lines) -> None:
        """Whole lines of each type."""
        for kind, found in batch.items():
            size = self._file(kind).write(b"".join(found))
            self._made.add(kind, len(found), size)

    def write_long(self, kind: str, pieces: Iterable[bytes]) -> None:
        """One line in pieces."""
        file = self._file(kind)
        self._made.add(kind, 1, sum(file.write(piece) for piece in pieces))

    def publish(self) -> None:
        """Now they are whole."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        published: list[Path] = []
        try:
            for kind in self._files:
                name = f"{kind}.ndjson"
                published.append((self._work / name).rename(self._folder / name))
            _sync(self._folder)
        except BaseException:
            for path in published:
                path.unlink()
            raise
        self._files.clear()
        self._is_new = False  # from here on it is not ours to remove

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            with suppress(OSError):  # a full disk says so once more
                file.close()
        self._clear()
        self._work.rmdir()
        os.close(self._lock)
        if self._is_new:
            self._folder.rmdir()

    def _file(self, kind: str) -> IO[bytes]:
        if kind not in self._files:
            self._files[kind] = (self._work / f"{kind}.ndjson").open("wb")
        return self._files[kind]

    def _clear(self) -> None:
        for entry in self._work.iterdir():
            entry.unlink()


def _check(folder: Path) -> bool:
    """Whether the folder is still to be made. RequestError if it cannot be taken."""
    try:
        found = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        where = "is a file" if folder.is_file() else "would lie in a file"
        raise RequestError(f"{folder} {where}; name a folder that is empty or does not exist yet") from None
    if found - {UNFINISHED}:
        raise FolderInUse(f"{folder} is not empty; name a folder that is empty or does not exist yet")
    return False


def _sync(folder: Path) -> None:
    """New names in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
