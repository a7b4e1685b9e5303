"""A source in memory: the embedded store's rules in plain Python, for tests of everything above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from fhirferry.bulkdata.deletions import BUNDLE_ENTRIES, deletion_bundle
from fhirferry.fhir.resource import Deletion, Resource, read_resource
from fhirferry.model.errors import SnapshotGone
from fhirferry.model.instant import DAY, FOREVER, Clock, Instant, format_instant
from fhirferry.model.partition import Kind, Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from fhirferry.store import axis
from fhirferry.store.writing import Head, Outcome, judge, stamped


class _Version(msgspec.Struct):
    """body None: a deletion."""

    key: int
    type: str
    id: str
    head: Head
    body: bytes | None
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
        version = _Version(self._keys, item.type, item.id, made, body)
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
        self._pins[job_id] = transaction_time, self._clock() + DAY

    def release(self, job_id: str) -> None:
        self._pins.pop(job_id, None)

    def totals(self, request: ExportRequest, transaction_time: Instant) -> Mapping[str, Total]:
        found = {}
        for name in self._types(request):
            sizes = [v.head.size for v in self._walk(Kind.OUTPUT, name, request.since, request.until, transaction_time)]
            if sizes:
                found[name] = Total(resources=len(sizes), bytes=sum(sizes))
        return found

    def partitions(
        self, request: ExportRequest, transaction_time: Instant, target_bytes: int, after: PartitionPlan | None = None
    ) -> Iterator[PartitionPlan]:
        self._must_hold(transaction_time)
        kinds = (Kind.OUTPUT,) if request.since is None else (Kind.OUTPUT, Kind.DELETED)
        for name, kind in ((name, kind) for name in self._types(request) for kind in kinds):
            start = [-1, -1]
            if after is not None:
                if (name, kind) != (after.resource_type, after.kind):
                    continue
                start, after = after.bounds["to"], None
            fixed = {"kind": kind, "type": name, "t": transaction_time, "since": request.since, "until": request.until}
            filled, end = 0, start
            for version in self._walk(kind, name, request.since, request.until, transaction_time):
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
        for version in self._walk(kind, bounds["type"], bounds["since"], bounds["until"], bounds["t"]):
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

    def _walk(
        self, kind: Kind, name: str, since: Instant | None, until: Instant | None, t: Instant
    ) -> Sequence[_Version]:
        first = -1 if since is None else since
        found = [
            version
            for version in self._versions
            if version.type == name
            and (version.body is None) == (kind is Kind.DELETED)
            and version.visible(t)
            and first < version.head.changed <= axis.last_instant(t, until)
        ]
        narrowed = {"since": since, "until": until}
        return sorted(found, key=lambda version: self._position(version, narrowed))

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
