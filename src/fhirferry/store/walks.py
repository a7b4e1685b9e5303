"""The three walks through the store, all keyset (L8): which versions of a type a request takes, in which order.

A position is (changed, key): of a version, or between two. A stretch runs from a position (excluded) to a position
(included). The walk by key has 0 for `changed`. Bounds are plain JSON, so that a partition outlives its process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.model.instant import FOREVER, Instant
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.store import axis, keys, pins, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

Position = tuple[int, int]
Parameters = dict[str, int]

CHUNK = 20_000
"""Versions looked at in one step of planning."""

SQL = {name: sql.queries(f"walk_{name}") for name in ("key", "time", "deleted")}


class Stretch(msgspec.Struct, frozen=True):
    """What a scan saw: where it ended, versions passed, visible ones and the bytes of their lines."""

    end: Position
    scanned: int
    visible: int
    bytes: int


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """One type's share of a request at T. The `bounds` of a partition are this, as plain values.

    by: "key", "time" or "deleted". after, to: the stretch.
    """

    by: str
    type: str
    code: int
    t: Instant
    after: Position
    to: Position

    @property
    def kind(self) -> Kind:
        return Kind.DELETED if self.by == "deleted" else Kind.OUTPUT

    def parameters(self, after: Position, to: Position, limit: int = 0) -> Parameters:
        """The SQL parameters of a stretch."""
        return {
            "type": self.code,
            "t": self.t,
            "c0": after[0],
            "k0": after[1],
            "c1": to[0],
            "k1": to[1],
            "limit": limit,
        }

    def scan(self, db: Connection, after: Position, limit: int) -> Stretch:
        """Pass at most `limit` versions. SnapshotGone when T was pruned: this opens every transaction that reads."""
        return self._pass(db, "scan", after, limit)

    def weigh(self, db: Connection, after: Position, limit: int) -> Stretch:
        """As `scan`, but may pass fewer versions although more follow; cheaper where it can be."""
        return self._pass(db, "weigh" if self.by == "key" else "scan", after, limit)

    def _pass(self, db: Connection, query: str, after: Position, limit: int) -> Stretch:
        asked = self.parameters(after, self.to, limit)
        watermark, changed, key, *seen = db.execute(SQL[self.by][query], asked).fetchone()
        pins.still_there(watermark, self.t)
        return Stretch(self.to if key is None else (changed, key), *seen)

    def sizes(self, db: Connection, after: Position, to: Position) -> Iterator[tuple[int, int, int]]:
        """(changed, key, size) of the visible versions."""
        return db.execute(SQL[self.by]["sizes"], self.parameters(after, to))

    def last(self, db: Connection) -> Position | None:
        """The last position that can be visible at T; None when there is none."""
        row = db.execute(SQL[self.by]["last"], self.parameters(self.after, self.to)).fetchone()
        return None if row is None else (row[0], row[1])


def walks(types: Mapping[str, int], request: ExportRequest, t: Instant) -> Iterator[Walk]:
    """The walks of a request, in the order of planning: type by name, what is there before what is deleted."""
    for name in sorted(types):
        if request.types is not None and name not in request.types:
            continue
        code = types[name]
        if request.since is None and request.until is None:
            whole = (0, keys.first(code)), (0, keys.last(code))
            yield Walk(by="key", type=name, code=code, t=t, after=whole[0], to=whole[1])
            continue
        since = -1 if request.since is None else request.since
        window = (since, FOREVER), (axis.last_instant(t, request.until), FOREVER)
        yield Walk(by="time", type=name, code=code, t=t, after=window[0], to=window[1])
        if request.since is not None:
            yield Walk(by="deleted", type=name, code=code, t=t, after=window[0], to=window[1])


def cut(store: SqliteStore, walk: Walk, target_bytes: int) -> Iterator[PartitionPlan]:
    """Partitions of about `target_bytes`. Cuts depend on what is visible at T only, so planning again gives the same.

    Between two plans no transaction is open.
    """
    with store.reading() as db:
        pins.must_hold(db, walk.t)
        last = walk.last(db)
    if last is None:
        return
    walk = msgspec.structs.replace(walk, to=last)
    start = position = walk.after
    filled = 0
    while position < walk.to:
        cuts: list[tuple[Position, int]] = []
        with store.reading() as db:
            stretch = walk.weigh(db, position, CHUNK)
            if filled + stretch.bytes < target_bytes:
                filled += stretch.bytes
            else:
                for changed, key, size in walk.sizes(db, position, stretch.end):
                    filled += size
                    if filled >= target_bytes:
                        cuts.append(((changed, key), filled))
                        filled = 0
        position = stretch.end
        for end, size in cuts:
            yield _plan(walk, start, end, size)
            start = end
    if filled:
        yield _plan(walk, start, walk.to, filled)


def _plan(walk: Walk, after: Position, to: Position, size: int) -> PartitionPlan:
    bounds: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(walk, after=after, to=to))
    bounds.update(after=list(after), to=list(to))
    return PartitionPlan(kind=walk.kind, resource_type=walk.type, bounds=bounds, bytes=size)


def walk_of(bounds: Mapping[str, Any]) -> Walk:
    """The walk that a partition's bounds describe."""
    return msgspec.convert(bounds, Walk)
