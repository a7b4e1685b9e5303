"""What a Provenance is about, the naive way: for the source in memory, on decoded JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from fhirferry.model.instant import Instant
from fhirferry.sources.memory_patients import literal


def targets(body: Any) -> Iterator[str]:
    """`Type/id` of each target; perhaps with doubles."""
    entries = body.get("target", [])
    for entry in entries if isinstance(entries, list) else [entries]:
        reference = entry.get("reference") if isinstance(entry, dict) else None
        kind, ident = literal(reference) if isinstance(reference, str) else ("", "")
        if kind:
            yield f"{kind}/{ident}"


def associated(
    there: Iterable[tuple[str, Any, Instant, int]], references: Iterable[str], *, latest: bool
) -> Iterator[str]:
    """Ids of those that have one of the references as a target, perhaps with doubles. there: id, body, when it changed
    and key of each Provenance."""
    about: dict[str, list[tuple[tuple[bool, float, Instant, int], str]]] = {}
    for ident, body, changed, key in there:
        for reference in targets(body):
            about.setdefault(reference, []).append(((*_recorded(body), changed, key), ident))
    for reference in references:
        found = sorted(about.get(reference, []))
        yield from (ident for _, ident in (found[-1:] if latest else found))


def _recorded(body: Mapping[str, Any]) -> tuple[bool, float]:
    """Whether it says when, and when. A date, or a time of nowhere, is no instant."""
    try:
        moment = datetime.fromisoformat(body.get("recorded", ""))
    except (TypeError, ValueError):
        return False, 0.0
    return (True, moment.timestamp()) if moment.tzinfo else (False, 0.0)
