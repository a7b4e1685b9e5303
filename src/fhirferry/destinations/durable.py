"""Files and folders that are on the disk when we say so, and errors sorted by what the reader does next.

Folders are reached through descriptors, one name at a time, without following links: a link inside a destination
cannot lead out of it. Health data is nobody else's business: files are 0600, folders 0700.
"""

# ruff: noqa: PTH102, PTH118, PTH120, PTH208 - pathlib knows no descriptors, and its import is felt at start-up

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from fhirferry.model.errors import (
    DestinationConnectionError,
    DestinationUnavailable,
    FerryError,
)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PASSING = {
    errno.EIO,
    errno.EAGAIN,
    errno.EBUSY,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.ECONNRESET,
}
_ADVICE = {
    errno.EACCES: "give this user the right to write there, or give another folder",
    errno.EPERM: "give this user the right to write there, or give another folder",
    errno.EROFS: "the file system is mounted read-only; give another folder",
    errno.ENOTDIR: "a part of the path is a file or a link; give a folder",
    errno.ELOOP: "a part of the path is a link; links inside a destination are not followed",
    errno.ENOENT: "the folder is gone, or the job was removed meanwhile",
    errno.EFBIG: "the file system takes no file this large; export again with a smaller --max-file-size",
}


def sort_error(error: OSError, where: str) -> FerryError:
    """What the operating system said, as passing (S26: tried again) or final (S16), with what the user can do.

    Full disk, failing device, lost network mount -> DestinationUnavailable; all else -> DestinationConnectionError.
    """
    said = f"{where}: {error.strerror or error}"
    if error.errno in _FULL:
        return DestinationUnavailable(f"{said}; free some space, the job will be tried again")
    if error.errno in _PASSING:
        return DestinationUnavailable(f"{said}; the job will be tried again")
    advice = _ADVICE.get(error.errno or 0)
    return DestinationConnectionError(f"{said}; {advice}" if advice else said)


@contextmanager
def sorted_errors(where: str) -> Iterator[None]:
    """OSError inside becomes one of ours."""
    try:
        yield
    except OSError as error:
        raise sort_error(error, where) from error


@contextmanager
def open_folder(root: str, folders: Sequence[str] = (), *, make: bool = False) -> Iterator[int]:
    """Descriptor of the folder under `root`, which itself may be a link: it is the user's word. OSError."""
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o700, dir_fd=here)
                    sync_folder(here)
            below = os.open(folder, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def sync_folder(folder: int) -> None:
    """Make the names in a folder durable. A file system without that notion has done all it can."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def nearest_folder(path: str) -> str:
    """The path, or what is there of it: the lowest part that exists, whatever it is."""
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def make_folders(path: str) -> None:
    """The folder and what it lies in, durable also if an earlier attempt died between making and fsync. OSError."""
    there = nearest_folder(path)
    with suppress(PermissionError), open_folder(os.path.dirname(there)) as parent:
        sync_folder(parent)  # where it is not ours to read, it is not ours that made the entry either
    while there != path:
        above = there
        there = os.path.join(above, path[len(above) :].lstrip("/").split("/")[0])
        with suppress(FileExistsError):
            os.mkdir(there, 0o700)
        with open_folder(above) as parent:
            sync_folder(parent)


def write_all(file: int, data: bytes | memoryview) -> int:
    """Every byte, however few write(2) takes at a time. The number of bytes. OSError."""
    rest = memoryview(data).cast("B")
    size = len(rest)
    while rest:
        rest = rest[os.write(file, rest) :]
    return size


def write_small(folder: int, name: str, data: bytes) -> None:
    """A new file, durable but for its name. OSError; then nothing of it is left."""
    file = os.open(name, NEW_FILE, 0o600, dir_fd=folder)
    try:
        try:
            write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise


def entry_of(name: str, folder: int) -> os.stat_result | None:
    """What the folder holds under that name, links not followed; None when nothing. OSError."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_file(entry: os.stat_result | None) -> bool:
    """A plain file: no folder, link or pipe."""
    return entry is not None and stat.S_ISREG(entry.st_mode)


def remove_all(root: str, folders: Sequence[str], suffixes: tuple[str, ...], keep: frozenset[str]) -> list[str]:
    """Remove the folder's files with one of the suffixes, except the names in `keep`; durably. The names removed. OSError."""
    removed = list[str]()
    with suppress(FileNotFoundError), open_folder(root, folders) as folder:
        for entry in sorted(os.listdir(folder)):
            name = "/".join((*folders, entry))
            if entry.endswith(suffixes) and name not in keep:
                with suppress(FileNotFoundError):
                    os.unlink(entry, dir_fd=folder)
                    removed.append(name)
        sync_folder(folder)
    return removed


def remove_if_empty(root: str, folders: Sequence[str]) -> bool:
    """True when the folder is gone, by us or before. OSError."""
    *above, last = folders
    try:
        with open_folder(root, above) as parent:
            os.rmdir(last, dir_fd=parent)
            sync_folder(parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            return error.errno == errno.ENOENT
        raise
    return True
