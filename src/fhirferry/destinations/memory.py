"""A destination in memory (S15): the semantics of a folder, or of an object store, without either.

For tests and demonstrations. One object is the place itself: open it once and hand the same one to everybody.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from fhirferry.clock import system_clock
from fhirferry.destinations.names import (
    CHUNK,
    HIDDEN,
    check_job_id,
    check_name,
    check_range,
    check_visible,
    hidden_part,
    is_any_part,
    is_visible_part,
    refuse_foreign,
    visible_part,
)
from fhirferry.destinations.protocol import StoredFile
from fhirferry.model.errors import DestinationConnectionError, PermanentError, RequestError
from fhirferry.model.instant import Clock, Instant


class MemoryDestination:
    """Files as a dictionary.

    renames: True behaves like a folder (hidden parts, then `publish`); False like an object store, where a run writes
    under the names that readers see.
    """

    def __init__(self, *, renames: bool = True, clock: Clock = system_clock) -> None:
        self.renames = renames
        self._clock = clock
        self._lock = threading.RLock()
        self._files: dict[str, tuple[bytes, Instant]] = {}
        self._jobs: set[str] = set()
        self._owner: str | None = None
        self._failures: list[tuple[str, Exception]] = []

    def fail_next(self, operation: str, error: Exception) -> None:
        """The next call of `operation` raises `error` and does nothing else; several queue up.

        Operations: this class's methods by name, and `write` and `commit` of the files being written.
        """
        with self._lock:
            self._failures.append((operation, error))

    def prepare(self, job_id: str) -> None:
        with self._lock:
            self._enter("prepare")
            refuse_foreign("the destination", self._owner, check_job_id(job_id), self._files)
            self._owner = job_id
            self._jobs.add(job_id)

    def check(self, job_id: str | None = None) -> None:
        with self._lock:
            self._enter("check")
            refuse_foreign("the destination", self._owner, job_id, self._files)

    def part_name(self, job_id: str, stem: str, suffix: str = ".ndjson") -> str:
        return hidden_part(job_id, stem) if self.renames else visible_part(job_id, stem, suffix)

    def create(self, name: str) -> _MemoryFile:
        check_name(name)
        with self._lock:
            self._enter("create")
            job_id = next((job for job in self._jobs if self._is_part(name, job)), None)
            if job_id is None:
                if not is_any_part(name, hidden=self.renames):
                    raise RequestError(f"{name!r} is not the name of a part; `part_name` gives one")
                raise DestinationConnectionError(f"{name} cannot be written: its job is not prepared here, or is gone")
            if name in self._files:
                raise DestinationConnectionError(f"{name} is there already; a run's part name is used once")
        return _MemoryFile(self, name, job_id)

    def publish(self, part: str, name: str) -> None:
        check_name(part)
        check_visible(name)
        with self._lock:
            self._enter("publish")
            if part == name and part in self._files:
                return
            if part not in self._files:
                if name not in self._files:
                    raise PermanentError(f"{name} is lost: neither it nor its part {part} is at the destination")
                return
            if name in self._files:
                raise PermanentError(f"{name} is at the destination already and is another file; move it away")
            if not self.renames:
                raise RequestError("this destination cannot rename: a part is published under its own name")
            self._files[name] = self._files.pop(part)

    def sync(self) -> None:
        with self._lock:
            self._enter("sync")

    def put(self, job_id: str, name: str, data: bytes) -> None:
        check_job_id(job_id)
        check_visible(name)
        with self._lock:
            self._enter("put")
            if self._owner != job_id or job_id not in self._jobs:
                raise DestinationConnectionError(f"{name} cannot be written: its job was removed meanwhile")
            self._files[name] = (bytes(data), self._clock())

    def stat(self, name: str) -> StoredFile | None:
        check_name(name)
        with self._lock:
            self._enter("stat")
            found = self._files.get(name)
            return None if found is None else StoredFile(name=name, bytes=len(found[0]), modified=found[1])

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        with self._lock:
            self._enter("list")
            found = [
                StoredFile(name=name, bytes=len(data), modified=modified)
                for name, (data, modified) in sorted(self._files.items())
                if name.startswith(prefix) and (prefix.startswith(HIDDEN) or not name.startswith(HIDDEN + "/"))
            ]
        yield from found

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        check_name(name)
        check_range(name, offset, length)
        with self._lock:
            self._enter("read")
            if name not in self._files:
                raise RequestError(f"{name} is not at the destination", status_code=404)
            data = self._files[name][0]
        end = len(data) if length is None else min(len(data), offset + length)
        for start in range(offset, end, CHUNK):
            yield data[start : min(start + CHUNK, end)]

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            check_name(name)
        with self._lock:
            self._enter("delete")
            for name in names:
                self._files.pop(name, None)

    def sweep(self, job_id: str, keep: frozenset[str]) -> Sequence[str]:
        check_job_id(job_id)
        with self._lock:
            self._enter("sweep")
            parts = sorted(name for name in self._files if self._is_part(name, job_id))
            removed = [name for name in parts if name not in keep]
            for name in removed:
                del self._files[name]
            if len(removed) == len(parts):
                self._jobs.discard(job_id)
            return removed

    def forget(self, job_id: str, names: Sequence[str] = ()) -> None:
        check_job_id(job_id)
        for name in names:
            check_visible(name)
        with self._lock:
            self._enter("forget")
            if self._owner == job_id:
                for name in names:
                    self._files.pop(name, None)
                self._owner = None
            if not any(name.startswith(f"{HIDDEN}/{job_id}/") for name in self._files):
                self._jobs.discard(job_id)

    def url_for(self, name: str, seconds: float) -> str:  # noqa: ARG002 - there is none
        check_name(name)
        raise RequestError("files in memory have no URL")

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        """Nothing to give back: the files stay, the object is the place."""

    def _is_part(self, name: str, job_id: str) -> bool:
        return name.startswith(f"{HIDDEN}/{job_id}/") if self.renames else is_visible_part(name, job_id)

    def _enter(self, operation: str) -> None:
        for position, (when, error) in enumerate(self._failures):
            if when == operation:
                del self._failures[position]
                raise error

    def _appear(self, name: str, job_id: str, data: bytes) -> None:
        with self._lock:
            self._enter("commit")
            if job_id not in self._jobs:
                raise DestinationConnectionError(f"{name} cannot be written: its job was removed meanwhile")
            self._files[name] = (data, self._clock())


class _MemoryFile:
    """A file that is in nobody's sight until `commit`."""

    def __init__(self, destination: MemoryDestination, name: str, job_id: str) -> None:
        self._destination = destination
        self._name = name
        self._job_id = job_id
        self._data: bytearray | None = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        with self._destination._lock:
            self._destination._enter("write")
        if self._data is None:
            raise PermanentError(f"{self._name} is closed already")
        self._data += data

    def commit(self) -> None:
        if self._data is None:
            raise PermanentError(f"{self._name} is closed already")
        self._destination._appear(self._name, self._job_id, bytes(self._data))
        self._data = None

    def abort(self) -> None:
        self._data = None
