"""Which walks a request takes through the store, in the order of planning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from fhirferry.model.instant import FOREVER, Instant
from fhirferry.model.partition import BLOCKS, Kind
from fhirferry.model.request import ExportRequest
from fhirferry.store import axis, keys
from fhirferry.store.cohorts import Cohort
from fhirferry.store.hints import Hint, hints_of
from fhirferry.store.walks import Walk


def walks(
    types: Mapping[str, int],
    request: ExportRequest,
    t: Instant,
    job_id: str = "",
    cohort: Cohort | None = None,
    *,
    worth: Callable[[Walk], bool] | None = None,
    kept: Instant | None = None,
) -> Iterator[Walk]:
    """Type by name, what is there before what was and what is deleted; in organised output what is there of all types at
    once. types: codes by name. cohort: of a request that has one. worth: whether a way that filters show is the shorter
    one; None: it never is. kept: versions that ended after this are there for the job; None: it needs none."""
    if request.organize_output_by is not None:
        if cohort is None or cohort.members:
            yield _organised(types, request, t, job_id, cohort)
        typewise = msgspec.structs.replace(request, organize_output_by=None)
        yield from (walk for walk in walks(types, typewise, t, job_id, cohort) if walk.kind is Kind.DELETED)
        return
    hints = {} if worth is None else hints_of(request)
    for name in sorted(types):
        scope = scope_of(name, request)
        if scope == "":
            continue
        code = types[name]
        whole = Walk(by="key", type=name, code=code, t=t, after=(0, keys.first(code)), to=(0, keys.last(code)))
        if cohort is not None:
            whole = msgspec.structs.replace(whole, job=job_id, wide=cohort.wide)
        if scope == "one":
            whole = msgspec.structs.replace(whole, id=request.group_id)
        is_about = name == "Provenance" and scope in ("patients", "cohort")
        scoped = msgspec.structs.replace(whole, scope="about_patients" if is_about else scope)
        short = next(filter(worth, _hinted(scoped, request, hints[name])), None) if name in hints else None
        if is_about:
            yield from _provenance(scoped, request, cohort, short)
        elif cohort is None or cohort.members:  # of nobody there is nothing, and no Group either (L1)
            yield from _of_type(scoped, request, cohort, short)
        if kept is not None and scope != "one" and (cohort is None or cohort.members):
            yield _superseded(msgspec.structs.replace(whole, scope=scope), request, cohort, kept)
        left = scope == "cohort" and cohort is not None and cohort.has_left and request.left_members == "delete"
        if left and not is_about:
            yield _by_patient(whole, by="left", since=told_since(request))


def named(types: Mapping[str, int], t: Instant, job_id: str, round_: int) -> Iterator[Walk]:
    """Those of a round: of each type what is there, then what is deleted."""
    for name in sorted(types):
        code = types[name]
        whole = Walk(by="named", type=name, code=code, t=t, after=(0, keys.first(code)), to=(0, keys.last(code)))
        whole = msgspec.structs.replace(whole, job=job_id, round=round_)
        yield whole
        yield msgspec.structs.replace(whole, by="unnamed")


def told_since(request: ExportRequest) -> Instant | None:
    """After what the reader is told of deletions; None when not at all. Who has no earlier export may ask for all."""
    if request.since is not None:
        return request.since
    return -1 if "_deleted" in request.include_associated_data else None


def scope_of(name: str, request: ExportRequest) -> str:
    """What a request selects of a type; empty for nothing of it.

    Of Groups only the one that is exported goes out with its members: others would tell who else is in them (L2). That
    one does too, so it stays back where the request names patients (B39). Provenance that is asked for with what it is
    of comes after that, and not for itself (B43).
    """
    from fhirferry.fhir import membership  # reads a table: not for the system level

    if request.types is not None and name not in request.types:
        return ""
    if name == "Provenance" and request.provenance:
        return ""
    if request.level == "system":
        return "all"
    if name not in membership.types():
        return ""
    if not request.has_cohort:
        return "patients"
    if name == "Group":
        return "" if request.has_list else "one"
    return "cohort"


def _organised(
    types: Mapping[str, int], request: ExportRequest, t: Instant, job_id: str, cohort: Cohort | None
) -> Walk:
    """From patient to patient, however many they are. Of Groups, and of Provenance that is about something else than a
    Patient, nobody knows in whose block they would be: they are left out."""
    wanted = None if request.types is None else tuple(types[name] for name in request.types if name in types)
    return Walk(
        by="organised",
        type=BLOCKS,
        code=0,
        t=t,
        after=(0, 0),
        to=(FOREVER, FOREVER),
        scope="patients" if cohort is None else "cohort",
        job="" if cohort is None else job_id,
        since=-1 if request.since is None else request.since,
        late=axis.last_instant(t, request.until),
        wide=cohort is not None and cohort.wide,
        types=wanted,
        own=types.get("Patient", 0) if request.types is None or "Patient" in request.types else 0,
    )


def _of_type(whole: Walk, request: ExportRequest, cohort: Cohort | None, short: Walk | None) -> Iterator[Walk]:
    """whole: the walk by key over all of the type. short: over what its filters may let through."""
    since = -1 if request.since is None else request.since
    if whole.scope == "one" and cohort is not None and cohort.all_whole:
        since, short = -1, None  # as long as nobody was in the Group its reader was not given it either (L1)
    late = axis.last_instant(whole.t, request.until)
    timely = msgspec.structs.replace(whole, by="time", after=(since, FOREVER), to=(late, FOREVER))
    patients = _by_patient(whole, by="cohort", since=since, late=late)
    narrow = whole.scope == "cohort" and cohort is not None and not cohort.wide
    has_whole = request.since is not None and whole.scope == "cohort" and cohort is not None and cohort.has_whole
    # By patient it is short already, and who is taken whole has a `since` of its own.
    if short is not None and not (narrow and (has_whole or short.by != "ids")):
        yield short
    elif narrow:
        yield patients
    elif since == -1 and request.until is None:
        yield whole
    else:
        yield timely
    if has_whole and not narrow:
        yield msgspec.structs.replace(patients, late=min(since, late), only_whole=True)
    if told_since(request) is not None and whole.scope != "one":  # what is exported is there
        yield msgspec.structs.replace(timely, by="deleted")


def _hinted(whole: Walk, request: ExportRequest, hint: Hint) -> Iterator[Walk]:
    """Ways to what may match, the one that promises most first."""
    since = -1 if request.since is None else request.since
    late = axis.last_instant(whole.t, request.until)
    later = max(since, hint.since)
    whole = msgspec.structs.replace(whole, updated=hint.updated)
    walk = msgspec.structs.replace(whole, since=later, late=late)
    if hint.ids is not None:
        yield msgspec.structs.replace(walk, by="ids", ids=hint.ids)
    if hint.patients is not None:
        people = hint.patients
        yield msgspec.structs.replace(
            walk, by="about", patients=people, after=(0, 0), to=(FOREVER, keys.last(whole.code))
        )
    if hint.updated is not None and later > -1:
        yield msgspec.structs.replace(walk, by="time", after=(later, FOREVER), to=(late, FOREVER))
    if hint.updated is not None and request.since is None and request.until is None:
        yield whole


def _provenance(whole: Walk, request: ExportRequest, cohort: Cohort | None, short: Walk | None) -> Iterator[Walk]:
    """What is in the compartments, and what has a target that is (B45)."""
    if cohort is None:
        yield from _of_type(whole, request, None, short)
        return
    told = told_since(request)
    since, late = -1 if request.since is None else request.since, axis.last_instant(whole.t, request.until)
    relevant = msgspec.structs.replace(whole, by="relevant", scope="all", since=since, late=late)
    if cohort.members:
        yield relevant
    if cohort.members and told is not None:
        yield msgspec.structs.replace(relevant, by="relevant deleted", since=told)
    if cohort.has_left and request.left_members == "delete":
        yield msgspec.structs.replace(relevant, by="relevant left")


def _superseded(whole: Walk, request: ExportRequest, cohort: Cohort | None, kept: Instant) -> Walk:
    """Every version that ended by T, after `since` or that from which on all are there. Whose it is its own compartments
    say. Of the Group that is exported none: it would tell who was in it before (L2)."""
    since = max(-1 if request.since is None else request.since, kept)
    late = axis.last_instant(whole.t, request.until)
    if cohort is not None and (not cohort.wide or cohort.has_whole):
        return _by_patient(whole, by="former", since=since, late=late, kept=kept)
    whole = msgspec.structs.replace(whole, after=(since, FOREVER), to=(whole.t, FOREVER))
    return msgspec.structs.replace(whole, by="history", late=late, kept=kept)


def _by_patient(whole: Walk, **how: Any) -> Walk:
    """The walk over all of the type as one that goes from patient to patient."""
    return msgspec.structs.replace(whole, scope="all", after=(0, 0), to=(FOREVER, keys.last(whole.code)), **how)
