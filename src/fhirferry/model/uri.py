"""Percent-encoding (RFC 3986), where something needs it."""

from __future__ import annotations

from collections.abc import Callable

UNRESERVED = "-._~"
"""Beside ASCII letters and digits."""


def quoted(text: str, marks: str, encode: Callable[[str], bytes] = str.encode) -> str:
    """`text` percent-encoded but for unreserved characters and `marks`. encode: to the bytes that are written down.

    Most addresses are plain, and importing `urllib.parse` for them would cost every command 5 ms.
    """
    if all(c.isascii() and (c.isalnum() or c in UNRESERVED or c in marks) for c in text):
        return text
    from urllib.parse import quote

    return quote(encode(text), safe=marks)
