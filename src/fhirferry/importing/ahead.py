"""Files read ahead by a process of its own, while this one writes what it has got.

Theory of operation. Reading costs as much time as SQLite needs for the rows, and Python runs one of them at a time; so
a large import has a child that reads. It is told of a few files at a time, and answers with frames of ready items
(`frames`), file after file. It holds back about a batch, then it waits. Small imports and what is no regular file are
read here. The child is a helper, not a need: whatever becomes of it, the rest is read here, from the item on where it
broke off. It ends when its input does, which is when its parent closes it or is gone.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from fhirferry.importing.bundle import Item
from fhirferry.importing.frames import Order, decode_chunk, encode_order, receive, send
from fhirferry.importing.inputs import COMPRESSED, Input, size_of
from fhirferry.importing.opening import OnRead

AHEAD_FROM = 16_000_000
"""Bytes to read that are worth starting a process."""
UNPACKED_AS = 8
"""Bytes that a compressed one stands for, roughly."""
FILES_AHEAD = 64
PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from fhirferry.importing.reader import serve; serve()"

Read = Callable[[Input, bool, OnRead], Iterator[Item]]


def read_files(
    sources: Iterable[Input], strict: bool, read: Read, on_read: OnRead
) -> Generator[tuple[Input, Iterator[Item]], None, None]:
    """Every file, with its items as `read` gives them, which a process may do ahead. Exhaust (or drop) the items of a
    file before asking for the next; close the generator to end the process. on_read: told of what their items took."""
    coming = iter(sources)
    window: deque[tuple[Input, bool]] = deque()
    child: _Child | None = None
    known = 0
    try:
        while True:
            for source in islice(coming, FILES_AHEAD - len(window)):
                size = _size(source)
                known += size or 0
                if child is None and known > AHEAD_FROM:
                    child = _Child()
                    window = deque((each, child.ask(each, strict, _size(each))) for each, _ in window)
                window.append((source, child is not None and child.ask(source, strict, size)))
            if not window:
                return
            source, asked = window.popleft()
            yield source, _given(child if asked else None, source, strict, read, on_read)
    finally:
        if child is not None:
            child.close()


def _size(source: Input) -> int | None:
    """About how many bytes there are to read; None when only this process can read them, or nobody."""
    size = size_of(source)
    if size is None:
        return None
    return size * (UNPACKED_AS if source.path.suffix.lower() in COMPRESSED else 1)


def _given(child: _Child | None, source: Input, strict: bool, read: Read, on_read: OnRead) -> Iterator[Item]:
    return child.items(source, strict, read, on_read) if child else read(source, strict, on_read)


class _Child:
    """The process that reads. Nothing here raises for what becomes of it."""

    def __init__(self) -> None:
        import subprocess  # slow to import, and small imports need none

        self._process: subprocess.Popen[bytes] | None = None
        # No more processes, or no interpreter to start: then all is read here.
        with suppress(OSError):
            # In a session of its own: Ctrl-C is for the parent, who ends it.
            self._process = subprocess.Popen(  # noqa: S603 - this program itself
                [sys.executable or "", "-c", PROGRAM, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what it would say, reading here says again
                start_new_session=True,
            )

    def ask(self, source: Input, strict: bool, size: int | None) -> bool:
        """Have a file read after those asked before; False when it must be read here."""
        if size is not None and self._process is not None and self._process.stdin is not None:
            try:
                send(self._process.stdin, encode_order(Order(os.fsencode(source.path), source.role, strict)))
                self._process.stdin.flush()
                return True
            except OSError:
                self.close()
        return False

    def items(self, source: Input, strict: bool, read: Read, on_read: OnRead) -> Iterator[Item]:
        """The items of the first file that was asked for and not given yet."""
        taken = 0
        while self._process is not None and self._process.stdout is not None:
            frame = receive(self._process.stdout)
            if frame is None:
                self.close()
                break
            chunk = decode_chunk(frame)
            del frame  # up to 25 MB, while the store writes the same 25 MB (L7)
            items, last = iter(chunk.items), chunk.last
            taken += len(chunk.items)
            on_read(chunk.read)
            del chunk
            yield from items
            if last:
                return
        yield from islice(read(source, strict, on_read), taken, None)

    def close(self) -> None:
        """End the process and collect it. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                with suppress(OSError):  # an order that nobody took
                    pipe.close()
