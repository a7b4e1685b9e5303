"""What of a type's filters an index of the store can narrow. The filters are still evaluated on what is read, so a hint
may let too much through, and never too little.

`meta.lastUpdated` narrows twice. No version has a `lastUpdated` after its `changed` (axis.stamp): the stamp is at or after
the given one, and one in the future is replaced by the stamp. So what was updated at or after an instant changed then, or
later when it was loaded late, and the walk by time may begin there. Where it ends says nothing. But `updated` of a
version is what its body says, and that is looked at before the body is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import FOREVER, Instant
from fhirferry.model.request import ExportRequest

MOST_IDS = 1_000
"""Each partition holds them all, and each page looks them up. Who names more names much of the type."""
MOST_PATIENTS = 200
"""Of more the order on disk is soon the shorter way: their versions lie scattered."""

SHORTER = 4
"""A way that leads to more than one version in so many is not taken: by time or by patient a version costs about twice
what it does in the order on disk (benchmarks/filter.py)."""
ALWAYS = 1_000
"""Versions; looking for a better way than to these would cost as much."""

Range = tuple[Instant, Instant]


class Hint(msgspec.Struct, frozen=True):
    """Bounds of what can match. ids, patients: sorted; None for any. updated: [from, to), the column; None for any."""

    ids: tuple[str, ...] | None = None
    patients: tuple[str, ...] | None = None
    updated: Range | None = None

    @property
    def since(self) -> Instant:
        """Everything that can match changed after this."""
        return -1 if self.updated is None else max(-1, self.updated[0] - 1)


NONE = Hint()


def most(resources: int) -> int:
    """So many versions a way may pass that is to be the shorter one, in a type that has so many resources."""
    return max(ALWAYS, resources // SHORTER)


def hints_of(request: ExportRequest) -> Mapping[str, Hint]:
    """By type; none of a type means that nothing is known of it, or that it has no filter."""
    return _read(request.type_filters, request.release) if request.type_filters else {}


@lru_cache(maxsize=4)
def _read(texts: tuple[str, ...], release: str) -> Mapping[str, Hint]:
    from fhirferry.fhir.definitions import load  # few exports have filters
    from fhirferry.fhir.search.filters import read_type_filters
    from fhirferry.fhir.search.hints import index_hints

    try:
        filters = read_type_filters(texts, load(release))
    except RequestError:
        return {}  # whoever evaluates them says what is wrong
    found = {kind: index_hints(filters.of(kind)) for kind in filters.types}
    hints = {
        kind: Hint(_few(one.ids, MOST_IDS), _few(one.patients, MOST_PATIENTS), _range(one.updated))
        for kind, one in found.items()
    }
    return {kind: hint for kind, hint in hints.items() if hint != NONE}


def _few(ids: frozenset[str] | None, most: int) -> tuple[str, ...] | None:
    return None if ids is None or len(ids) > most else tuple(sorted(ids))


def _range(updated: Range | None) -> Range | None:
    """As far as 64 bits go."""
    return None if updated is None else (max(updated[0], -FOREVER), min(updated[1], FOREVER))
