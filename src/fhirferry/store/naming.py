"""Naming what a round exports: references to the versions that are there at T, as far as they may go out and no
earlier round has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.instant import FOREVER, Instant
from fhirferry.model.request import ExportRequest
from fhirferry.store import axis, cohorts, info, keys, named, pins, relevance, routes, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

AT_ONCE = 20_000
"""References that are looked up in one transaction."""

IN_SCOPE, WHOLE, OUTSIDE = 1, 2, 4

Version = tuple[int, int, int]
Wanted = dict[bytes, bool]


def name(
    store: SqliteStore,
    request: ExportRequest,
    t: Instant,
    job_id: str,
    round_: int,
    references: Iterable[tuple[str, bool]],
) -> None:
    """Source.name, in small transactions: what is looked up in one that others can write beside is added in another;
    the last makes the round one that can be read."""
    relevance.prepare(store, request, t, job_id)  # else Provenance that round 0 has would come again
    with store.reading() as db:
        pins.must_hold(db, t)
        cohorts.of_request(db, request, job_id)
    with store.writing() as db:
        number = named.open_round(db, job_id, round_)
    judge = _Judge(request, t, job_id, round_)
    late: dict[str, Wanted] = {}  # what changed after T is looked for at once: that passes all that did
    rest = iter(references)
    while True:
        batch = list(islice(rest, AT_ONCE))
        with store.reading() as db:
            versions = judge.current(db, batch, late)
            if not batch or sum(map(len, late.values())) >= AT_ONCE:
                versions += judge.before(db, late)
                late.clear()
        with store.writing() as db:
            pins.must_hold(db, t)
            named.add(db, job_id, round_, number, sorted(versions))
            if not batch:
                named.complete(db, number)
                return


class _Judge:
    """What may go out in a round of a job."""

    def __init__(self, request: ExportRequest, t: Instant, job_id: str, round_: int) -> None:
        self._request = request
        self._t = t
        self._asked = {"t": t, "job": job_id, "round": round_}
        self._since = -1 if request.since is None else request.since
        self._late = axis.last_instant(t, request.until)
        self._told = routes.told_since(request)
        whose = "cohort" if request.has_cohort else "patients" if request.level == "patient" else "all"
        self._sql = _queries(whose)

    def current(self, db: Connection, references: Sequence[tuple[str, bool]], late: dict[str, Wanted]) -> list[Version]:
        """Of what is current. What is not that at T any more goes to `late`."""
        codes = info.codes(db)
        found: list[Version] = []
        for kind, ids in _by_type(references):
            if kind not in codes or (kind == "Group" and self._request.level != "system"):
                continue
            asked = {**self._asked, "type": codes[kind], "ids": _listed(ids)}
            rows = list(db.execute(self._sql["current"], asked))
            for row in rows:
                if row[2] > self._t:
                    late.setdefault(kind, {})[row[0]] = ids[row[0]]
            found += self._chosen(kind, (row for row in rows if row[2] <= self._t), ids)
        return found

    def before(self, db: Connection, late: dict[str, Wanted]) -> list[Version]:
        """Of what changed after T."""
        codes = info.codes(db)
        found: list[Version] = []
        for kind, ids in late.items():
            code = codes[kind]
            asked = {**self._asked, "first": keys.first(code), "last": keys.last(code), "ids": _listed(ids)}
            found += self._chosen(kind, db.execute(self._sql["before"], asked), ids)
        return found

    def _chosen(
        self, kind: str, rows: Iterable[tuple[bytes, int, Instant, int, int]], wanted: Wanted
    ) -> Iterator[Version]:
        """Of versions (id, key, changed, size, whose) that are there at T."""
        selected = routes.scope_of(kind, self._request) != ""
        told = FOREVER if self._told is None else self._told
        for ident, key, changed, size, whose in rows:
            if whose & OUTSIDE:
                continue
            if size:
                if not wanted[ident] and changed <= self._since and not whose & WHOLE:
                    continue  # the reader has it; what is somebody's who joined only now it was never given (B39)
                new = changed > self._since or whose & WHOLE
            else:
                if wanted[ident] or changed <= told:
                    continue
                new = True
            if not (selected and whose & IN_SCOPE and new and changed <= self._late):
                yield not size, key, size


def _by_type(references: Sequence[tuple[str, bool]]) -> Iterator[tuple[str, Wanted]]:
    """References of each type: id, and whether all of it is wanted."""
    found: dict[str, Wanted] = {}
    for reference, wanted in references:
        kind, _, ident = reference.partition("/")
        ids = found.setdefault(kind, {})
        raw = ident.encode()
        ids[raw] = wanted or ids.get(raw, False)
    yield from found.items()


def _listed(ids: Wanted) -> str:
    """A JSON list."""
    return msgspec.json.encode([raw.decode() for raw in ids]).decode()


@lru_cache(maxsize=3)
def _queries(whose: str) -> dict[str, str]:
    """The queries for one way of asking whose a version is."""
    texts = sql.queries("naming")
    mine = texts[whose].replace("/* scope */", sql.queries("scopes")["about_patients"])
    return {
        name: texts[name].replace("/* whose */", mine).replace("/* earlier */", texts["earlier"])
        for name in ("current", "before")
    }
