"""Where a version lies on disk: its key is code of the type << 40 | number within the type, so types lie apart, each in
the order of writing."""

from __future__ import annotations

TYPE_SHIFT = 40


def first(code: int) -> int:
    """Before the first key of the type with this code."""
    return code << TYPE_SHIFT


def last(code: int) -> int:
    """The last key that the type can have."""
    return first(code) | (1 << TYPE_SHIFT) - 1


def code(key: int) -> int:
    """The code of the type that the version is of."""
    return key >> TYPE_SHIFT
