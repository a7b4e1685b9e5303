"""What an index can narrow: all that a filter says about ids and `meta.lastUpdated`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import msgspec

from fhirferry.fhir.search.criteria import Criterion
from fhirferry.fhir.search.dates import FUTURE, PAST, Range
from fhirferry.fhir.search.filters import TypeFilter
from fhirferry.fhir.search.values import DateValue


@final
class IndexHints(msgspec.Struct, frozen=True):
    """Bounds that no matching resource is outside of. They may let others in: each resource is still evaluated.

    ids: logical ids; None for any. updated: [from, to) of `meta.lastUpdated` in microseconds; None for any.
    """

    ids: frozenset[str] | None = None
    updated: Range | None = None


def index_hints(filters: Sequence[TypeFilter]) -> IndexHints:
    """Of filters of one type, which are OR-ed: every one must narrow, or none does."""
    ids = [_ids(one.criteria) for one in filters]
    updated = [_updated(one.criteria) for one in filters]
    known_ids = [found for found in ids if found is not None]
    known = [found for found in updated if found is not None]
    return IndexHints(
        frozenset().union(*known_ids) if known_ids and len(known_ids) == len(ids) else None,
        (min(low for low, _ in known), max(high for _, high in known))
        if known and len(known) == len(updated)
        else None,
    )


def _ids(criteria: Iterable[Criterion]) -> frozenset[str] | None:
    sets = [frozenset(t.code for t in c.parsed) for c in criteria if c.parameter.name == "_id" and not c.modifier]
    return frozenset.intersection(*sets) if sets else None


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
