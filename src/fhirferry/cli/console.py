"""stdout carries results, stderr progress and messages; both keep working when nobody reads them any more."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from fhirferry.cli.tables import can_draw, terminal_width
from fhirferry.cli.words import folded

if TYPE_CHECKING:  # a run that fails early never needs it, and it is slow to import
    from msgspec import Struct

    from fhirferry.cli.live import Live
    from fhirferry.cli.view import View


class Console:
    """Where a command writes. Safe for threads.

    json: results are JSON lines, and texts for people are not printed on stdout. quiet: nothing on stderr but errors
    and what was bad in the data.
    closed: the reader of stdout has gone (`| head`): results are dropped from then on, the work itself goes on.
    lost: stdout could not take a result (a full disk).
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.closed = False
        self.lost = False
        self._live: Live | None = None
        self._lock = threading.RLock()  # re-entrant: a signal handler may say something while we are writing
        self._writing = False
        self._late: list[Callable[[], None]] = []

    @property
    def on_terminal(self) -> bool:
        """Somebody looks at stderr, and what is there can be drawn over."""
        if sys.stderr is None or not sys.stderr.isatty():
            return False
        return can_draw(os.environ) and os.environ.get("CI", "false").lower() in ("", "0", "false")

    def text(self, text: str) -> None:
        """A result for people."""
        if not self.json:
            self._result(folded(text, terminal_width(sys.stdout)))

    def line(self, line: Struct) -> None:
        """A result for programs: one of the types of `lines.py`."""
        if self.json:
            from msgspec import json

            self._result(json.encode(line).decode())

    def say(self, text: str) -> None:
        """A message for people."""
        if not self.quiet:
            self._message(text)

    def error(self, text: str) -> None:
        """A message that -q does not silence."""
        self._message(text)

    def show(self, look: Callable[[], View | None]) -> bool:
        """Draw what `look` sees at the bottom of the terminal until `end_progress`; messages and results come above it.
        False, and nothing is drawn, where there is no terminal or nobody wants progress."""
        if self.quiet or not self.on_terminal:
            return False
        self.end_progress()
        from fhirferry.cli.live import Live

        self._live = Live(look, self._turn)
        return True

    @property
    def drawing(self) -> bool:
        """Whoever reads the results sees the bars too."""
        return self._live is not None and sys.stdout is not None and sys.stdout.isatty()

    def end_progress(self) -> None:
        """Nothing is drawn any more, and what was is gone."""
        live, self._live = self._live, None
        if live is not None:
            live.close()

    def leave(self) -> None:
        """The process ends within this call's caller: what is drawn stays, and a line of its own is begun below it."""
        if self._live is not None and self._live.standing:
            with suppress(OSError):
                os.write(2, b"\n")

    def flush(self) -> None:
        """Hand everything to the system. Never raises."""
        self._result("", end="")

    def _message(self, text: str) -> None:
        def write() -> None:
            if self._live is not None:
                self._live.clear()
            _write(sys.stderr, folded(text, terminal_width(sys.stderr)) + "\n")

        self._turn(write)

    def _result(self, text: str, end: str = "\n") -> None:
        def write() -> None:
            if self.closed:
                return
            if text and self._live is not None:
                self._live.clear()
            error = _write(sys.stdout, text + end)
            if error is not None:
                self.closed = True
                if not isinstance(
                    error, BrokenPipeError
                ):  # `| head` has what it wanted; a full disk has lost something
                    self.lost = True
                    self.error(f"Error: the results could not be written to stdout: {error.strerror or error}")

        self._turn(write)

    def _turn(self, write: Callable[[], None]) -> None:
        """One writer at a time. What a signal handler says while its own thread is writing comes right after that."""
        with self._lock:
            self._late.append(write)
            if self._writing:
                return
            self._writing = True
            try:
                while self._late:
                    self._late.pop(0)()
            finally:
                self._writing = False


def _write(stream: IO[str] | None, text: str) -> OSError | None:
    """The error that ended the stream, which then swallows what comes, also at the interpreter's end. A stream that was
    closed before we started (None) swallows everything: messages never fail the work."""
    if stream is None:
        return None
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        with suppress(OSError):  # what the stream still holds goes nowhere now
            stream.flush()
        return error
    return None
