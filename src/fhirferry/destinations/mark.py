"""Whose folder it is: the file `.fhirferry/job`, which holds the job's id."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from fhirferry.destinations.durable import open_folder, sync_folder, write_small
from fhirferry.destinations.names import HIDDEN, MARK

TEMPORARY = ".tmp"
"""How a small file in HIDDEN ends until it has its name."""


def temporary_name() -> str:
    """A name that nobody else draws."""
    return os.urandom(8).hex() + TEMPORARY


def owner(root: str) -> str | None:
    """The job that the mark names; None without a mark. OSError."""
    try:
        with open_folder(root, (HIDDEN,)) as hidden:
            file = os.open(MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=hidden)
    except FileNotFoundError:
        return None
    try:
        return os.read(file, 1024).decode("ascii", "replace").strip()
    finally:
        os.close(file)


def claim(root: str, job_id: str) -> None:
    """Write the mark unless there is one: whole, durable, and of two rivals exactly one wins. OSError.

    Writes and flushes a file also when the mark is there, which proves that one can.
    """
    with open_folder(root, (HIDDEN,), make=True) as hidden:
        temporary = temporary_name()
        write_small(hidden, temporary, f"{job_id}\n".encode())
        try:
            os.link(temporary, MARK, src_dir_fd=hidden, dst_dir_fd=hidden, follow_symlinks=False)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            os.rename(temporary, MARK, src_dir_fd=hidden, dst_dir_fd=hidden)  # no hard links here (exFAT, some FUSE)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=hidden)
        sync_folder(hidden)


def disclaim(root: str) -> None:
    """Remove the mark. OSError, also without one."""
    with open_folder(root, (HIDDEN,)) as hidden:
        os.unlink(MARK, dir_fd=hidden)
        sync_folder(hidden)
