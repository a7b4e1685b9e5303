"""Reading gzip as a stream, in bounded memory however well it was compressed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

PIECE = 1 << 20


class CompressionDamaged(Exception):
    """The gzip data cannot be read to its end."""


def gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip of one or more members, in pieces of at most 1 MiB. CompressionDamaged when cut off or wrong."""
    zlib = _zlib()
    member: Any = None
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                member = member or zlib.decompressobj(wbits=31)
                data = member.decompress(rest, PIECE)
                if data:
                    yield data
                if member.eof:
                    rest, member = member.unused_data, None
                else:
                    rest = member.unconsumed_tail
    except zlib.error as error:
        raise CompressionDamaged(f"the gzip data is damaged: {error}") from None
    if member is not None:
        raise CompressionDamaged("the gzip data is cut off")


def _zlib() -> Any:
    try:
        from isal import isal_zlib  # loaded only when something is compressed
    except ImportError:  # no wheel for this machine
        import zlib

        return zlib
    return isal_zlib
