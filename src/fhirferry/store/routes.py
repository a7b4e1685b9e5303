"""Which walks a request takes through the store, in the order of planning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from fhirferry.model.instant import FOREVER, Instant
from fhirferry.model.request import ExportRequest
from fhirferry.store import axis, keys
from fhirferry.store.cohorts import Cohort
from fhirferry.store.walks import Walk


def walks(
    types: Mapping[str, int], request: ExportRequest, t: Instant, job_id: str = "", cohort: Cohort | None = None
) -> Iterator[Walk]:
    """Type by name, what is there before what is deleted. types: codes by name. cohort: of a request that has one."""
    if cohort is not None and not cohort.named:
        return  # nobody's data, and no Group either (L1)
    for name in sorted(types):
        if request.types is not None and name not in request.types:
            continue
        code = types[name]
        whole = Walk(by="key", type=name, code=code, t=t, after=(0, keys.first(code)), to=(0, keys.last(code)))
        scope = _scope(name, request)
        if scope == "":
            continue
        if cohort is not None:
            whole = msgspec.structs.replace(whole, job=job_id, wide=cohort.wide)
        if scope == "one":
            whole = msgspec.structs.replace(whole, id=request.group_id)
        yield from _of_type(msgspec.structs.replace(whole, scope=scope), request, cohort)


def _scope(name: str, request: ExportRequest) -> str:
    """What is meant of a type; empty for nothing of it.

    Of Groups only the one that is exported goes out with its members: others would tell who else is in them (L2). That
    one does too, so it stays back where the request names patients (B39).
    """
    from fhirferry.fhir import membership  # reads a table: not for the system level

    if request.level == "system":
        return "all"
    if name not in membership.types():
        return ""
    if not request.has_cohort:
        return "patients"
    if name == "Group":
        return "one" if request.patients is None else ""
    return "cohort"


def _of_type(whole: Walk, request: ExportRequest, cohort: Cohort | None) -> Iterator[Walk]:
    """whole: the walk by key over all of the type."""
    since = -1 if request.since is None else request.since
    late = axis.last_instant(whole.t, request.until)
    timely = msgspec.structs.replace(whole, by="time", after=(since, FOREVER), to=(late, FOREVER))
    patients = msgspec.structs.replace(
        whole, by="cohort", scope="all", after=(0, 0), to=(FOREVER, keys.last(whole.code)), since=since, late=late
    )
    narrow = whole.scope == "cohort" and cohort is not None and not cohort.wide
    if narrow:
        yield patients
    elif request.since is None and request.until is None:
        yield whole
    else:
        yield timely
    if request.since is None:
        return
    if whole.scope == "cohort" and cohort is not None and cohort.has_whole and not narrow:
        yield msgspec.structs.replace(patients, late=min(since, late), only_whole=True)
    if whole.scope != "one":  # what is exported is there
        yield msgspec.structs.replace(timely, by="deleted")
