"""Whose folder it is: the file `.fhirferry/job`, which holds the job's id and is the lock of the place.

Nobody claims a folder that has a mark, and a mark is removed only by who holds its lock exclusively, after the files:
so a process that stops anywhere between look and delete, for however long, still finds the folder its own when it goes
on. The kernel gives the lock back when the process dies, and there is no lock file that could be left behind.

A file system that knows no flock (an NFS without lock service, some FUSE) is served without: there a clean-up that is
stopped between its look and its deletes, for longer than its lease, can take files of the next export. To refuse would
leave health data lying where somebody asked for its removal.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fhirferry.destinations.durable import entry_of, open_folder, sync_folder, write_small
from fhirferry.destinations.names import HIDDEN, MARK, draw_temporary
from fhirferry.model.errors import DestinationUnavailable

PATIENCE = 10.0
"""Seconds that `hold` waits for another process before it says who that is."""

_LOOK = 0.02
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def owner(root: str) -> str | None:
    """The job that the mark names; None without a mark. OSError."""
    mark = _open_mark(root, os.O_RDONLY)
    if mark is None:
        return None
    try:
        return _read(mark)
    finally:
        os.close(mark)


def claim(root: str, job_id: str) -> None:
    """Make the job's part folder, and the mark unless there is one: whole, durable, and of two rivals exactly one wins.

    Writes and flushes a file also when the mark is there, which proves that one can. OSError; FileNotFoundError when
    another job's clean-up removed the hidden folder just now.
    """
    with open_folder(root, (HIDDEN, job_id), make=True) as home, open_folder(root, (HIDDEN,)) as hidden:
        temporary = draw_temporary()
        write_small(home, temporary, f"{job_id}\n".encode())
        try:
            os.link(temporary, MARK, src_dir_fd=home, dst_dir_fd=hidden, follow_symlinks=False)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if entry_of(MARK, hidden) is None:  # no hard links here (exFAT, some FUSE): the later of two rivals wins
                os.rename(temporary, MARK, src_dir_fd=home, dst_dir_fd=hidden)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=home)
        sync_folder(hidden)


@contextmanager
def hold(root: str, job_id: str, *, shared: bool = False) -> Iterator[bool]:
    """True: the folder is this job's, and stays so during the block. False: it is another's, or nobody's.

    shared: beside others who only want it to stay so; else alone, as who removes the mark must be. Waits for whoever
    holds it otherwise; DestinationUnavailable, naming the process where the system tells, after PATIENCE. OSError.
    """
    while (mark := _open_mark(root, os.O_RDWR)) is not None:  # to write: NFS locks nothing else exclusively
        try:
            if _read(mark) != job_id:
                break
            _lock(mark, shared, root, job_id)
            if _is_the_mark(mark, root):
                yield True
                return
        finally:
            os.close(mark)
    yield False


def disclaim(root: str) -> None:
    """Remove the mark; for who holds it. OSError."""
    with suppress(FileNotFoundError), open_folder(root, (HIDDEN,)) as hidden:
        os.unlink(MARK, dir_fd=hidden)
        sync_folder(hidden)


def _open_mark(root: str, how: int) -> int | None:
    try:
        with open_folder(root, (HIDDEN,)) as hidden:
            return os.open(MARK, how | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=hidden)
    except FileNotFoundError:
        return None


def _read(mark: int) -> str:
    return os.read(mark, 1024).decode("ascii", "replace").strip()


def _is_the_mark(mark: int, root: str) -> bool:
    """Whether that name still means the open file: who held the lock before may have removed it."""
    with suppress(FileNotFoundError), open_folder(root, (HIDDEN,)) as hidden:
        entry = entry_of(MARK, hidden)
        return entry is not None and os.path.samestat(entry, os.fstat(mark))
    return False


def _lock(mark: int, shared: bool, root: str, job_id: str) -> None:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock

    end = time.monotonic() + PATIENCE
    while True:
        try:
            return flock(mark, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise
        if time.monotonic() >= end:
            raise DestinationUnavailable(
                f"{root} is locked by {_holder(mark)}, which finishes or removes the export of job {job_id} there; "
                "it will be tried again: end that process if it hangs"
            )
        time.sleep(_LOOK)


def _holder(mark: int) -> str:
    """Who holds the lock, as Linux tells it: `1: FLOCK  ADVISORY  WRITE 4711 08:01:131077 0 EOF`."""
    inode = f":{os.fstat(mark).st_ino}"
    with suppress(OSError, ValueError), open("/proc/locks") as locks:  # noqa: PTH123 - no pathlib at start-up
        for line in locks:
            kind, _, _, process, file, *_ = line.partition(": ")[2].split()
            if kind == "FLOCK" and file.endswith(inode) and int(process) > 0:
                return f"process {process}"
    return "another process"
