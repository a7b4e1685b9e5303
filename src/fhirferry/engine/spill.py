"""Bringing equal keys together in bounded memory, however many there are.

Entries are dealt to 64 buckets by a hash of their key. When too many wait in memory, every bucket goes to a file of its
own; in the end each bucket is read by itself, and one that is still too large is dealt again by further bits of the
hash. So whoever folds a bucket holds at most `memory` keys at a time, and every entry is written about once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from zlib import crc32

import msgspec

from fhirferry.model.errors import TransientError

_BITS = 6
BUCKETS = 1 << _BITS
_MASK = BUCKETS - 1
_LEVELS = 5  # crc32 has 32 bits; what five deals cannot part is a handful of keys, repeated
_LENGTH = 4


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key and where it was seen. side: which of the compared sets. digest: of what lies there, empty if unused."""

    key: str
    side: int
    file: int
    line: int
    digest: bytes = b""


class Spill:
    """Takes entries in any order, gives them back bucket by bucket. Removes its files on the way and when closed.

    memory: entries held at a time. folder: where temporary files go, None = the system's place for them (`TMPDIR`).
    The files hold keys and digests, never what they were taken from, in a folder that only this user can enter.
    `add` and `buckets` raise TransientError when that folder cannot take them.
    """

    def __init__(self, *, memory: int = 100_000, folder: Path | None = None, level: int = 0) -> None:
        self._memory = memory
        self._folder = folder
        self._level = level
        self._own: Path | None = None
        self._buckets: list[list[Entry]] = [[] for _ in range(BUCKETS)]
        self._counts = [0] * BUCKETS
        self._waiting = 0
        self._encoder = msgspec.msgpack.Encoder()

    def add(self, entries: Sequence[Entry]) -> None:
        """Take entries, at best many at once."""
        buckets, shift = self._buckets, self._level * _BITS
        for entry in entries:
            buckets[crc32(entry.key.encode()) >> shift & _MASK].append(entry)
        self._waiting += len(entries)
        if self._waiting >= self._memory:
            self._write()

    def buckets(self) -> Iterator[Iterable[Entry]]:
        """All entries, each bucket to be read before the next is asked for. Entries of a key are in one bucket, in the
        order in which they were added. A bucket has at most `memory` distinct keys."""
        if self._own is None:
            yield from filter(None, self._buckets)
            return
        self._write()
        for number, count in enumerate(self._counts):
            if not count:
                continue
            path = self._path(number)
            if count <= self._memory or self._level + 1 == _LEVELS:
                yield chain.from_iterable(_read(path))
            else:
                with Spill(memory=self._memory, folder=self._own, level=self._level + 1) as finer:
                    for entries in _read(path):
                        finer.add(entries)
                    yield from finer.buckets()
            path.unlink()

    def close(self) -> None:
        """Remove the temporary files. Idempotent."""
        if self._own is not None:
            import shutil  # 5 ms at start-up, needed only when something was spilled

            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None

    def _write(self) -> None:
        try:
            if self._own is None:
                import tempfile  # 5 ms at start-up, needed only when something is spilled

                self._own = Path(tempfile.mkdtemp(prefix="fhirferry-", dir=self._folder))
            for number, entries in enumerate(self._buckets):
                if entries:
                    frame = self._encoder.encode(entries)
                    with self._path(number).open("ab") as file:
                        file.write(len(frame).to_bytes(_LENGTH, "little") + frame)
                    self._counts[number] += len(entries)
                    entries.clear()
        except OSError as error:
            raise TransientError(
                f"cannot write temporary files ({error.strerror}); set TMPDIR to a folder with room"
            ) from error
        self._waiting = 0

    def _path(self, number: int) -> Path:
        assert self._own is not None  # noqa: S101 - only called after the first write
        return self._own / f"{number:02d}"

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_decoder = msgspec.msgpack.Decoder(list[Entry])


def _read(path: Path) -> Iterator[list[Entry]]:
    with path.open("rb") as file:
        while frame := _frame(file):
            yield _decoder.decode(frame)


def _frame(file: BinaryIO) -> bytes:
    return file.read(int.from_bytes(file.read(_LENGTH), "little"))
