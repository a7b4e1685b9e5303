"""Organised output, the naive way: for the source in memory, all blocks in one list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

from fhirferry.bulkdata.organised import LONGEST
from fhirferry.model.partition import Block, Page


class Line(Protocol):
    """A version that is there."""

    @property
    def body(self) -> bytes | None: ...


Lines = Sequence[tuple[str, Line]]
"""Whose, and what; those of one patient one behind the other."""


def cuts(lines: Lines, start: int, target_bytes: int) -> Iterator[tuple[int, int, int]]:
    """From, to, bytes of stretches of whole blocks."""
    filled, end = 0, start
    for _, block in groupby(range(start, len(lines)), lambda place: lines[place][0]):
        places = list(block)
        size = LONGEST + sum(_size(lines, place) for place in places)
        if filled and filled + size > target_bytes:
            yield start, end, filled
            start, filled = end, 0
        filled, end = filled + size, places[-1] + 1
        if filled >= target_bytes:
            yield start, end, filled
            start, filled = end, 0
    if filled:
        yield start, end, filled


def page(lines: Lines, start: int, to: int, most: int, max_bytes: int) -> Page:
    """Whole blocks, or a part of the first."""
    end, size = start, 0
    while end < to and end - start < most and (end == start or size + _size(lines, end) <= max_bytes):
        size, end = size + _size(lines, end), end + 1
    rest = 0
    if end < to and lines[end - 1][0] == lines[end][0]:
        owner = lines[end][0]
        whole = [place for place in range(start, end) if lines[place][0] != owner]
        if whole:
            end = whole[-1] + 1
        else:
            rest = sum(_size(lines, place) for place in range(end, to) if lines[place][0] == owner)
    taken = [(owner, (line.body or b"") + b"\n") for owner, line in lines[start:end]]
    blocks = []
    for owner, some in groupby(taken, lambda line: line[0]):
        bodies = [body for _, body in some]
        blocks.append(Block(owner, len(bodies), sum(map(len, bodies))))
    return Page(
        body=b"".join(body for _, body in taken),
        count=len(taken),
        continuation=str(end) if end < to else None,
        blocks=tuple(blocks),
        rest=rest,
    )


def _size(lines: Lines, place: int) -> int:
    return len(lines[place][1].body or b"") + 1
