"""Writing into the store: which version an item makes, if any, and the rows of a whole batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.fhir.resource import Deletion, Resource, insert_meta, new_meta, with_meta
from fhirferry.model.instant import FOREVER, Instant
from fhirferry.store import axis, keys, patients, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection

_SQL = sql.queries("writing")


class Outcome(StrEnum):
    """What became of one item of a batch."""

    NEW = "new"
    CHANGED = "changed"
    EQUAL = "equal"  # same content as the current version: no new one
    OLDER = "older"  # given lastUpdated before the current version's: skipped
    DELETED = "deleted"
    ABSENT = "absent"  # nothing there to delete


LARGE = 4_000_000
"""Bytes; such a body goes to SQLite as it is: as text in Python it would be up to four times as large (L7). Smaller ones
are written faster as text."""
AT_ONCE = 4_000_000
"""Bytes of bodies that wait for their insert. Each is a copy beside the item's own, so a whole batch must not."""

_NEW, _CHANGED, _EQUAL, _OLDER, _DELETED, _ABSENT = Outcome  # reached once per item: a global costs least
_ENDED = 3  # place of `ended` in a row of `version`
_WITHOUT_VERSION = (_EQUAL, _OLDER, _ABSENT)


Row = list[Any]
"""A row of `version`, in the order of its insert."""


def is_large(item: Resource | Deletion) -> bool:
    """It pushes everything else out of the cache."""
    return type(item) is Resource and len(item.body) > LARGE


class Head(msgspec.Struct, gc=False):
    """The current version of an id. size 0: it is a deletion. patient: as in its row. row: when this batch made it."""

    key: int
    version: int
    changed: Instant
    updated: Instant
    size: int
    digest: bytes
    patient: int = patients.NONE
    row: Row | None = None

    @classmethod
    def of(cls, row: Row) -> Head:
        """What a row that this batch made is to the next item with its id."""
        key, _, changed, _, size, version, updated, digest, _, patient = row
        return cls(key, version, changed, updated, size, digest, patient, row)


class Tally(msgspec.Struct):
    """A row of `type`."""

    name: str
    code: int
    last_key: int
    resources: int = 0
    bytes: int = 0
    deletions: int = 0
    versions: int = 0


def judge(item: Resource | Deletion, head: Head | None, *, force: bool) -> Outcome:
    """What `item` makes of the current version of its id. A pure rule, the same for every kind of store."""
    if head is None:
        return _ABSENT if type(item) is Deletion else _NEW
    there = head.size > 0
    if type(item) is Deletion:
        return _DELETED if there else _ABSENT
    if there and item.digest == head.digest:
        return _EQUAL
    if item.updated is not None and item.updated < head.updated and not force:
        return _OLDER
    return _CHANGED if there else _NEW


def stamped(resource: Resource, version: int, changed: Instant, now: Instant) -> tuple[bytes, Instant]:
    """Body and lastUpdated of a new version. A past lastUpdated stays as it came; without one, or with one in the
    future, the resource gets the stamp, and its version number where it came without."""
    if resource.updated is not None and resource.updated <= now:
        return resource.body, resource.updated
    given = resource.version_id
    return with_meta(resource, version_id=str(version) if given is None else None, last_updated=changed), changed


def write(db: Connection, items: Sequence[Resource | Deletion], clock: Instant, *, force: bool) -> list[Outcome]:
    """Apply the items in order, inside the caller's transaction. Costs one look-up per type and one insert per row."""
    last_t, last_stamp = db.execute(_SQL["state"]).fetchone()
    tallies = {name.decode(): Tally(name.decode(), *counts) for name, *counts in db.execute(_SQL["types"])}
    heads = _heads(db, items, tallies)
    codes = patients.codes(db, dict.fromkeys(_whose(items)))
    batch = _Batch(db, tallies, codes, axis.present(clock, last_t), last_t, last_stamp)
    outcomes: list[Outcome] = []
    for item in items:
        of_type = heads[item.type]
        known = of_type.get(item.id)
        head = Head.of(known) if isinstance(known, list) else known
        outcome = judge(item, head, force=force)
        outcomes.append(outcome)
        if head is None and type(item) is Resource:
            of_type[item.id] = batch.add_first(item)
        elif outcome not in _WITHOUT_VERSION:
            of_type[item.id] = batch.add(item, head)
    batch.finish()
    return outcomes


def _whose(items: Sequence[Resource | Deletion]) -> Iterator[str]:
    """Ids of the patients whose compartments the items go into, one by one."""
    for item in items:
        if type(item) is Resource and item.patients and item.type != "Group":
            yield from item.patients


class _Batch:
    """The rows that a batch adds and changes: bodies go in on the way, the rest when all is known."""

    def __init__(
        self,
        db: Connection,
        tallies: dict[str, Tally],
        codes: dict[str, int],
        now: Instant,
        last_t: Instant,
        last_stamp: Instant,
    ) -> None:
        self._db = db
        self._tallies = tallies
        self._codes = codes
        self._now = now
        self._last_t = last_t
        self._last_stamp = last_stamp
        self._ended: list[tuple[Instant, int]] = []
        self._versions: list[Row] = []
        self._shared: list[tuple[int, int]] = []
        self._copied: list[tuple[int, int]] = []
        self._bodies: list[tuple[int, bytes]] = []
        self._room = AT_ONCE
        self._touched: dict[str, Tally] = {}
        self._first_meta = new_meta("1", now)

    def add_first(self, item: Resource) -> Row:
        """The first version of an id. A large import is little else, so it has a way without detours."""
        if item.meta is None:
            changed = updated = self._now
            body = insert_meta(item, self._first_meta)
        else:
            changed = axis.stamp(item.updated, self._now, self._last_t, 0)
            body, updated = stamped(item, 1, changed, self._now)
        return self._keep(item, self._touched.get(item.type) or self._tally(item.type), 1, changed, updated, body, None)

    def add(self, item: Resource | Deletion, head: Head | None) -> Row:
        """A new version of what `head` was the current one of."""
        tally = self._touched.get(item.type) or self._tally(item.type)
        number, before = (1, 0) if head is None else (head.version + 1, head.changed)
        given = item.updated if type(item) is Resource else None
        changed = axis.stamp(given, self._now, self._last_t, before)
        if head is not None:
            self._end(head, changed, tally)
        if type(item) is Resource:
            body, updated = stamped(item, number, changed, self._now)
            return self._keep(item, tally, number, changed, updated, body, head)
        return self._keep(item, tally, number, changed, head.updated if head else changed, None, head)

    def _keep(
        self,
        item: Resource | Deletion,
        tally: Tally,
        number: int,
        changed: Instant,
        updated: Instant,
        body: bytes | None,
        head: Head | None,
    ) -> Row:
        if changed > self._last_stamp:
            self._last_stamp = changed
        tally.last_key = key = tally.last_key + 1
        tally.versions += 1
        if body is None or type(item) is Deletion:
            size, digest = 0, b""
            tally.deletions += 1
            patient = head.patient if head else patients.NONE
            if head and patient == patients.SEVERAL:
                self._copied.append((key, head.key))
        else:
            size, digest = len(body) + 1, item.digest
            patient = patients.mark(item.type, item.patients, self._codes)
            if patient == patients.SEVERAL and item.type != "Group":
                self._shared += [(key, self._codes[ident]) for ident in item.patients]
            tally.resources += 1
            tally.bytes += size
            self._bodies.append((key, body))
            self._room -= size
            if self._room < 0:
                self._flush()
        row: Row = [key, tally.code, changed, FOREVER, size, number, updated, digest, item.id, patient]
        self._versions.append(row)
        return row

    def _flush(self) -> None:
        texts = ((key, body if len(body) > LARGE else body.decode()) for key, body in self._bodies)
        self._db.executemany(_SQL["body"], texts)
        self._bodies.clear()
        self._room = AT_ONCE

    def finish(self) -> None:
        """Everything that is not in yet."""
        self._flush()
        # Ends first: at most one version of an id is current at any moment.
        self._db.executemany(_SQL["end"], self._ended)
        self._db.executemany(_SQL["version"], self._versions)
        self._db.executemany(patients.SQL["share"], self._shared)
        self._db.executemany(patients.SQL["copy"], self._copied)  # in order: one may copy what another did
        self._db.executemany(_SQL["type"], (msgspec.structs.astuple(tally) for tally in self._touched.values()))
        self._db.execute(_SQL["stamped"], (self._last_stamp,))

    def _tally(self, name: str) -> Tally:
        code = len(self._tallies) + 1
        tally = self._tallies.setdefault(name, Tally(name, code, keys.first(code)))
        self._touched[name] = tally
        return tally

    def _end(self, head: Head, at: Instant, tally: Tally) -> None:
        if head.row is None:
            self._ended.append((at, head.key))
        else:
            head.row[_ENDED] = at
        if head.size:
            tally.resources -= 1
            tally.bytes -= head.size
        else:
            tally.deletions -= 1


def _heads(
    db: Connection, items: Sequence[Resource | Deletion], tallies: dict[str, Tally]
) -> dict[str, dict[str, Head | Row]]:
    """Current versions of all ids in the batch, by type and id; their successors take their places as rows."""
    ids: dict[str, list[str]] = {}
    for item in items:
        ids.setdefault(item.type, []).append(item.id)
    heads: dict[str, dict[str, Head | Row]] = {}
    for name, wanted in ids.items():
        heads[name] = {}
        tally = tallies.get(name)
        if tally is not None:
            asked = {"type": tally.code, "ids": msgspec.json.encode(wanted).decode()}
            for place, *head in db.execute(_SQL["heads"], asked):
                heads[name][wanted[place]] = Head(*head)
    return heads


def get(db: Connection, resource_type: str, resource_id: str) -> bytes | None:
    """The body of the current version; None when there is none or it is deleted."""
    row = db.execute(_SQL["get"], (resource_type, resource_id)).fetchone()
    return None if row is None else row[0]
