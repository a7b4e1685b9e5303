"""The dock's contract. One conformance suite (`tests/conformance/test_destination.py`) proves every implementation.

Names are relative, `/`-separated, made of `[A-Za-z0-9._-]` segments that are neither `.` nor `..` nor empty; anything
else is refused with RequestError before any I/O. What `create` writes is whole or not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the destination has it. bytes: as stored. modified: microseconds since 1970, by the destination's clock."""

    name: str
    bytes: int
    modified: int


class FileWriter(Protocol):
    """One file being written. Belongs to one thread at a time."""

    def write(self, data: bytes | memoryview) -> None:
        """Append. DestinationUnavailable (disk full, passing), DestinationConnectionError (for good)."""
        ...

    def commit(self) -> None:
        """Make the file whole, durable (fsync) and visible under its name. The name itself is durable after `sync`, which
        so costs once for many files."""
        ...

    def abort(self) -> None:
        """Leave nothing behind. Idempotent, never raises; harmless after `commit`."""
        ...


class Destination(Protocol):
    """Where files go. Safe for several threads."""

    renames: bool
    """True: `publish` is cheap, so runs write under hidden part names and the task gives the final name."""

    def prepare(self, job_id: str) -> None:
        """Check that the destination can take this job and claim it: make what is needed, write the job's mark.
        Idempotent for the same job. FolderInUse when it holds another export (or files one would mix with),
        DestinationConnectionError, DestinationUnavailable."""
        ...

    def check(self, job_id: str | None = None) -> None:
        """The same checks without writing anything (dry run, kick-off)."""
        ...

    def part_name(self, job_id: str, stem: str, suffix: str = ".ndjson") -> str:
        """Name for a run's uncommitted file. stem: `deleted/Bundle-3-<token>`, with the folders that the file is to lie
        in and a token that no other run draws. Where `renames`, a hidden `.fhirferry/<job>/Bundle-3-<token>.part`; else
        what readers will see."""
        ...

    def create(self, name: str) -> FileWriter:
        """Start a file. Makes no folder that `prepare` did not make: a late unit of a removed job must fail."""
        ...

    def publish(self, part: str, name: str) -> None:
        """Give a committed part its final name. Idempotent: done already is success. PermanentError when neither exists."""
        ...

    def sync(self) -> None:
        """Make the names durable that this object committed or published since (fsync of the folders they lie in)."""
        ...

    def put(self, job_id: str, name: str, data: bytes) -> None:
        """A small file of this job, whole and durable, replacing one of that name. DestinationConnectionError when the
        job is not prepared here, or was removed meanwhile: a late writer cannot touch the next export's files."""
        ...

    def stat(self, name: str) -> StoredFile | None:
        """None when there is no such file."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Files whose name starts with prefix, by name; hidden ones (`.fhirferry/`) only when the prefix names them."""
        ...

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a file in chunks of at most 1 MiB. RequestError when it does not exist."""
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Remove files, and folders of ours that this empties. A missing one is no error."""
        ...

    def sweep(self, job_id: str, keep: frozenset[str]) -> Sequence[str]:
        """Remove the job's parts except `keep`, and its part folder when empty; the names removed. Touches nothing else."""
        ...

    def forget(self, job_id: str, names: Sequence[str] = ()) -> None:
        """Where the mark is this job's: remove these visible files, then the mark; the place is free for another export.
        Else touches nothing but the job's empty part folder. No other job gets the place in between, however long this
        takes; DestinationUnavailable when somebody else has been at it for long."""
        ...

    def url_for(self, name: str, seconds: float) -> str:
        """A URL under which anybody can read the file for so long. RequestError where the place, or the way it was opened,
        has none; whether the file exists is not asked."""
        ...

    def free_bytes(self) -> int | None:
        """Room left; None where the notion makes no sense."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...
