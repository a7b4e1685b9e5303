"""What a request will bring, by type: exact where that is cheap, else an estimate, for progress and dry runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fhirferry.model.instant import Instant
from fhirferry.model.partition import Kind, Total
from fhirferry.model.request import ExportRequest
from fhirferry.store import axis, cohorts, info, keys, routes, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection
    from fhirferry.store.walks import Walk

COUNTED = 200_000
"""An increment with more versions than this is estimated by what the types hold."""
WEIGHED = 50_000
"""Versions of one type that are looked at for patients; of more than these the rest is taken to be alike."""

_SQL = sql.queries("totals")


def totals(db: Connection, request: ExportRequest, t: Instant, job_id: str) -> Mapping[str, Total]:
    """What T holds of the request, by type. Exact and free for a full export of a pinned T; an increment is counted
    as long as it is small; else what the types hold now. Of patients it is counted, or extrapolated."""
    if request.level != "system":
        return _of_patients(db, request, t, job_id)

    def wanted(name: str) -> bool:
        return routes.scope_of(name, request) != ""

    rows = list(db.execute(_SQL["total_at"], (t,))) or list(db.execute(_SQL["total_now"]))
    held = {name.decode(): Total(resources=count, bytes=size) for name, count, size in rows if wanted(name.decode())}
    found = _narrowed(db, request, t)
    if request.since is None and request.until is None:
        found = {**held, **found}
    else:
        for name in filter(wanted, [name.decode() for (name,) in db.execute(_SQL["types"])]):
            total = found.get(name) or _between(db, name, request, t, request.since) or held.get(name)
            if total is not None:
                found[name] = total
    return {name: total for name, total in found.items() if total.resources}


def _narrowed(db: Connection, request: ExportRequest, t: Instant) -> dict[str, Total]:
    """Of the types whose filters an index can narrow, what is read before they are evaluated."""
    if not cohorts.may_hint(db, request):
        return {}
    found = {}
    for walk in routes.walks(info.codes(db), request, t, worth=_always):
        if walk.is_narrowed and walk.kind is Kind.OUTPUT:
            total = _between(db, walk.type, request, t, walk.since) if walk.by == "time" else _weigh(db, walk)
            if total is not None:
                found[walk.type] = total
    return found


def _always(_: Walk) -> bool:
    """However long it is, it tells more of what there is."""
    return True


def _between(db: Connection, name: str, request: ExportRequest, t: Instant, since: Instant | None) -> Total | None:
    since = -1 if since is None else since
    asked = {"type": name, "since": since, "until": axis.last_instant(t, request.until), "t": t, "limit": COUNTED}
    scanned, resources, size = db.execute(_SQL["total_between"], asked).fetchone()
    return None if scanned == COUNTED else Total(resources=resources, bytes=size)


def _of_patients(db: Connection, request: ExportRequest, t: Instant, job_id: str) -> Mapping[str, Total]:
    cohort = cohorts.of_request(db, request, job_id)
    found: dict[str, Total] = {}
    worth = _always if cohorts.may_hint(db, request) else None
    for walk in routes.walks(info.codes(db), request, t, job_id, cohort, worth=worth):
        if walk.kind is Kind.OUTPUT:
            before = found.get(walk.type, Total(resources=0, bytes=0))
            more = _weigh(db, walk)
            total = Total(resources=before.resources + more.resources, bytes=before.bytes + more.bytes)
            if total.resources:
                found[walk.type] = total
    return found


def _weigh(db: Connection, walk: Walk) -> Total:
    """What a walk brings, or, when that would take long, what it would if the rest of it is like its beginning."""
    position = walk.after
    scanned = resources = size = 0
    while position < walk.to and scanned < WEIGHED:
        stretch = walk.scan(db, position, WEIGHED - scanned)
        scanned, resources, size = scanned + stretch.scanned, resources + stretch.visible, size + stretch.bytes
        position = stretch.end
    rest = 1.0 if position >= walk.to else _length(db, walk, position)
    return Total(resources=round(resources * rest), bytes=round(size * rest))


def _length(db: Connection, walk: Walk, position: tuple[int, int]) -> float:
    """How many times as long as up to here the walk is in all. One by time has no end that is known beforehand."""
    if walk.by in ("cohort", "organised"):
        query = _SQL["passed" if walk.job else "passed_of_all"]
        passed, all_ = db.execute(query, {"job": walk.job, "patient": position[0]}).fetchone()
        return float(all_ / max(passed, 1))
    if walk.by in ("key", "relevant"):
        (last,) = db.execute(_SQL["last_key"], (walk.code,)).fetchone()
        return float((last - keys.first(walk.code)) / (position[1] - keys.first(walk.code)))
    return 1.0
