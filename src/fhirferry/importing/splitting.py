"""A Bundle too large to be looked at as a whole, cut into entries while it is read through a window.

Theory of operation. msgspec decodes one value and says at which byte more follows: that is where the next one starts.
So each value is passed over at the decoder's speed, and the window needs to hold no more than one. What msgspec says is
text; should it ever say it otherwise, `Unsplit` sends the caller back to reading the document as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

import msgspec

WINDOW = 1 << 20

_value = msgspec.json.Decoder(msgspec.Raw).decode
_follows = re.compile(r"trailing characters \(byte (\d+)\)").search
_visible = re.compile(rb"[^ \t\r\n]").search


class Unsplit(Exception):
    """This document cannot be cut, or is no JSON object; `str()` says why."""


class Splitter:
    """A position in a file of JSON; between values, never within one."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._base = start  # where the window begins in the file
        self._window = b""
        self._at = 0
        file.seek(start)

    def tell(self) -> int:
        """The position in the file, to go on from there with another splitter."""
        return self._base + self._at

    def take(self, mark: bytes) -> bool:
        """Pass over white space, and over `mark` if it comes next."""
        self._skip()
        if self._window[self._at : self._at + 1] != mark:
            return False
        self._at += 1
        return True

    def ended(self) -> bool:
        """Nothing but white space is left."""
        self._skip()
        return self._at == len(self._window)

    def value(self) -> bytes:
        """The value that comes next, proven as far as msgspec proves it."""
        self._skip()
        while True:
            try:
                _value(memoryview(self._window)[self._at :])
                length = len(self._window) - self._at
                if self._more():
                    continue  # a number may go on behind the window
            except msgspec.DecodeError as error:
                follows = _follows(str(error))
                if follows is None:
                    if "truncated" in str(error) and self._more():
                        continue
                    raise Unsplit(str(error)) from None
                length = int(follows[1]) - 1  # it counts the byte that follows
            except RecursionError:
                raise Unsplit("nested too deep") from None
            value = self._window[self._at : self._at + length]
            self._at += length
            return value.rstrip()

    def elements(self) -> Iterator[bytes]:
        """The elements of the array whose `[` was just taken, to behind its `]`."""
        if self.take(b"]"):
            return
        while True:
            yield self.value()
            if not self.take(b","):
                break
        if not self.take(b"]"):
            raise Unsplit("an array does not end")

    def _skip(self) -> None:
        while True:
            visible = _visible(self._window, self._at)
            self._at = visible.start() if visible else len(self._window)
            if visible or not self._more():
                return

    def _more(self) -> bool:
        """Forget what lies behind, and read on: as much again as is there, so that a long value is tried few times."""
        rest = self._window[self._at :]
        piece = self._file.read(max(WINDOW, len(rest)))
        self._base, self._at = self._base + self._at, 0
        self._window = rest + piece
        return bool(piece)
