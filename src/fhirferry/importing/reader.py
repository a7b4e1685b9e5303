"""The process that reads for an import (`ahead` starts it): orders come in, chunks of items go out.

Three threads: one takes orders, one reads, one sends. The first also notices that the parent is gone, whatever the
others do; the last sits in the kernel while the parent is busy writing, so that reading goes on until HELD is full.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from fhirferry.importing.frames import LENGTH, Chunk, Order, decode_order, encode_chunk, receive
from fhirferry.importing.importer import CLOCK_EVERY, read_file, weight
from fhirferry.importing.inputs import Input

FRAME = 500_000
"""Bytes of items, roughly, that make a frame."""
PAUSE = 0.5
"""Seconds after which a frame is sent that is not full: slow reading must not keep what it already gave."""
HELD = 32_000_000
"""Bytes that wait for the parent: about what it writes at once."""
SWITCH = 0.0001
"""Seconds: how long the thread that sends waits for the one that reads. By default it is longer than sending takes."""
PIPE = 1 << 20
"""Bytes that the pipe holds. Linux's limit for everybody."""


def serve() -> None:
    """Answer orders until the input ends; then the process ends at once, whatever it is at."""
    _widen(sys.stdout.fileno())
    sys.setswitchinterval(SWITCH)
    orders: SimpleQueue[Order] = SimpleQueue()
    outbox = _Outbox()
    threading.Thread(target=_take_orders, args=(orders,), daemon=True).start()
    threading.Thread(target=outbox.run, args=(sys.stdout.fileno(),), daemon=True).start()
    while True:
        order = orders.get()
        _answer(Input(Path(os.fsdecode(order.path)), order.role), order.strict, outbox)


def _take_orders(orders: SimpleQueue[Order]) -> None:
    while (frame := receive(sys.stdin.buffer)) is not None:
        orders.put(decode_order(frame))
    os._exit(0)  # nothing here is worth waiting for


def _answer(source: Input, strict: bool, outbox: _Outbox) -> None:
    items = []
    read = 0

    def on_read(count: int) -> None:
        nonlocal read
        read += count

    room, due = FRAME, monotonic() + PAUSE
    for item in read_file(source, strict, on_read):
        items.append(item)
        room -= weight(item)
        if room <= 0 or (len(items) % CLOCK_EVERY == 0 and monotonic() >= due):
            del item  # up to 25 MB, which the next one needs
            outbox.put(encode_chunk(Chunk(items, last=False, read=read)))
            items, read, room, due = [], 0, FRAME, monotonic() + PAUSE
    outbox.put(encode_chunk(Chunk(items, last=True, read=read)))


class _Outbox:
    """Frames on their way to the parent, HELD bytes at most (or one frame of any size)."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._held = 0
        self._changed = threading.Condition()

    def put(self, body: bytes) -> None:
        """Wait until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + len(body) <= HELD)
            self._frames.append(body)
            self._held += len(body)
            self._changed.notify_all()

    def run(self, out: int) -> None:
        """Send for ever; a parent that takes no more is gone."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._frames))
                    body = self._frames.popleft()
                _write(out, len(body).to_bytes(LENGTH, "big"))
                _write(out, body)
                with self._changed:
                    self._held -= len(body)
                    self._changed.notify_all()
                del body
        except OSError:
            os._exit(0)


def _widen(pipe: int) -> None:
    """Fewer turns between the two processes, where the system can."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl  # Linux only

        fcntl(pipe, F_SETPIPE_SZ, PIPE)
    except (ImportError, OSError):
        pass


def _write(out: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(out, left) :]
