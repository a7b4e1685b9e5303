"""stdout carries results, stderr progress and messages; both keep working when nobody reads them any more."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:  # a run that fails early never needs it, and it is slow to import
    from msgspec import Struct


class Console:
    """Where a command writes. Safe for threads.

    json: results are JSON lines, and texts for people are not printed on stdout. quiet: nothing on stderr but errors.
    closed: the reader of stdout has gone (`| head`): results are dropped from then on, the work itself goes on.
    lost: stdout could not take a result (a full disk).
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.closed = False
        self.lost = False
        self._line = 0  # width of the progress line that stands on the terminal
        self._lock = threading.RLock()  # re-entrant: a signal handler may say something while we are writing

    @property
    def on_terminal(self) -> bool:
        """Progress can be rewritten in place."""
        return sys.stderr is not None and sys.stderr.isatty()

    def text(self, text: str) -> None:
        """A result for people."""
        if not self.json:
            self._result(text)

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

    def progress(self, text: str) -> None:
        """The present state: replaces the last one on a terminal, a line of its own elsewhere."""
        if self.quiet:
            return
        if not self.on_terminal:
            self._message(text)
            return
        with self._lock:
            _write(sys.stderr, f"\r{text:<{self._line}}")
            self._line = len(text)

    def end_progress(self) -> None:
        """Leave the progress line standing; what follows starts on a line of its own."""
        with self._lock:
            if self._line:
                self._line = 0
                _write(sys.stderr, "\n")

    def flush(self) -> None:
        """Hand everything to the system. Never raises."""
        self._result("", end="")

    def _message(self, text: str) -> None:
        with self._lock:
            self.end_progress()
            _write(sys.stderr, text + "\n")

    def _result(self, text: str, end: str = "\n") -> None:
        with self._lock:
            if text:
                self.end_progress()
            if self.closed:
                return
            error = _write(sys.stdout, text + end)
            if error is not None:
                self.closed = True
                if not isinstance(
                    error, BrokenPipeError
                ):  # `| head` has what it wanted; a full disk has lost something
                    self.lost = True
                    self.error(f"Error: the results could not be written to stdout: {error.strerror or error}")


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
