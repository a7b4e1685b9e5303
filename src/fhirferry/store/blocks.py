"""Organised output: reading and cutting patient by patient (B78-B80).

Partitions end where a block does, so no block is in two of them. A page ends with a block too, unless the one that it
begins with is more than a page: then it holds a part of that one only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.bulkdata.organised import LONGEST
from fhirferry.model.instant import FOREVER
from fhirferry.model.partition import Block, Issue, Page
from fhirferry.store import paging, pins

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore
    from fhirferry.store.walks import Position, Walk

Place = tuple[int, int, int | None]
"""Code of a patient, place in the block, size of the line; None where nothing is meant."""

CHUNK = 20_000
"""Versions looked at in one step of planning."""
_patient = itemgetter(0)


def read(db: Connection, walk: Walk, start: Position, max_resources: int, max_bytes: int, *, check: bool) -> Page:
    """The page behind `start`, inside the caller's reading transaction. As `paging.read`."""
    walk.must_be_ready(db)
    pins.must_hold(db, walk.t)
    end = walk.horizon(db, start)
    asked = walk.parameters(start, end, max_resources + 1)  # the one more shows whether a block ends before it
    places: list[Place] = db.execute(walk.queries["places"], asked).fetchall()
    fitting = _fitting(places, max_resources, max_bytes)
    split = False
    if fitting < len(places):
        patient = places[fitting][0]
        behind = next(number for number, place in enumerate(places) if place[0] == patient)
        split = behind == 0
        fitting = fitting if split else behind
        last = places[fitting - 1]
        end = last[0], last[1] if split else FOREVER
    body, blocks, issues = _content(db, walk, start, end, places[:fitting], check=check)
    return Page(
        body=body,
        count=sum(block.lines for block in blocks),
        continuation=None if end >= walk.to else f"{end[0]}.{end[1]}",
        issues=issues,
        blocks=blocks,
        rest=_rest(db, walk, start, end, empty=not blocks) if split else 0,
    )


def _fitting(places: Sequence[Place], most: int, max_bytes: int) -> int:
    """How many of the leading places make a page; at least one."""
    total = 0
    for number, (_, _, size) in enumerate(places):
        if number == most or (total and size and total + size > max_bytes):
            return number
        total += size or 0
    return len(places)


def _rest(db: Connection, walk: Walk, start: Position, end: Position, *, empty: bool) -> int:
    """What is left of the block that a page breaks off in. Counted once a block: a page in its middle only knows that
    there may be something, and so does an empty one."""
    if empty:
        return 1
    if start[0] == end[0] and start[1]:
        before = walk.parameters((end[0], 0), start)
        if db.execute(walk.queries["begun"], before).fetchone() is not None:
            return 1
    (size,) = db.execute(walk.queries["rest"], walk.parameters(end, (end[0], FOREVER))).fetchone()
    return int(size)


def _content(
    db: Connection, walk: Walk, start: Position, end: Position, places: Iterable[Place], *, check: bool
) -> tuple[bytes, tuple[Block, ...], tuple[Issue, ...]]:
    meant = [(patient, size) for patient, _, size in places if size]
    if not meant:
        return b"", (), ()
    names = _names(db, walk, sorted({patient for patient, _ in meant}))
    asked = walk.parameters(start, end)
    if len(meant) > 1:  # one alone, perhaps a large one, is better read without copies
        (body,) = db.execute(walk.queries["bodies"], asked).fetchone()
        whole = paging.is_whole(body, lines=len(meant), size=sum(size for _, size in meant))
        if whole and not (check and not paging.parses(body)):
            sizes = [(code, [size for _, size in block]) for code, block in groupby(meant, _patient)]
            return body, tuple(Block(names[code], len(each), sum(each)) for code, each in sizes), ()
    return _one_by_one(db.execute(walk.queries["rows"], asked), names)


def _names(db: Connection, walk: Walk, codes: list[int]) -> dict[int, str]:
    asked = {"codes": msgspec.json.encode(codes).decode()}
    return {code: ident.decode() for code, ident in db.execute(walk.queries["names"], asked)}


def _one_by_one(
    rows: Iterable[tuple[int, bytes, bytes, int, Any]], names: dict[int, str]
) -> tuple[bytes, tuple[Block, ...], tuple[Issue, ...]]:
    """The good rows, and an issue for each bad one (L34)."""
    good: list[bytes] = []
    blocks: list[Block] = []
    issues: list[Issue] = []
    for code, some in groupby(rows, _patient):
        lines, before = 0, len(good)
        for _, kind, ident, size, body in some:
            name = f"{kind.decode()}/{ident.decode()}"
            wrong = paging.wrong_with(body, size, name)
            if wrong:
                issues.append(paging.unreadable(name, wrong))
            else:
                good += (body, b"\n")
                lines += 1
        if lines:
            blocks.append(Block(names[code], lines, sum(map(len, good[before:]))))
    return b"".join(good), tuple(blocks), tuple(issues)


def cut(store: SqliteStore, walk: Walk, target_bytes: int) -> Iterator[tuple[Position, Position, int]]:
    """Stretches of whole blocks, of about `target_bytes` with their headers: from, to, bytes. A block alone may be more.

    Cuts depend on what is visible at T only, so planning again gives the same. Between two no transaction is open.
    """
    start = end = walk.after
    filled = 0
    for patient, size in _blocks(store, walk):
        if filled and filled + size > target_bytes:
            yield start, end, filled
            start, filled = end, 0
        filled, end = filled + size, (patient, FOREVER)
        if filled >= target_bytes:
            yield start, end, filled
            start, filled = end, 0
    if filled:
        yield start, end, filled


def _blocks(store: SqliteStore, walk: Walk) -> Iterator[tuple[int, int]]:
    """Whose there are, with their bytes."""
    position = walk.after
    patient = size = 0
    while position < walk.to:
        with store.reading() as db:
            pins.must_hold(db, walk.t)
            horizon = walk.horizon(db, position)
            asked = walk.parameters(position, horizon, CHUNK)
            found: list[tuple[int, int, int, int]] = db.execute(walk.queries["blocks"], asked).fetchall()
        for code, _, _, more in found:
            if code != patient and size:
                yield patient, size + LONGEST
                size = 0
            patient, size = code, size + more
        full = sum(scanned for _, _, scanned, _ in found) == CHUNK
        position = (found[-1][0], found[-1][1]) if full else horizon
    if size:
        yield patient, size + LONGEST
