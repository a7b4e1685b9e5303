"""A folder as destination (design section 7).

Layout: a run writes `.fhirferry/<job>/<stem>.part`; the task publishes it by rename; `.fhirferry/job` is the mark that
says whose folder this is, and the lock of who removes it (see `destinations.mark`). Whoever globs `*.ndjson` sees whole
files only.

What is durable when: `prepare`, `put` and a file's `commit` when they return; published names after `sync`. Folders
that are made here have mode 0700 and files 0600, since they hold health data. Linux and macOS, any local or network
file system with rename; not Windows, which cannot open a folder to fsync it.
"""

# ruff: noqa: PTH100, PTH112, PTH208 - pathlib knows no descriptors, and its import is felt at start-up

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

from fhirferry.destinations.durable import (
    entry_of,
    is_file,
    make_folders,
    nearest_folder,
    open_folder,
    remove_all,
    remove_if_empty,
    sorted_errors,
    sync_folder,
    write_small,
)
from fhirferry.destinations.mark import claim, disclaim, hold, owner
from fhirferry.destinations.names import (
    CHUNK,
    HIDDEN,
    PART,
    TEMPORARY,
    check_job_id,
    check_name,
    check_range,
    check_visible,
    draw_temporary,
    hidden_part,
    refuse_foreign,
)
from fhirferry.destinations.part_writer import PartWriter
from fhirferry.destinations.protocol import FileWriter, StoredFile
from fhirferry.faultpoints import reach
from fhirferry.model.errors import (
    DestinationConnectionError,
    DestinationUnavailable,
    PermanentError,
    RequestError,
)


class FolderDestination:
    """Files in the folder `path`, which `prepare` makes. Opening it does no I/O. Safe for several threads."""

    renames = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)
        self._lock = threading.Lock()
        self._unsynced: set[tuple[str, ...]] = set()

    def prepare(self, job_id: str) -> None:
        """Waits a while for another job's clean-up that has begun; DestinationUnavailable when that does not end."""
        check_job_id(job_id)
        with sorted_errors(self.path):
            make_folders(self.path)
            if (before := owner(self.path)) not in (None, job_id):
                with hold(self.path, str(before), shared=True):
                    pass  # nobody is removing it, or it is gone now
            self._refuse_foreign(job_id)  # before anything is written into somebody else's folder
            self._claim(job_id)
            for made in ((), (HIDDEN,)):  # once more: an earlier prepare may have died before its fsync
                self._sync(made)

    def check(self, job_id: str | None = None) -> None:
        with sorted_errors(self.path):
            there = nearest_folder(self.path)
            if not os.path.isdir(there):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(there, os.W_OK | os.X_OK):
                read_only = os.statvfs(there).f_flag & os.ST_RDONLY
                code = errno.EROFS if read_only else errno.EACCES
                raise OSError(code, os.strerror(code))
            if there == self.path:
                self._refuse_foreign(job_id)

    def part_name(self, job_id: str, stem: str, suffix: str = ".ndjson") -> str:  # noqa: ARG002 - a part is hidden
        return hidden_part(job_id, stem)

    def create(self, name: str) -> FileWriter:
        """Only names that `part_name` gives: a file gets its visible name whole, by `publish` or `put`."""
        *folders, last = check_name(name)
        if len(folders) != 2 or folders[0] != HIDDEN:
            raise RequestError(f"{name!r} is not the name of a part; `part_name` gives one")
        where = f"{self.path}/{name}"
        with sorted_errors(where):
            return PartWriter(self.path, folders, last, where, lambda: self._to_sync(folders))

    def publish(self, part: str, name: str) -> None:
        """Never overwrites: a file of that name that is not this part is somebody else's -> PermanentError."""
        *source, old = check_name(part)
        *target, new = check_visible(name)
        where = f"{self.path}/{name}"
        with sorted_errors(where), open_folder(self.path, target, make=True) as there:
            try:
                with open_folder(self.path, source) as here:
                    waiting, published = entry_of(old, here), entry_of(new, there)
                    if is_file(waiting) and published is None:
                        os.rename(old, new, src_dir_fd=here, dst_dir_fd=there)
                    elif waiting is not None and published is not None:
                        if not os.path.samestat(waiting, published):
                            raise PermanentError(f"{where} is there already and is another file; move it away")
                        # One file with two names: a file system without journal lost half of our rename.
                        os.unlink(old, dir_fd=here)
            except FileNotFoundError:
                pass  # swept, or renamed by another task of this job just now: then the name must be there
            if not is_file(entry_of(new, there)):
                raise PermanentError(f"{where} is lost: neither it nor its part {part} is there")
        # Also when it was done already: whoever did it may have died before the fsync.
        self._to_sync(*(target[:depth] for depth in range(len(target) + 1)))

    def sync(self) -> None:
        with self._lock:
            waiting, self._unsynced = self._unsynced, set()
        try:
            with sorted_errors(self.path):
                for folders in sorted(waiting):
                    self._sync(folders)
        except BaseException:
            with self._lock:
                self._unsynced |= waiting
            raise

    def put(self, job_id: str, name: str, data: bytes) -> None:
        check_job_id(job_id)
        *folders, last = check_visible(name)
        where = f"{self.path}/{name}"
        with sorted_errors(where), hold(self.path, job_id, shared=True) as ours:
            if not ours:
                raise DestinationConnectionError(f"{where} cannot be written: its job was removed meanwhile")
            temporary = draw_temporary()
            with (
                open_folder(self.path, (HIDDEN, job_id)) as home,
                open_folder(self.path, folders, make=True) as there,
            ):
                write_small(home, temporary, data)
                try:
                    os.rename(temporary, last, src_dir_fd=home, dst_dir_fd=there)
                except BaseException:
                    with suppress(OSError):
                        os.unlink(temporary, dir_fd=home)
                    raise
            for depth in range(len(folders), -1, -1):
                self._sync(folders[:depth])

    def stat(self, name: str) -> StoredFile | None:
        *folders, last = check_name(name)
        with sorted_errors(f"{self.path}/{name}"):
            try:
                with open_folder(self.path, folders) as folder:
                    entry = entry_of(last, folder)
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _stored(name, entry) if entry is not None and is_file(entry) else None

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Links, and files whose names are none of a destination's (a space, an umlaut), are passed over."""
        with sorted_errors(self.path):
            yield from sorted(self._walk((), prefix), key=lambda stored: stored.name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        *folders, last = check_name(name)
        check_range(name, offset, length)
        with sorted_errors(f"{self.path}/{name}"):
            try:
                with open_folder(self.path, folders) as folder:
                    file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            except FileNotFoundError:
                raise RequestError(f"{self.path}/{name} does not exist", status_code=404) from None
            try:
                entry = os.fstat(file)
                if not is_file(entry):
                    raise RequestError(f"{self.path}/{name} is no file", status_code=404)
                left = entry.st_size - offset if length is None else length
                os.lseek(file, offset, os.SEEK_SET)
                while left > 0 and (data := os.read(file, min(CHUNK, left))):
                    left -= len(data)
                    yield data
            finally:
                os.close(file)

    def delete(self, names: Sequence[str]) -> None:
        """The part folder stays, also empty: running units need it, and `sweep` takes it."""
        split = [(name, check_name(name)) for name in names]
        touched = set[tuple[str, ...]]()
        for name, (*folders, last) in split:
            with (
                sorted_errors(f"{self.path}/{name}"),
                suppress(FileNotFoundError),
                open_folder(self.path, folders) as folder,
            ):
                os.unlink(last, dir_fd=folder)
                touched.update(tuple(folders[:depth]) for depth in range(len(folders) + 1))
        with sorted_errors(self.path):
            for touch in sorted(touched, key=len, reverse=True):
                if not (touch and touch[0] != HIDDEN and remove_if_empty(self.path, touch)):
                    self._sync(touch)

    def sweep(self, job_id: str, keep: frozenset[str]) -> Sequence[str]:
        home = (HIDDEN, check_job_id(job_id))
        with sorted_errors(f"{self.path}/{HIDDEN}"):
            removed = remove_all(self.path, home, (PART, TEMPORARY), keep)
            remove_if_empty(self.path, home)
        return removed

    def forget(self, job_id: str, names: Sequence[str] = ()) -> None:
        check_job_id(job_id)
        for name in names:
            check_visible(name)
        with sorted_errors(f"{self.path}/{HIDDEN}"):
            with hold(self.path, job_id) as ours:
                if ours:
                    reach("cleanup-holding")
                    self.delete(names)
                    disclaim(self.path)
            remove_if_empty(self.path, (HIDDEN, job_id))
            remove_if_empty(self.path, (HIDDEN,))

    def url_for(self, name: str, seconds: float) -> str:  # noqa: ARG002 - there is none
        check_name(name)
        raise RequestError(f"{self.path} is a folder, and files in folders have no URL that others can read")

    def free_bytes(self) -> int | None:
        with sorted_errors(self.path):
            status = os.statvfs(nearest_folder(self.path))
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        """Nothing is kept open."""

    def _claim(self, job_id: str) -> None:
        passing = DestinationUnavailable(
            f"{self.path}: another export was removed there just now; the job will be tried again"
        )
        try:
            claim(self.path, job_id)
        except FileNotFoundError:
            raise passing from None
        if owner(self.path) != job_id:  # a rival was faster
            remove_if_empty(self.path, (HIDDEN, job_id))
            self._refuse_foreign(job_id)
            raise passing

    def _refuse_foreign(self, job_id: str | None) -> None:
        refuse_foreign(self.path, owner(self.path), job_id, sorted(os.listdir(self.path)))

    def _to_sync(self, *folders: Sequence[str]) -> None:
        with self._lock:
            self._unsynced.update(map(tuple, folders))

    def _sync(self, folders: Sequence[str]) -> None:
        with open_folder(self.path, folders) as folder:
            sync_folder(folder)

    def _walk(self, folders: tuple[str, ...], prefix: str) -> Iterator[StoredFile]:
        """Files whose name starts with prefix, in no order; only folders that can hold some are opened."""
        found = list[StoredFile]()
        below = list[tuple[str, ...]]()
        with suppress(FileNotFoundError), open_folder(self.path, folders) as folder, os.scandir(folder) as entries:
            for entry in entries:
                name = "/".join((*folders, entry.name))
                try:
                    check_name(name)
                except RequestError:
                    continue
                if not prefix.startswith(HIDDEN) and entry.name == HIDDEN:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                        below.append((*folders, entry.name))
                elif name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        found.append(_stored(name, entry.stat(follow_symlinks=False)))
        yield from found
        for each in below:
            yield from self._walk(each, prefix)


def _stored(name: str, status: os.stat_result) -> StoredFile:
    return StoredFile(name=name, bytes=status.st_size, modified=status.st_mtime_ns // 1000)
