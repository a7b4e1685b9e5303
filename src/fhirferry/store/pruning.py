"""Pruning: forget what no transaction time can need any more, and no export of earlier versions.

The watermark goes up first, in a transaction of its own. Every page compares it with its T in the same transaction in
which it reads, so a reader of an older T fails (SnapshotGone) and never returns less. Then versions go in small
transactions, between which writers and readers have their turn. Current deletions stay: later increments carry them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.instant import Instant
from fhirferry.store import cohorts, named, pins, provenance, sql
from fhirferry.store.keys import code as code_of

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

BATCH = 2000
BATCH_BYTES = 32_000_000

_SQL = sql.queries("pruning")


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What a pruning did. No T before `watermark` can be shown any more. bytes: of bodies, free to be used again."""

    watermark: Instant
    versions: int = 0
    bytes: int = 0
    lapsed_pins: int = 0


def raise_watermark(db: Connection, before: Instant | None, clock: Instant) -> Pruned:
    """Up to the oldest pin, to `before`, and no further than needed; it never goes down."""
    lapsed = pins.lapse(db, clock)
    cohorts.lapse(db)
    named.lapse(db)
    watermark, last_stamp, oldest = db.execute(_SQL["oldest"]).fetchone()
    bounds = [last_stamp] + [bound for bound in (oldest, before) if bound is not None]
    watermark = max(watermark, min(bounds))
    db.execute(_SQL["raise"], (watermark,))
    return Pruned(watermark=watermark, lapsed_pins=lapsed)


def keep_targets(store: SqliteStore) -> None:
    """What is deleted stays about what it was about: in small transactions, ahead of the few that `remove` may meet."""
    with store.reading() as db:
        if not provenance.is_in_use(db):
            return
    provenance.index(store)


def remove(db: Connection, so_far: Pruned) -> tuple[Pruned, bool]:
    """One batch of versions that ended at or before the watermark; and whether there may be more."""
    keys: list[int] = []
    size = 0
    for key, bytes_ in db.execute(_SQL["ended"], {"watermark": so_far.watermark, "limit": BATCH}):
        keys.append(key)
        size += bytes_
        if size >= BATCH_BYTES:
            break
    listed = msgspec.json.encode(keys).decode()
    db.execute(_SQL["bodies"], (listed,))
    db.execute(_SQL["shared"], (listed,))
    provenance.forget(db, listed)
    db.execute(_SQL["versions"], (listed,))
    counts: dict[int, int] = {}
    for key in keys:
        counts[code_of(key)] = counts.get(code_of(key), 0) + 1
    db.executemany(_SQL["counted"], ((count, code) for code, count in counts.items()))
    done = msgspec.structs.replace(so_far, versions=so_far.versions + len(keys), bytes=so_far.bytes + size)
    return done, bool(keys)
