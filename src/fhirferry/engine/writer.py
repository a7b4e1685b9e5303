"""The byte path's last stretch: pages in, one durable file out.

A thread of its own hashes, compresses and writes while the caller reads the next page: SQLite, SHA-256, deflate and
write(2) all release the interpreter lock, so reading and writing overlap on two cores. It starts with the second page: a
file of one page has nothing to overlap with. At most `AHEAD` bytes wait
between the two, or a single larger page: memory is bounded by bytes, not by the difference in speed.
"""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from fhirferry.destinations.protocol import Destination, FileWriter
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind

if TYPE_CHECKING:
    from fhirferry.engine.packer import Packer

AHEAD = 4_000_000


class NdjsonWriter:
    """One output file of one run (S19: made by its first page, so no empty file is ever written).

    name: the part name, which holds the run's token. count, raw_bytes: what was handed in so far.
    """

    def __init__(self, destination: Destination, name: str, *, kind: Kind, type: str, compression: str) -> None:  # noqa: A002
        self.name = name
        self.kind = kind
        self.type = type
        self.count = 0
        self.raw_bytes = 0
        self._bytes = 0
        self._hash = hashlib.sha256()
        self._packer = _packer() if compression == "gzip" else None
        self._file: FileWriter = destination.create(name)
        self._pages: SimpleQueue[bytes | None] = SimpleQueue()
        self._ahead = 0
        self._stored = threading.Condition()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def write(self, body: bytes, count: int) -> None:
        """Hand over a page: NDJSON of `count` lines, each ended by a newline. Waits while it would be too far ahead.

        Raises what writing an earlier page raised.
        """
        if self.raw_bytes and self._thread is None:
            self._thread = threading.Thread(target=self._carry, name=f"writer {self.name}", daemon=True)
            self._thread.start()
        with self._stored:
            self._stored.wait_for(lambda: self._ahead == 0 or self._ahead + len(body) <= AHEAD)
            if self._error is not None:
                raise self._error
            self._ahead += len(body)
        self._pages.put(body)
        self.count += count
        self.raw_bytes += len(body)

    def close(self, partition: int) -> OutputFile:
        """Write what waits, make the file durable, and tell what it holds. On an error nothing is left behind."""
        self._end()
        try:
            if self._error is not None:
                raise self._error
            if self._packer is not None:
                self._store(self._packer.flush())
            self._file.commit()
        except BaseException:
            self._file.abort()
            raise
        return OutputFile(
            kind=self.kind,
            type=self.type,
            part=self.name,
            count=self.count,
            bytes=self._bytes,
            raw_bytes=self.raw_bytes,
            sha256=self._hash.hexdigest(),
            partition=partition,
        )

    def abort(self) -> None:
        """Leave nothing behind. Never raises."""
        if self._thread is not None:
            self._end()
        self._file.abort()

    def _end(self) -> None:
        self._pages.put(None)
        if self._thread is None:
            self._carry()
        else:
            self._thread.join()

    def _carry(self) -> None:
        while (body := self._pages.get()) is not None:
            if self._error is None:
                try:
                    self._store(body if self._packer is None else self._packer.compress(body))
                except BaseException as error:
                    self._error = error
            size = len(body)
            del body  # do not hold a page while waiting for the next
            with self._stored:
                self._ahead -= size
                self._stored.notify()

    def _store(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)
        self._bytes += len(data)


def _packer() -> Packer:
    from fhirferry.engine.packer import Packer  # only a compressed export needs it

    return Packer()
