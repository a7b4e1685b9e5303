"""Words that depend on a number."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 file`, `1,234 files`. noun: in the singular, of those that take an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
