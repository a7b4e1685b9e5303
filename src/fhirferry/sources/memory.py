"""A source in memory: the embedded store's rules in plain Python, for tests of everything above it.

Whose a resource is, and whom a request means, is found out here by other means than in the store: each way is a test of
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from fhirferry.bulkdata.deletions import BUNDLE_ENTRIES, deletion_bundle
from fhirferry.fhir.resource import Deletion, Resource, read_resource
from fhirferry.model.cohort import Cohort, Selection
from fhirferry.model.errors import SnapshotGone, TransientError
from fhirferry.model.instant import DAY, FOREVER, Clock, Instant, format_instant
from fhirferry.model.partition import Kind, Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory_patients import decode, members, whose
from fhirferry.store import axis
from fhirferry.store.writing import Head, Outcome, judge, stamped


class _Version(msgspec.Struct):
    """body None: a deletion. patients: whose it is, or was."""

    key: int
    type: str
    id: str
    head: Head
    body: bytes | None
    patients: frozenset[str]
    ended: Instant = FOREVER

    def visible(self, t: Instant) -> bool:
        return self.head.changed <= t < self.ended


class MemorySource:
    """Implements `sources.protocol.Source`, and what a test needs to fill it: `put`, `delete`, `write`, `prune`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._versions: list[_Version] = []
        self._keys = 0
        self._current: dict[tuple[str, str], _Version] = {}
        self._pins: dict[str, tuple[Instant, Instant]] = {}
        self._cohorts: dict[str, dict[str, bool]] = {}
        self._watermark = self._last_t = self._last_stamp = 0
        self._failures: list[Exception] = []

    # Filling

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

    def prune(self, before: Instant | None = None) -> None:
        """As `SqliteStore.prune`."""
        now = self._clock()
        self._pins = {job: pin for job, pin in self._pins.items() if pin[1] > now}
        self._cohorts = {job: cohort for job, cohort in self._cohorts.items() if job in self._pins}
        bounds = [self._last_stamp, *(t for t, _ in self._pins.values()), *([] if before is None else [before])]
        self._watermark = max(self._watermark, min(bounds))
        self._versions = [version for version in self._versions if version.ended > self._watermark]

    def fail_next(self, *errors: Exception) -> None:
        """Each of the next reads raises one of these."""
        self._failures += errors

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
        version = _Version(self._keys, item.type, item.id, made, body, patients)
        self._versions.append(version)
        self._current[item.type, item.id] = version
        self._last_stamp = max(self._last_stamp, changed)
        return outcome

    # The source

    def snapshot(self, job_id: str) -> Instant:
        now = self._clock()
        if job_id in self._pins:
            t = self._pins[job_id][0]
        else:
            t = self._last_t = axis.transaction_time(now, self._last_t, self._last_stamp)
        self._pins[job_id] = t, now + DAY
        return t

    def renew(self, job_id: str, transaction_time: Instant) -> None:
        self._must_hold(transaction_time)
        if transaction_time > self._last_t:
            raise SnapshotGone("this T was never handed out here")
        self._pins[job_id] = transaction_time, self._clock() + DAY

    def release(self, job_id: str) -> None:
        self._pins.pop(job_id, None)
        self._cohorts.pop(job_id, None)

    def members(self, request: ExportRequest, transaction_time: Instant) -> Cohort | None:
        self._must_hold(transaction_time)
        at = partial(self._at, transaction_time)
        return members(request, transaction_time, at) if request.has_cohort else None

    def _at(self, t: Instant, kind: str, ident: str) -> Any:
        for version in self._versions:
            if (version.type, version.id) == (kind, ident) and version.visible(t) and version.body is not None:
                return decode(version.body)
        return None

    def select(self, job_id: str, transaction_time: Instant, patients: Iterable[tuple[str, bool]]) -> Selection:
        self._must_hold(transaction_time)
        if job_id not in self._cohorts:
            cohort: dict[str, bool] = {}
            for ident, whole in patients:
                cohort[ident] = whole or cohort.get(ident, False)
            self._cohorts[job_id] = cohort
        known = set().union(*(version.patients for version in self._versions if version.type != "Group"))
        count = len(known & set(self._cohorts[job_id]))
        return Selection(patients=count, absent=len(self._cohorts[job_id]) - count)

    def totals(self, request: ExportRequest, transaction_time: Instant, job_id: str = "") -> Mapping[str, Total]:
        found = {}
        for name in self._types(request):
            fixed = _fixed(Kind.OUTPUT, name, transaction_time, request, job_id)
            sizes = [version.head.size for version in self._walk(fixed)]
            if sizes:
                found[name] = Total(resources=len(sizes), bytes=sum(sizes))
        return found

    def partitions(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        target_bytes: int,
        after: PartitionPlan | None = None,
        job_id: str = "",
    ) -> Iterator[PartitionPlan]:
        self._must_hold(transaction_time)
        if request.has_cohort:
            self._cohort(job_id)
        kinds = (Kind.OUTPUT,) if request.since is None else (Kind.OUTPUT, Kind.DELETED)
        for name, kind in ((name, kind) for name in self._types(request) for kind in kinds):
            start = [-1, -1]
            if after is not None:
                if (name, kind) != (after.resource_type, after.kind):
                    continue
                start, after = after.bounds["to"], None
            fixed = _fixed(kind, name, transaction_time, request, job_id)
            filled, end = 0, start
            for version in self._walk(fixed):
                if self._position(version, fixed) > start:
                    filled, end = filled + _weight(version), self._position(version, fixed)
                if filled >= target_bytes:
                    yield PartitionPlan(
                        kind=kind, resource_type=name, bounds={**fixed, "after": start, "to": end}, bytes=filled
                    )
                    filled, start = 0, end
            if filled:
                yield PartitionPlan(
                    kind=kind, resource_type=name, bounds={**fixed, "after": start, "to": end}, bytes=filled
                )

    def read(self, bounds: Mapping[str, Any], continuation: str | None, max_resources: int, max_bytes: int) -> Page:
        if self._failures:
            raise self._failures.pop(0)
        self._must_hold(bounds["t"])
        kind = Kind(bounds["kind"])
        if kind is Kind.DELETED:
            max_resources = min(max_resources, BUNDLE_ENTRIES)
        start = bounds["after"] if continuation is None else [int(part) for part in continuation.split(".")]
        taken: list[_Version] = []
        size, more = 0, False
        for version in self._walk(bounds):
            if not start < self._position(version, bounds) <= bounds["to"]:
                continue
            more = bool(taken) and (len(taken) == max_resources or size + _weight(version) > max_bytes)
            if more:
                break
            taken.append(version)
            size += _weight(version)
        following = "{}.{}".format(*self._position(taken[-1], bounds)) if more else None
        if kind is Kind.DELETED:
            body = deletion_bundle(bounds["type"], [version.id for version in taken]) + b"\n" if taken else b""
            return Page(body=body, count=bool(taken), continuation=following)
        return Page(
            body=b"".join(v.body + b"\n" for v in taken if v.body is not None),
            count=len(taken),
            continuation=following,
        )

    def close(self) -> None:
        """Nothing to give back."""

    def _types(self, request: ExportRequest) -> Sequence[str]:
        there = {version.type for version in self._versions}
        return sorted(there if request.types is None else there.intersection(request.types))

    def _cohort(self, job_id: str) -> Mapping[str, bool]:
        if job_id not in self._cohorts:
            raise TransientError(f"the patients of job {job_id} are not selected")
        return self._cohorts[job_id]

    def _walk(self, bounds: Mapping[str, Any]) -> Sequence[_Version]:
        """What is meant, in order."""
        found = [
            version
            for version in self._versions
            if version.type == bounds["type"]
            and (version.body is None) == (bounds["kind"] == Kind.DELETED)
            and version.visible(bounds["t"])
            and version.head.changed <= axis.last_instant(bounds["t"], bounds["until"])
            and self._is_meant(version, bounds)
        ]
        return sorted(found, key=lambda version: self._position(version, bounds))

    def _is_meant(self, version: _Version, bounds: Mapping[str, Any]) -> bool:
        new = bounds["since"] is None or version.head.changed > bounds["since"]
        if bounds["level"] == "system":
            return new
        if not bounds["cohort"]:
            return new and bool(version.patients)
        cohort = self._cohort(bounds["job"])
        if version.type == "Group":
            return new and bool(cohort) and version.body is not None and version.id == bounds["group"]
        mine = version.patients & set(cohort)
        return bool(mine) and (new or (version.body is not None and any(cohort[ident] for ident in mine)))

    @staticmethod
    def _position(version: _Version, bounds: Mapping[str, Any]) -> list[int]:
        whole = bounds["since"] is None and bounds["until"] is None
        return [0 if whole else version.head.changed, version.key]

    def _must_hold(self, t: Instant) -> None:
        if self._watermark > t:
            raise SnapshotGone(f"pruned up to {format_instant(self._watermark)}; start a new export")


def _weight(version: _Version) -> int:
    """Bytes of its line; of a deletion about what its entry takes in a Bundle."""
    return version.head.size or 128


def _fixed(kind: Kind, name: str, t: Instant, request: ExportRequest, job_id: str) -> dict[str, Any]:
    """What all partitions of a type have in their bounds. group: the one that goes out itself."""
    return {
        "kind": kind,
        "type": name,
        "t": t,
        "since": request.since,
        "until": request.until,
        "level": request.level,
        "cohort": request.has_cohort,
        "group": request.group_id if request.patients is None else None,
        "job": job_id,
    }
