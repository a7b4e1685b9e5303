"""The first Ctrl-C or SIGTERM asks for a stop at the next commit point, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fhirferry.cli.console import Console
from fhirferry.cli.exits import Exit


@contextmanager
def stop_on_signal(console: Console, first: str) -> Iterator[threading.Event]:
    """The event is set by the first signal, which says `first`. Former handlers come back at the end."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
        if stop.is_set():
            # No clean-up on purpose: whoever asks twice waits no longer, and what is committed is safe by design.
            console.leave()
            os._exit(Exit.FORCED)
        stop.set()
        console.say(first)

    former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
