"""gzip for a file that is written page by page, in members, so that a file that is cut off is seen to be."""

from __future__ import annotations

from typing import Any

from fhirferry.bulkdata.members import END, HEAD, deflate, trailer

MEMBER = 4_000_000
"""Bytes before compression after which a member ends with the page. Each begins to learn anew: half of it costs 0.5 %
of the stored size, this 0.2 %."""


class Packer:
    """Pages in, gzip out. Level 1: storage and network are the goal, not the last percent; isal does it at the speed
    of the disk."""

    def __init__(self) -> None:
        self._zlib = deflate()
        self._member: Any = None
        self._size = self._crc = 0

    def compress(self, page: bytes) -> bytes:
        """What of it and of those before can be stored. Pages are whole lines, so members are too."""
        head = b""
        if self._member is None:
            head, self._member = HEAD, self._zlib.compressobj(1, self._zlib.DEFLATED, -15)
        self._crc = self._zlib.crc32(page, self._crc)
        self._size += len(page)
        packed: bytes = head + self._member.compress(page)
        return packed if self._size < MEMBER else packed + self._end_member()

    def flush(self) -> bytes:
        """The end of the file."""
        return self._end_member() + END

    def _end_member(self) -> bytes:
        if self._member is None:
            return b""
        rest: bytes = self._member.flush() + trailer(self._crc, self._size)
        self._member, self._size, self._crc = None, 0, 0
        return rest
