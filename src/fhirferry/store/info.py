"""What the store holds, from its counters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.instant import Instant
from fhirferry.store import sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection

_SQL = sql.queries("info")


class TypeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds of a type. resources, bytes (of NDJSON): current. deletions: ids that are deleted now.
    versions: all that pruning has left, deletions included."""

    resources: int
    bytes: int
    deletions: int
    versions: int


class StoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """types: by name. watermark: no T before it can be shown. last_transaction_time: 0 when none was handed out.
    pins: T and expiry by job. file_bytes: of the database and its log."""

    types: Mapping[str, TypeInfo]
    watermark: Instant
    last_transaction_time: Instant
    pins: Mapping[str, tuple[Instant, Instant]]
    file_bytes: int


def read(db: Connection, path: str) -> StoreInfo:
    """The store at `path` as the caller's transaction sees it."""
    watermark, last_t = db.execute(_SQL["state"]).fetchone()
    return StoreInfo(
        types={
            name.decode(): TypeInfo(resources=resources, bytes=size, deletions=deletions, versions=versions)
            for name, resources, size, deletions, versions in db.execute(_SQL["types"])
        },
        watermark=watermark,
        last_transaction_time=last_t,
        pins={job.decode(): (t, expires) for job, t, expires in db.execute(_SQL["pins"])},
        file_bytes=sum(os.path.getsize(file) for file in (path, path + "-wal") if os.path.exists(file)),  # noqa: PTH110, PTH202
    )


def codes(db: Connection) -> dict[str, int]:
    """Codes of the types that have data (L27), by name."""
    return {name.decode(): code for name, code in db.execute(_SQL["codes"])}


def resources(db: Connection, code: int) -> int:
    """How many current ones the type with this code has."""
    (count,) = db.execute(_SQL["resources"], (code,)).fetchone()
    return int(count)
