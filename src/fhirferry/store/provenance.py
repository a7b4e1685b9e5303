"""Which Provenance refers to which resource: an index of targets, apart from writing.

Whoever writes a version knows nothing of it, so that a store without Provenance pays nothing. `state.targets` holds up to
which key the versions of Provenance are in; `index` goes on from there in small transactions: an import at its end, and
whoever asks, first of all. From the first call on pruning keeps the index true: a deletion is about what its predecessor was
about, also when that one is gone. (A predecessor that was pruned before the first call leaves a deletion about nothing
that is known: only those who had it by a Patient among its targets are told.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from fhirferry.fhir.membership import Reference, target
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant, parse_instant
from fhirferry.store import pins, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

AT_ONCE = 2_000
AT_ONCE_BYTES = 16_000_000
ROWS = 50_000
"""Rows that wait for their insert."""

_SQL = sql.queries("provenance")

_OPEN_LIST = ord("[")

Row = tuple[str, int, Instant | None]


class _Provenance(msgspec.Struct, gc=False):
    """What nearly every Provenance has, in FHIR's shape."""

    target: list[Reference] = []
    recorded: str | None = None


class _Odd(msgspec.Struct, gc=False):
    """Any JSON object."""

    target: msgspec.Raw = msgspec.Raw(b"null")
    recorded: msgspec.Raw = msgspec.Raw(b"null")


_provenance = msgspec.json.Decoder(_Provenance).decode
_odd = msgspec.json.Decoder(_Odd).decode
_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_reference = msgspec.json.Decoder(Reference).decode
_text = msgspec.json.Decoder(str).decode


def index(store: SqliteStore) -> int:
    """Take in the versions of Provenance that are new since the last time; returns how many. One read when there are
    none. Who is interrupted and called again goes on."""
    done = 0
    while True:
        with store.reading() as db:
            if db.execute(_SQL["behind"]).fetchone() is None:
                return done
        with store.writing() as db:
            done += step(db)


def step(db: Connection) -> int:
    """One batch, inside a writing transaction; 0 when all are in."""
    behind = db.execute(_SQL["behind"]).fetchone()
    if behind is None:
        return 0
    after, last, code = behind
    rows: list[Row] = []
    gone: list[tuple[int, bytes]] = []
    count, key, room = 0, last, AT_ONCE_BYTES
    for key, size, ident, body in db.execute(_SQL["versions"], {"after": after, "last": last, "limit": AT_ONCE}):
        count += 1
        if size:
            rows += _rows(key, body)
        else:
            gone.append((key, ident))
        room -= size
        if len(rows) >= ROWS:
            _add(db, rows)
        if room < 0:
            break
    _add(db, rows)
    db.executemany(_SQL["inherit"], ({"key": new, "type": code, "id": ident.decode()} for new, ident in gone))
    db.execute(_SQL["went_on"], (key if count == AT_ONCE or room < 0 else last,))
    return max(count, 1)


def _add(db: Connection, rows: list[Row]) -> None:
    rows.sort(key=_by_reference)  # the tree is gone through once
    db.executemany(_SQL["add"], rows)
    rows.clear()


def _by_reference(row: Row) -> str:
    return row[0]


def _rows(key: int, body: object) -> Iterator[Row]:
    """Of one version; an unreadable one is about nothing."""
    if not isinstance(body, bytes):
        return
    try:
        found = _provenance(body)
        references, recorded = [entry.reference for entry in found.target], found.recorded
    except (msgspec.MsgspecError, UnicodeDecodeError):
        references, recorded = _oddly(body)
    at = _instant(recorded)
    for reference in references:
        kind, ident = target(reference)
        if ident:
            yield f"{kind}/{ident}", key, at


def _oddly(body: bytes) -> tuple[list[str], str | None]:
    """References and `recorded`, as far as they have FHIR's shape; a single target may stand without a list."""
    references: list[str] = []
    try:
        found = _odd(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return references, None
    entries = _entries(found.target) if memoryview(found.target)[0] == _OPEN_LIST else [found.target]
    for entry in entries:
        try:
            references.append(_reference(entry).reference)
        except msgspec.ValidationError:
            continue
    try:
        return references, _text(found.recorded)
    except msgspec.ValidationError:
        return references, None


def _instant(recorded: str | None) -> Instant | None:
    try:
        return None if recorded is None else parse_instant(recorded)
    except RequestError:
        return None


def associated(store: SqliteStore, t: Instant, references: Sequence[str], *, latest: bool) -> Sequence[str]:
    """`Provenance/id` of those at T with one of the references as a target (Source.associated), in order."""
    index(store)
    asked = {"references": msgspec.json.encode(references).decode(), "t": t}
    with store.reading() as db:
        pins.must_hold(db, t)
        found = db.execute(_SQL["latest" if latest else "all"], asked).fetchall()
    return sorted(f"Provenance/{ident.decode()}" for (ident,) in found)


def is_in_use(db: Connection) -> bool:
    """Whether anybody has asked yet."""
    return bool(db.execute(_SQL["in_use"]).fetchone()[0])


def forget(db: Connection, listed: str) -> None:
    """Versions with these keys (a JSON list) are about to be pruned, inside the caller's transaction: deletions that
    follow them get their targets before."""
    if is_in_use(db):
        while step(db):
            pass
        db.execute(_SQL["remove"], (listed,))
