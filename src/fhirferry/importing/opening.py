"""Bytes of a file, plain or compressed; its first bytes tell which, not its name.

A file that ends too early must not pass for a short one: gzip knows it by its trailer, an export's gzip by its last member
too, zstandard by its frame's end. What is whole before is read.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
BOM = b"\xef\xbb\xbf"
CHUNK = 1 << 20
ZSTD_FEED = 1 << 15
"""Compressed bytes at a time: one call of the decompressor cannot be told how much to give back."""


Reader: TypeAlias = "io.BufferedReader[Any]"


OnRead = Callable[[int], None]
"""Told bytes of a file, as they are stored, while they are read. What is looked at through a map is not told."""


class Unreadable(OSError):
    """The file cannot be read to its end; `str()` says why."""


class Content:
    """The uncompressed bytes of a file, behind its byte order mark. Use as a context manager.

    Opening and everything read from `stream` raise OSError; Unreadable is one. on_read: see OnRead.
    """

    def __init__(self, path: Path, on_read: OnRead | None = None) -> None:
        self._spool: Any = None
        raw = io.FileIO(path, "rb") if on_read is None else _Told(path, on_read)
        self._file: Reader = io.BufferedReader(raw, CHUNK)
        self.stream: Reader
        try:
            magic = self._file.peek(4)[:4]
            self._plain = False
            if magic[:2] == GZIP:
                self.stream = io.BufferedReader(_Gzip(self._file), CHUNK)
            elif magic == ZSTD:
                self.stream = io.BufferedReader(_Zstd(self._file), CHUNK)
            else:
                self._plain, self.stream = True, self._file
            if self.stream.peek(3)[:3] == BOM:
                self.stream.read(3)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()
        self._file.close()
        if self._spool is not None:
            self._spool.close()

    def document(self) -> Document:
        """What is left in `stream` as a document, which is valid as long as this. Compressed bytes go through a
        temporary file, so that a document of any size costs no memory of this process."""
        if self._plain:
            return Document(self._file, self._file.tell())
        import tempfile  # slow to import, and only compressed documents need it

        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the rest
        while piece := self.stream.read(CHUNK):
            self._spool.write(piece)
        return Document(self._spool, 0)


class _Told(io.FileIO):
    """A file that tells what is read of it."""

    def __init__(self, path: Path, on_read: OnRead) -> None:
        super().__init__(path, "rb")
        self._on_read = on_read

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self._on_read(count)
        return count


class Document:
    """A file from `start` to its end."""

    def __init__(self, file: Any, start: int) -> None:
        self.file = file
        self.start = start
        self.size = file.seek(0, io.SEEK_END) - start

    def map(self) -> memoryview:
        """As one buffer. Pages that were looked at count as this process's memory until it ends."""
        if not self.size:
            return memoryview(b"")  # nothing cannot be mapped
        self.file.flush()
        return memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))[self.start :]


class _Gzip(io.RawIOBase):
    """gzip with all its members; every kind of damage is Unreadable, behind what is whole."""

    def __init__(self, file: Reader) -> None:
        from fhirferry.bulkdata.members import CompressionDamaged, gunzip

        self._pieces = gunzip(iter(lambda: file.read(CHUNK), b""))
        self._error = CompressionDamaged
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._ready:
            try:
                self._ready = memoryview(next(self._pieces, b""))
            except self._error as error:
                raise Unreadable(str(error)) from None
        return _take(self, buffer)


class _Zstd(io.RawIOBase):
    """zstandard with all its frames. (The library's own reader takes a frame that is cut off for a whole one.)"""

    def __init__(self, file: Reader) -> None:
        try:
            import zstandard
        except ImportError:
            raise Unreadable("zstandard is not installed; pip install 'fhirferry[zstd]'") from None
        self._file = file
        self._decompressor = zstandard.ZstdDecompressor()
        self._error = zstandard.ZstdError
        self._frame: Any = None
        self._unused = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._unused or self._file.read(ZSTD_FEED)
            self._unused = b""
            if not data:
                if self._frame is not None:
                    raise Unreadable("the zstandard frame ends too early: the file is cut off")
                return 0
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            try:
                self._ready = memoryview(self._frame.decompress(data))
            except self._error as error:
                raise Unreadable(f"the zstandard frame is damaged: {error}") from None
            if self._frame.eof:
                self._unused, self._frame = self._frame.unused_data, None
        return _take(self, buffer)


def _take(stream: _Gzip | _Zstd, buffer: Any) -> int:
    """Of what is ready as much as the buffer takes."""
    count = min(len(buffer), len(stream._ready))
    buffer[:count] = stream._ready[:count]
    stream._ready = stream._ready[count:]
    return count
