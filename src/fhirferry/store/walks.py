"""The walks through the store, all keyset (L8): which versions of a type a request takes, in which order.

By key, by time, over deletions, over what was superseded; by ids or patients that a filter names; patient by patient, for
small cohorts and for those who left, and in organised output for all types at once; and over what is named for a round. The
first six take a scope: all, what is in any patient's compartment, a cohort's, or a single resource.
A position is (changed, key): of a version, or between two; (ended, key) of what was superseded. A stretch runs from a
position (excluded) to a position (included). Walks by key have 0 for `changed`, those by patient the patient's code. Bounds
are plain JSON, so that a partition outlives its process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.model.instant import FOREVER, Instant
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.store import cohorts, keys, named, pins, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

Position = tuple[int, int]
Parameters = dict[str, int | str | None]

CHUNK = 20_000
"""Versions looked at in one step of planning."""
PATIENTS = 5_000
"""Patients of a cohort that one step passes at most."""

_OF_OUTPUT = ("key", "time", "ids", "about", "cohort", "named", "relevant", "organised")
_STEPWISE = ("cohort", "left", "organised", "about", "former")
_OF_HISTORY = ("history", "former")
_FILES = {"former": "cohort", "unnamed": "named", "relevant deleted": "relevant", "relevant left": "relevant"}
_TOLD = {"relevant deleted": 1, "relevant left": 2}


@lru_cache(maxsize=16)
def queries(by: str, scope: str, *, updated: bool = False) -> dict[str, str]:
    """The queries of a walk for a scope; with bounds for `updated`."""
    texts = sql.queries(f"walk_{by}")
    scopes = sql.queries("scopes")
    holes = {"/* found */": texts.pop("found", ""), "/* scope */": scopes[scope] + scopes["updated"] * updated}
    if by == "organised":
        holes["/* whose */"] = sql.queries("whose")[scope]
    for name, text in texts.items():
        for hole, filling in holes.items():
            text = text.replace(hole, filling)
        texts[name] = text
    return texts


class Stretch(msgspec.Struct, frozen=True):
    """What a scan saw: where it ended, versions passed, visible ones and the bytes of their lines."""

    end: Position
    scanned: int
    visible: int
    bytes: int


class Walk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One type's share of a request at T. The `bounds` of a partition are this, as plain values.

    by: "key", "time", "deleted", "cohort", "left" (deletions to be told of patients who left), "named" or "unnamed"
    (deletions of what was named), "organised" (all types at once), "history" (what was superseded; "former": patient by
    patient). Provenance of a cohort: "relevant", "relevant deleted",
    "relevant left" (see relevance.py).
    after, to: the stretch. scope: a name of scopes.sql, of whose.sql when organised. job, round: whose cohort, or what is
    named for whom. id: of the single resource. since, late, only_whole: what the walk by cohort takes of a patient:
    `changed` after `since`, and up to `late`; of those taken whole everything up to `late`, and with only_whole of nobody
    else. types, own: codes of those that organised output has, None for all; the code of Patient, if it has them.
    wide: of all walks of a job with a wide cohort.
    ids, patients: what the walks "ids" and "about" (these patients) take, after `since` and up to `late`. updated: [from,
    to) of the column, for these walks and those by key and time. kept: versions that ended after this are there (pins.py);
    of the last two walks.
    """

    by: str
    type: str
    code: int
    t: Instant
    after: Position
    to: Position
    scope: str = "all"
    job: str = ""
    id: str = ""
    since: Instant = -1
    late: Instant = 0
    only_whole: bool = False
    wide: bool = False
    ids: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    updated: tuple[Instant, Instant] | None = None
    kept: Instant = -1
    round: int = 0
    types: tuple[int, ...] | None = None
    own: int = 0

    @property
    def kind(self) -> Kind:
        if self.by in _OF_HISTORY:
            return Kind.HISTORY
        return Kind.OUTPUT if self.by in _OF_OUTPUT else Kind.DELETED

    @property
    def queries(self) -> dict[str, str]:
        """The SQL of this walk."""
        return queries(_FILES.get(self.by, self.by), self.scope, updated=self.updated is not None)

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
            "job": self.job,
            "id": self.id,
            "first": keys.first(self.code),
            "last": keys.last(self.code),
            "since": self.since,
            "late": self.late,
            "only": self.only_whole,
            "whole": self.kept,
            "former": self.by == "former",
            "patients": PATIENTS,
            "round": self.round,
            "gone": self.by == "unnamed",
            "told": _TOLD.get(self.by, 0),
            "types": None if self.types is None else msgspec.json.encode(self.types).decode(),
            "ids": msgspec.json.encode(self.ids).decode(),
            "people": msgspec.json.encode(self.patients).decode(),
            "updated_from": self.updated[0] if self.updated else None,
            "updated_to": self.updated[1] if self.updated else None,
            "own_first": keys.first(self.own),
            "own_last": keys.last(self.own),
        }

    def scan(self, db: Connection, after: Position, limit: int) -> Stretch:
        """Pass at most `limit` versions; the stretch ends at `to` when there are no more. SnapshotGone when T was
        pruned: this opens every transaction that reads."""
        self.must_be_ready(db)
        to = self.horizon(db, after) if self.by in _STEPWISE else self.to
        stretch = self._pass(db, "scan", after, to, limit)
        return stretch if stretch.scanned == limit else msgspec.structs.replace(stretch, end=to)

    def horizon(self, db: Connection, after: Position) -> Position:
        """Of a walk from patient to patient: how far one step may go, or its end."""
        (patient,) = db.execute(self.queries["horizon"], self.parameters(after, self.to)).fetchone()
        horizon = (patient or 0, FOREVER if self.by == "organised" else keys.last(self.code))
        return min(self.to, horizon) if horizon > after else self.to

    def weigh(self, db: Connection, after: Position, limit: int) -> Stretch:
        """As `scan`, but may pass fewer versions although more follow; cheaper where it can be."""
        return self._pass(db, "weigh", after, self.to, limit) if self.by == "key" else self.scan(db, after, limit)

    @property
    def is_narrowed(self) -> bool:
        """Whether it leaves out what no filter would let through."""
        return self.by in ("ids", "about") or self.updated is not None

    @property
    def is_relevant(self) -> bool:
        """Whether it goes over the Provenance of a cohort."""
        return _FILES.get(self.by, self.by) == "relevant"

    def must_be_ready(self, db: Connection) -> None:
        """TransientError unless what the walk joins is there."""
        if self.is_relevant:
            from fhirferry.store import relevance  # few walks need it

            relevance.must_be_known(db, self.job)
        if self.round:
            named.must_be_there(db, self.job, self.round)
        elif self.job:
            cohorts.must_be_selected(db, self.job)

    def _pass(self, db: Connection, query: str, after: Position, to: Position, limit: int) -> Stretch:
        watermark, changed, key, *seen = db.execute(self.queries[query], self.parameters(after, to, limit)).fetchone()
        if self.kind is Kind.HISTORY:
            pins.still_kept(watermark, self.kept)
        pins.still_there(watermark, self.t)
        return Stretch(to if key is None else (changed, key), *seen)

    def sizes(self, db: Connection, after: Position, to: Position) -> Iterator[tuple[int, int, int]]:
        """(changed, key, size) of the visible versions."""
        return db.execute(self.queries["sizes"], self.parameters(after, to))

    def last(self, db: Connection) -> Position | None:
        """The last position that can be visible at T; None when there is none."""
        row = db.execute(self.queries["last"], self.parameters(self.after, self.to)).fetchone()
        return None if row is None else (row[0], row[1])


def cut(store: SqliteStore, walk: Walk, target_bytes: int) -> Iterator[PartitionPlan]:
    """Partitions of about `target_bytes`. Cuts depend on what is visible at T only, so planning again gives the same.

    Between two plans no transaction is open.
    """
    with store.reading() as db:
        pins.must_hold(db, walk.t)
        walk.must_be_ready(db)
        last = walk.last(db)
    if last is None:
        return
    walk = msgspec.structs.replace(walk, to=last)
    if walk.by == "organised":
        from fhirferry.store import blocks  # few exports are

        for after, to, size in blocks.cut(store, walk, target_bytes):
            yield _plan(walk, after, to, size)
        return
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


def is_short(db: Connection, walk: Walk, most: int) -> bool:
    """Whether it passes at most so many versions."""
    position, room = walk.after, most + 1
    while position < walk.to and room:
        stretch = walk.scan(db, position, room)
        position, room = stretch.end, room - stretch.scanned
    return room > 0


def _plan(walk: Walk, after: Position, to: Position, size: int) -> PartitionPlan:
    bounds: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(walk, after=after, to=to))
    bounds.update(after=list(after), to=list(to))
    return PartitionPlan(kind=walk.kind, resource_type=walk.type, bounds=bounds, bytes=size, round=walk.round)


def walk_of(bounds: Mapping[str, Any]) -> Walk:
    """The walk that a partition's bounds describe."""
    return msgspec.convert(bounds, Walk)
