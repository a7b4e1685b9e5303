"""Whose a resource is, and who is in a Group, the naive way: for the source in memory, on decoded JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fhirferry.fhir.definitions import load
from fhirferry.model.cohort import Cohort
from fhirferry.model.errors import GroupNotFound, PatientNotFound
from fhirferry.model.instant import SECOND, Instant, format_instant, parse_instant
from fhirferry.model.partition import Issue
from fhirferry.model.request import ExportRequest

At = Callable[[str, str], Any]
decode = json.loads  # any number is one, also 1e400


def whose(kind: str, ident: str, body: Any) -> Iterator[str]:
    """Ids of the patients in whose compartments a resource is, by R4's paths; perhaps with doubles."""
    if kind == "Patient":
        yield ident
    definitions = load("R4")
    for path in definitions.compartment(kind) if kind in definitions.types else ():
        values = [body]
        for step in path.steps:
            values = [value.get(step) for value in values if isinstance(value, dict)]
            values = [one for value in values for one in (value if isinstance(value, list) else [value])]
        for value in values:
            reference = value.get("reference") if isinstance(value, dict) else None
            target = literal(reference) if isinstance(reference, str) else ("", "")
            if target[0] == "Patient":
                yield target[1]


def literal(reference: str) -> tuple[str, str]:
    """Type and id; empty for what is no literal reference to a resource of its own."""
    parts = urlsplit(reference)
    if parts.query or parts.fragment or "?" in reference or "#" in reference:
        return "", ""
    steps = (parts.path if parts.scheme in ("http", "https") else reference).split("/")
    if len(steps) > 3 and steps[-2] == "_history" and steps[-1]:
        steps = steps[:-2]
    absolute = parts.scheme in ("http", "https") and bool(parts.netloc) and len(steps) > 2
    return (steps[-2], steps[-1]) if absolute or (not parts.scheme and len(steps) == 2) else ("", "")


def _is_within(period: Mapping[str, str], t: Instant) -> bool:
    """A date is compared with as much of T as it says."""
    now = format_instant(t)
    start, end = period.get("start", ""), period.get("end", "9999")
    begun = parse_instant(start) <= t if "T" in start else start <= now[: len(start)]
    if "T" not in end:
        return begun and now[: len(end)] <= end
    unit = SECOND // 10 ** len(end[20:].rstrip("Z")) if end[19] == "." else SECOND
    return begun and t < parse_instant(end) + unit


def members(request: ExportRequest, t: Instant, at: At, given: Iterable[str] | None = None) -> Cohort:
    """`Source.members` of a request that has a cohort. at(type, id): a resource at T, decoded, or None."""
    issues: list[Issue] = []
    if given is None and request.patient_list is not None:
        raise ValueError("the list of patients that the request stands for is missing")
    named = set((request.patients or ()) if given is None else given)
    if request.group_id is not None:
        group = at("Group", request.group_id)
        if group is None:
            raise GroupNotFound(f"Group {request.group_id} was not found.")
        found = _members_of(group, t, at, {request.group_id}, issues)
        if not found:
            issues.append(_warning("nobody is in the group"))
        if not request.has_list:
            return Cohort(patients=iter(sorted(found)), issues=tuple(issues))
        if named - found:
            raise PatientNotFound(f"not in the group: {', '.join(sorted(named - found)[:5])}")
    absent = sorted(ident for ident in named if at("Patient", ident) is None)
    if absent:
        raise PatientNotFound(f"not there: {', '.join(absent[:5])}")
    return Cohort(patients=iter(sorted(named)), issues=tuple(issues))


def _members_of(group: Any, t: Instant, at: At, seen: set[str], issues: list[Issue]) -> set[str]:
    """Ids of the patients in a Group and in those in it. seen: Groups so far."""
    if group.get("active") is False:
        issues.append(_warning("a group is not active"))
        return set()
    found: set[str] = set()
    for member in group.get("member", []):
        if member.get("inactive") or not _is_within(member.get("period", {}), t):
            continue
        kind, ident = literal(member["entity"].get("reference", ""))
        if kind == "Patient":
            found.add(ident)
        elif kind == "Group" and ident not in seen:
            seen.add(ident)
            nested = at("Group", ident)
            if nested is None:
                issues.append(_warning("a group is not there"))
            else:
                found |= _members_of(nested, t, at, seen, issues)
    return found


def _warning(text: str) -> Issue:
    return Issue(severity="warning", code="not-found", diagnostics=text)
