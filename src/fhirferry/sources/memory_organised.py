"""Organised output, the naive way: for the source in memory, all blocks in one list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from fhirferry.bulkdata.organised import LONGEST
from fhirferry.model.cohort import Share
from fhirferry.model.partition import Block, Page
from fhirferry.sources.memory_versions import Version
from fhirferry.store import axis

Lines = Sequence[tuple[str, Version]]
"""Whose, and what; those of one patient one behind the other."""


def lines(versions: Iterable[Version], bounds: Mapping[str, Any], cohort: Mapping[str, Share] | None) -> Lines:
    """Each Patient before what else is in the compartment; Groups are in none. cohort: None for all patients."""
    until, since, types = axis.last_instant(bounds["t"], bounds["until"]), bounds["since"], bounds["types"]
    there = [
        version
        for version in versions
        if version.visible(bounds["t"])
        and version.body is not None
        and version.type != "Group"
        and (types is None or version.type in types)
        and version.head.changed <= until
    ]
    if cohort is None:
        cohort = dict.fromkeys(set().union(*(version.patients for version in there)), Share.SINCE)
    return [
        (ident, version)
        for ident, share in sorted(cohort.items())
        for version in sorted(there, key=lambda v: ((v.type, v.id) != ("Patient", ident), v.key))
        if share != Share.LEFT
        and ident in version.patients
        and (since is None or version.head.changed > since or share == Share.WHOLE)
    ]


def cuts(all_: Lines, start: int, target_bytes: int) -> Iterator[tuple[int, int, int]]:
    """From, to, bytes of stretches of whole blocks."""
    filled, end = 0, start
    for _, block in groupby(range(start, len(all_)), lambda place: all_[place][0]):
        places = list(block)
        size = LONGEST + sum(_size(all_, place) for place in places)
        if filled and filled + size > target_bytes:
            yield start, end, filled
            start, filled = end, 0
        filled, end = filled + size, places[-1] + 1
        if filled >= target_bytes:
            yield start, end, filled
            start, filled = end, 0
    if filled:
        yield start, end, filled


def page(all_: Lines, start: int, to: int, most: int, max_bytes: int) -> Page:
    """Whole blocks, or a part of the first."""
    end, size = start, 0
    while end < to and end - start < most and (end == start or size + _size(all_, end) <= max_bytes):
        size, end = size + _size(all_, end), end + 1
    rest = 0
    if end < to and all_[end - 1][0] == all_[end][0]:
        owner = all_[end][0]
        whole = [place for place in range(start, end) if all_[place][0] != owner]
        if whole:
            end = whole[-1] + 1
        else:
            rest = sum(_size(all_, place) for place in range(end, to) if all_[place][0] == owner)
    taken = [(owner, (line.body or b"") + b"\n") for owner, line in all_[start:end]]
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


def _size(all_: Lines, place: int) -> int:
    return len(all_[place][1].body or b"") + 1
