"""Versions of resources in memory: the embedded store's rules of writing in plain Python, and looking among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fhirferry.fhir.resource import Deletion, Resource, read_resource
from fhirferry.model.instant import FOREVER, Clock, Instant
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory_patients import decode, whose
from fhirferry.sources.memory_provenance import targets
from fhirferry.store import axis
from fhirferry.store.writing import Head, Outcome, judge, stamped


class Version(msgspec.Struct):
    """body None: a deletion. patients: whose it is, or was. targets: what a Provenance is about, or was."""

    key: int
    type: str
    id: str
    head: Head
    body: bytes | None
    patients: frozenset[str]
    targets: frozenset[str]
    ended: Instant = FOREVER

    def visible(self, t: Instant) -> bool:
        return self.head.changed <= t < self.ended


class Versions:
    """All versions that pruning has left, the ways to add to them, and what can be asked of them alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._versions: list[Version] = []
        self._keys = 0
        self._current: dict[tuple[str, str], Version] = {}
        self._last_t = self._last_stamp = 0

    def put(self, *bodies: bytes) -> list[Outcome]:
        """Write resources given as JSON."""
        return self.write([read_resource(body) for body in bodies])

    def delete(self, type: str, id: str) -> Outcome:  # noqa: A002 - FHIR's words
        return self.write([Deletion(type, id)])[0]

    def write(self, items: Sequence[Resource | Deletion], *, force: bool = False) -> list[Outcome]:
        """As `SqliteStore.write`."""
        now = axis.present(self._clock(), self._last_t)
        return [self._apply(item, now, force) for item in items]

    def get(self, type: str, id: str) -> bytes | None:  # noqa: A002 - FHIR's words
        current = self._current.get((type, id))
        return None if current is None else current.body

    def _apply(self, item: Resource | Deletion, now: Instant, force: bool) -> Outcome:
        current = self._current.get((item.type, item.id))
        head = None if current is None else current.head
        outcome = judge(item, head, force=force)
        if outcome in (Outcome.EQUAL, Outcome.OLDER, Outcome.ABSENT):
            return outcome
        self._keys += 1
        number = head.version + 1 if head else 1
        given = None if isinstance(item, Deletion) else item.updated
        changed = axis.stamp(given, now, self._last_t, head.changed if head else 0)
        body: bytes | None = None
        if isinstance(item, Deletion):
            made = Head(self._keys, number, changed, head.updated if head else changed, 0, b"")
        else:
            body, updated = stamped(item, number, changed, now)
            made = Head(self._keys, number, changed, updated, len(body) + 1, item.digest)
        if current is not None:
            current.ended = changed
        old = current.patients if current else frozenset()
        patients = old if body is None else frozenset(whose(item.type, item.id, decode(body)))
        about = current.targets if current else frozenset()
        if body is not None:
            about = frozenset(targets(decode(body)) if item.type == "Provenance" else ())
        version = Version(self._keys, item.type, item.id, made, body, patients, about)
        self._versions.append(version)
        self._current[item.type, item.id] = version
        self._last_stamp = max(self._last_stamp, changed)
        return outcome

    def _at(self, t: Instant, kind: str, ident: str) -> Any:
        for version in self._versions:
            if (version.type, version.id) == (kind, ident) and version.visible(t) and version.body is not None:
                return decode(version.body)
        return None

    def _types(self, request: ExportRequest) -> Sequence[str]:
        there = {version.type for version in self._versions} - ({"Provenance"} if request.provenance else set())
        return sorted(there if request.types is None else there.intersection(request.types))

    def _whose(self, version: Version, bounds: Mapping[str, Any]) -> frozenset[str]:
        """A Provenance also belongs to whom what it is about does, but for Groups: those are no single patient's."""
        about = [
            other.patients
            for other in self._versions
            if f"{other.type}/{other.id}" in version.targets
            and other.visible(bounds["t"])
            and not (other.type == "Group" and bounds["cohort"])
        ]
        return version.patients.union(*about)
