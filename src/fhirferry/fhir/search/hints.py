"""What an index can narrow: all that a filter says about ids, `meta.lastUpdated`, and whose compartments it looks into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import msgspec

from fhirferry.fhir import membership
from fhirferry.fhir.search.criteria import Criterion
from fhirferry.fhir.search.dates import FUTURE, PAST, Range
from fhirferry.fhir.search.filters import TypeFilter
from fhirferry.fhir.search.values import DateValue, ReferenceValue


@final
class IndexHints(msgspec.Struct, frozen=True):
    """Bounds that no matching resource is outside of. They may let others in: each resource is still evaluated.

    ids: logical ids; None for any. updated: [from, to) of `meta.lastUpdated` in microseconds; None for any.
    patients: ids of those in one of whose compartments it is, by what `membership` says; None for any, or nobody's.
    """

    ids: frozenset[str] | None = None
    updated: Range | None = None
    patients: frozenset[str] | None = None


def index_hints(filters: Sequence[TypeFilter]) -> IndexHints:
    """Of filters of one type, which are OR-ed: every one must narrow, or none does."""
    updated = [_updated(one.criteria) for one in filters]
    known = [found for found in updated if found is not None]
    return IndexHints(
        _union([_ids(one.criteria) for one in filters]),
        (min(low for low, _ in known), max(high for _, high in known))
        if known and len(known) == len(updated)
        else None,
        _union([_patients(one) for one in filters]),
    )


def _union(sets: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    known = [found for found in sets if found is not None]
    return frozenset().union(*known) if known and len(known) == len(sets) else None


def _ids(criteria: Iterable[Criterion]) -> frozenset[str] | None:
    sets = [frozenset(t.code for t in c.parsed) for c in criteria if c.parameter.name == "_id" and not c.modifier]
    return frozenset.intersection(*sets) if sets else None


def _patients(one: TypeFilter) -> frozenset[str] | None:
    """Of several parameters the one that names the fewest: a resource may be in the compartments of different ones."""
    ways = membership.ways(one.type)
    if one.type == "Group" or not ways:  # whose a Group is nobody keeps
        return None
    sets = [
        frozenset(map(_patient, criterion.parsed))
        for criterion in one.criteria
        if criterion.parameter.type == "reference"
        and criterion.modifier in ("", "Patient")
        and all(path.type == "Reference" and path.steps in ways for path in criterion.parameter.paths)
    ]
    return min(
        (found for found in sets if "" not in found), key=lambda found: (len(found), sorted(found)), default=None
    )


def _patient(value: ReferenceValue) -> str:
    """The id, of a Patient; empty for what may be found in a reference that is no patient's compartment. A bare id is
    found behind anything."""
    if value.url:
        kind, ident = membership.target(value.url)
    else:
        kind, ident = value.kind, value.id
    return ident if kind == "Patient" else ""


def _updated(criteria: Iterable[Criterion]) -> Range | None:
    low, high = PAST, FUTURE
    for criterion in criteria:
        if criterion.parameter.name == "_lastUpdated" and not criterion.modifier:
            bounds = [_bounds(value) for value in criterion.parsed]
            low = max(low, min(bound[0] for bound in bounds))
            high = min(high, max(bound[1] for bound in bounds))
    return None if (low, high) == (PAST, FUTURE) else (low, max(low, high))


def _bounds(value: DateValue) -> Range:
    low, high = value.range
    match value.prefix:
        case "eq" | "ap":
            return low, high
        case "gt" | "sa":
            return high, FUTURE
        case "ge":
            return low, FUTURE
        case "lt" | "eb":
            return PAST, low
        case "le":
            return PAST, high
    return PAST, FUTURE
