"""A terminal of chosen size with a command in it: what it shows, not what was sent."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte

from tests.acceptance.ferrying import SCRIPT


class Terminal:
    """`fhirferry …` in a terminal of its own. env: beside what a terminal sets. results: where stdout goes, if not there.

    sent: every byte so far. Close it: what still runs is ended.
    """

    def __init__(
        self,
        columns: int,
        rows: int,
        *arguments: object,
        at: Path,
        program: Sequence[str] = (SCRIPT,),
        results: int | None = None,
        **env: str,
    ) -> None:
        self.sent = b""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        inherited = {k: v for k, v in os.environ.items() if k not in ("CI", "COLUMNS", "LINES", "NO_COLOR")}
        self.child = subprocess.Popen(
            [*program, *map(str, arguments)],
            stdin=slave,
            stdout=slave if results is None else results,
            stderr=slave,
            cwd=at,
            start_new_session=True,
            env={**inherited, "TERM": "xterm-256color", "FHIRFERRY_POLL": "20ms", **env},
        )
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        """As when somebody drags the window's corner."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)

    @property
    def lines(self) -> list[str]:
        """What stands there, from the first line to the last that is not empty."""
        shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def cursor(self) -> tuple[int, bool]:
        """Its column, and whether it is to be seen."""
        return self._screen.cursor.x, not self._screen.cursor.hidden

    def until(self, seen: Callable[[list[str]], object], timeout: float = 30) -> list[str]:
        """The lines at the first moment at which they are `seen`."""
        end = time.monotonic() + timeout
        while not seen(self.lines):
            assert time.monotonic() < end, "\n".join(self.lines)
            assert self._read(), "it ended before:\n" + "\n".join(self.lines)
        return self.lines

    def signal(self, number: signal.Signals = signal.SIGINT) -> None:
        self.child.send_signal(number)

    def end(self, timeout: float = 60) -> int:
        """The exit code, when all that it had to say is on the screen."""
        limit = time.monotonic() + timeout
        while self._read():
            assert time.monotonic() < limit, "\n".join(self.lines)
        code = self.child.wait(timeout=10)
        assert b"Traceback" not in self.sent, self.sent.decode()
        return code

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> bool:
        """Wait a moment for more; False when nobody can send more."""
        if not select.select([self._master], [], [], 0.05)[0]:
            return self.child.poll() is None
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # Linux: the other side is closed
            return False
        self.sent += data
        self._stream.feed(data)
        return bool(data)
