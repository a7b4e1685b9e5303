"""gzip as our files have it (RFC 1952): members of whole lines, behind the last one an empty one, as BGZF has it.

A file that is cut off inside a member lacks that member's trailer, which every reader of gzip sees. One that is cut off
between two is gzip in order. Therefore every member carries a mark, an extra field that readers pass over, which
says that the file has to end with the empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

PIECE = 1 << 20
HEAD = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + b"\x04\x00FF\x00\x00"
"""Before each member: deflate, an extra field, no time, no system; the field is FF, and empty."""
END = HEAD + b"\x03\x00" + bytes(8)
"""The last member: deflated nothing."""


def trailer(crc: int, size: int) -> bytes:
    """Behind a member: CRC-32 and size of what was deflated."""
    return crc.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")


class CompressionDamaged(Exception):
    """The gzip data cannot be read to its end."""


def gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip of one or more members, in pieces of at most 1 MiB; the first chunk has at least the size of HEAD.
    CompressionDamaged when cut off or wrong, behind all that could be read. Zeros behind a member are passed over, as
    gzip itself does it."""
    zlib = deflate()
    member: Any = None
    marked = empty = None
    try:
        for chunk in chunks:
            rest = chunk
            if marked is None:
                marked = chunk.startswith(HEAD)
            while rest:
                if member is None:
                    rest = rest.lstrip(b"\0")
                    member, empty = (zlib.decompressobj(wbits=31), True) if rest else (None, empty)
                    continue
                data = member.decompress(rest, PIECE)
                if data:
                    empty = False
                    yield data
                if member.eof:
                    rest, member = member.unused_data, None
                else:
                    rest = member.unconsumed_tail
    except zlib.error as error:
        raise CompressionDamaged(f"the gzip data is damaged: {error}") from None
    if member is not None:
        raise CompressionDamaged("the gzip data is cut off")
    if marked and not empty:
        raise CompressionDamaged("the gzip data is cut off between two members")


def deflate() -> Any:
    """The module zlib, or isal's, which is several times as fast."""
    try:
        from isal import isal_zlib  # loaded only when something is compressed
    except ImportError:  # no wheel for this machine
        import zlib

        return zlib
    return isal_zlib
