"""A source in memory: the embedded store's rules in plain Python, for tests of everything above it.

Whose a resource is, and whom a request means, is found out here by other means than in the store: each way is a test of
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from fhirferry.bulkdata.deletions import BUNDLE_ENTRIES, deletion_bundle
from fhirferry.model.cohort import Cohort, Selection, Share
from fhirferry.model.errors import SnapshotGone, TransientError
from fhirferry.model.instant import DAY, Clock, Instant, format_instant
from fhirferry.model.partition import BLOCKS, Kind, Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from fhirferry.sources import memory_bounds
from fhirferry.sources import memory_organised as organised
from fhirferry.sources.memory_patients import decode, members
from fhirferry.sources.memory_provenance import associated
from fhirferry.sources.memory_versions import Version, Versions
from fhirferry.store import axis


class MemorySource(Versions):
    """Implements `sources.protocol.Source`, and what a test needs to fill it: `put`, `delete`, `write`, `prune`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._pins: dict[str, tuple[Instant, Instant]] = {}
        self._kept: dict[str, Instant] = {}
        self._cohorts: dict[str, dict[str, Share]] = {}
        self._rounds: dict[tuple[str, int], set[int]] = {}
        self._watermark = 0
        self._failures: list[Exception] = []

    def prune(self, before: Instant | None = None) -> None:
        """As `SqliteStore.prune`."""
        now = self._clock()
        self._pins = {job: pin for job, pin in self._pins.items() if pin[1] > now}
        self._cohorts = {job: cohort for job, cohort in self._cohorts.items() if job in self._pins}
        self._rounds = {(job, round_): found for (job, round_), found in self._rounds.items() if job in self._pins}
        self._kept = {job: kept for job, kept in self._kept.items() if job in self._pins}
        pinned = [t for t, _ in self._pins.values()]
        bounds = [self._last_stamp, *pinned, *self._kept.values(), *([] if before is None else [before])]
        self._watermark = max(self._watermark, min(bounds))
        self._versions = [version for version in self._versions if version.ended > self._watermark]

    def fail_next(self, *errors: Exception) -> None:
        """Each of the next reads raises one of these."""
        self._failures += errors

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

    def keep_history(self, job_id: str, after: Instant) -> Instant:
        if job_id not in self._pins:
            raise TransientError(f"job {job_id} has no pin")
        return self._kept.setdefault(job_id, max(after, self._watermark))

    def release(self, job_id: str) -> None:
        self._pins.pop(job_id, None)
        self._kept.pop(job_id, None)
        self._cohorts.pop(job_id, None)
        self._rounds = {place: found for place, found in self._rounds.items() if place[0] != job_id}

    def members(
        self, request: ExportRequest, transaction_time: Instant, named: Iterable[str] | None = None
    ) -> Cohort | None:
        self._must_hold(transaction_time)
        at = partial(self._at, transaction_time)
        return members(request, transaction_time, at, named) if request.has_cohort else None

    def select(self, job_id: str, transaction_time: Instant, patients: Iterable[tuple[str, Share]]) -> Selection:
        self._must_hold(transaction_time)
        if job_id not in self._cohorts:
            given = list(patients)
            rank = [Share.LEFT, Share.SINCE, Share.WHOLE]
            self._cohorts[job_id] = {ident: share for share in rank for ident, one in given if one == share}
        known, chosen = self._known(), self._members(job_id)
        return Selection(patients=len(known & chosen), absent=len(chosen - known))

    def name(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        job_id: str,
        round: int,  # noqa: A002 - the word of PartitionPlan
        references: Iterable[tuple[str, bool]],
    ) -> None:
        self._must_hold(transaction_time)
        there = {
            f"{version.type}/{version.id}": version for version in self._versions if version.visible(transaction_time)
        }
        gone_out = {
            key for (job, earlier), keys in self._rounds.items() if job == job_id and earlier < round for key in keys
        }
        for name, kind in ((name, kind) for name in self._types(request) for kind in (Kind.OUTPUT, Kind.DELETED)):
            gone_out.update(
                v.key for v in self._walk(memory_bounds.fixed(kind, name, transaction_time, request, job_id))
            )
        may = self._members(job_id) if request.has_cohort else set().union(*(v.patients for v in self._versions))
        found = self._rounds.setdefault((job_id, round), set())
        for reference, wanted in references:
            version = there.get(reference)
            if version is None or (request.level != "system" and (version.type == "Group" or version.patients - may)):
                continue
            told = memory_bounds.told_since(request) if version.body is None else request.since
            joined = {ident for ident, share in self._cohorts.get(job_id, {}).items() if share == Share.WHOLE}
            new = version.head.changed > (told or 0) or (version.body is not None and bool(version.patients & joined))
            deletion = version.body is None and (wanted or told is None)
            if (wanted or new) and not deletion and version.key not in gone_out:
                found.add(version.key)

    def associated(self, transaction_time: Instant, references: Sequence[str], *, latest: bool) -> Sequence[str]:
        self._must_hold(transaction_time)
        there = [
            (v.id, decode(v.body), v.head.changed, v.key)
            for v in self._versions
            if v.type == "Provenance" and v.visible(transaction_time) and v.body is not None
        ]
        return sorted({f"Provenance/{ident}" for ident in associated(there, references, latest=latest)})

    def totals(self, request: ExportRequest, transaction_time: Instant, job_id: str = "") -> Mapping[str, Total]:
        found = {}
        if request.organize_output_by is not None:
            fixed = memory_bounds.fixed(Kind.OUTPUT, BLOCKS, transaction_time, request, job_id)
            sizes = [version.head.size for _, version in self._blocks(fixed)]
            return {BLOCKS: Total(resources=len(sizes), bytes=sum(sizes))} if sizes else {}
        for name in self._types(request):
            fixed = memory_bounds.fixed(Kind.OUTPUT, name, transaction_time, request, job_id)
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
        round: int = 0,  # noqa: A002 - the word of PartitionPlan
    ) -> Iterator[PartitionPlan]:
        self._must_hold(transaction_time)
        if round:
            self._round(job_id, round)
        elif request.has_cohort:
            self._cohort(job_id)
        types = sorted({version.type for version in self._versions}) if round else self._types(request)
        kinds = [Kind.OUTPUT, Kind.DELETED]
        if request.history_after is not None and not round:
            kinds.insert(1, Kind.HISTORY)
        if request.organize_output_by is not None:
            kinds = [Kind.DELETED]
            if after is None or after.resource_type == BLOCKS:
                yield from self._cut_blocks(
                    memory_bounds.fixed(Kind.OUTPUT, BLOCKS, transaction_time, request, job_id), after, target_bytes
                )
                after = None
        for name, kind in ((name, kind) for name in types for kind in kinds):
            start = [-1, -1]
            if after is not None:
                if (name, kind) != (after.resource_type, after.kind):
                    continue
                start, after = after.bounds["to"], None
            fixed = memory_bounds.fixed(kind, name, transaction_time, request, job_id, round)
            if kind is Kind.HISTORY:
                fixed["kept"] = self._must_keep(job_id)
            filled, end = 0, start
            for version in self._walk(fixed):
                if memory_bounds.position(version, fixed) > start:
                    filled, end = filled + memory_bounds.weight(version, kind), memory_bounds.position(version, fixed)
                if filled >= target_bytes:
                    yield memory_bounds.plan(fixed, start, end, filled)
                    filled, start = 0, end
            if filled:
                yield memory_bounds.plan(fixed, start, end, filled)

    def read(self, bounds: Mapping[str, Any], continuation: str | None, max_resources: int, max_bytes: int) -> Page:
        if self._failures:
            raise self._failures.pop(0)
        self._must_hold(bounds["t"])
        kind = Kind(bounds["kind"])
        if kind is Kind.HISTORY and self._watermark > bounds["kept"]:
            raise SnapshotGone("what was superseded is pruned")
        if bounds["type"] == BLOCKS:
            start_at = bounds["after"][1] if continuation is None else int(continuation)
            return organised.page(self._blocks(bounds), start_at, bounds["to"][1], max_resources, max_bytes)
        if kind is Kind.DELETED:
            max_resources = min(max_resources, BUNDLE_ENTRIES)
        start = bounds["after"] if continuation is None else [int(part) for part in continuation.split(".")]
        taken: list[Version] = []
        size, more = 0, False
        for version in self._walk(bounds):
            if not start < memory_bounds.position(version, bounds) <= bounds["to"]:
                continue
            more = bool(taken) and (
                len(taken) == max_resources or size + memory_bounds.weight(version, kind) > max_bytes
            )
            if more:
                break
            taken.append(version)
            size += memory_bounds.weight(version, kind)
        following = "{}.{}".format(*memory_bounds.position(taken[-1], bounds)) if more else None
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

    def _cohort(self, job_id: str) -> Mapping[str, Share]:
        if job_id not in self._cohorts:
            raise TransientError(f"the patients of job {job_id} are not selected")
        return self._cohorts[job_id]

    def _known(self) -> set[str]:
        """Patients of whom there is anything."""
        return set().union(*(version.patients for version in self._versions if version.type != "Group"))

    def _members(self, job_id: str) -> set[str]:
        return {ident for ident, share in self._cohort(job_id).items() if share != Share.LEFT}

    def _round(self, job_id: str, number: int) -> set[int]:
        if (job_id, number) not in self._rounds:
            raise TransientError(f"what round {number} of job {job_id} exports is not named")
        return self._rounds[job_id, number]

    def _walk(self, bounds: Mapping[str, Any]) -> Sequence[Version]:
        """What is meant, in order."""
        if bounds["kind"] == Kind.HISTORY:
            was = [v for v in self._versions if v.type == bounds["type"] and self._is_former(v, bounds)]
            return sorted(was, key=lambda version: memory_bounds.position(version, bounds))
        there = [v for v in self._versions if v.type == bounds["type"] and v.visible(bounds["t"])]
        if bounds["round"]:
            keys = self._round(bounds["job"], bounds["round"])
            found = [v for v in there if v.key in keys and (v.body is None) == (bounds["kind"] == Kind.DELETED)]
        elif bounds["kind"] == Kind.DELETED:
            found = [v for v in there if self._is_told(v, bounds) or self._left(v, bounds)]
        else:
            found = [v for v in there if v.body is not None and self._is_meant(v, bounds)]
        return sorted(found, key=lambda version: memory_bounds.position(version, bounds))

    def _cut_blocks(
        self, fixed: dict[str, Any], after: PartitionPlan | None, target_bytes: int
    ) -> Iterator[PartitionPlan]:
        start = 0 if after is None else after.bounds["to"][1]
        for begin, end, size in organised.cuts(self._blocks(fixed), start, target_bytes):
            yield memory_bounds.plan(fixed, [0, begin], [0, end], size)

    def _blocks(self, bounds: Mapping[str, Any]) -> organised.Lines:
        cohort = self._cohort(bounds["job"]) if bounds["cohort"] else None
        return organised.lines(self._versions, bounds, cohort)

    def _is_meant(self, version: Version, bounds: Mapping[str, Any]) -> bool:
        if version.head.changed > axis.last_instant(bounds["t"], bounds["until"]):
            return False
        new = bounds["since"] is None or version.head.changed > bounds["since"]
        if bounds["level"] == "system":
            return new
        if not bounds["cohort"]:
            return new and bool(self._whose(version, bounds))
        members = self._members(bounds["job"])
        if version.type == "Group":
            joined = {self._cohort(bounds["job"])[ident] for ident in members & self._known()} == {Share.WHOLE}
            return (new or joined) and bool(members) and version.body is not None and version.id == bounds["group"]
        shares = {self._cohort(bounds["job"])[ident] for ident in self._whose(version, bounds) & members}
        return bool(shares) and (new or (version.body is not None and Share.WHOLE in shares))

    def _is_former(self, version: Version, bounds: Mapping[str, Any]) -> bool:
        """It was superseded by T, and belongs to what is asked for by itself."""
        late = version.head.changed > axis.last_instant(bounds["t"], bounds["until"])
        if version.body is None or late or not bounds["kept"] < version.ended <= bounds["t"]:
            return False
        new = bounds["since"] is None or version.ended > bounds["since"]
        if bounds["level"] == "system":
            return new
        if not bounds["cohort"]:
            return new and bool(version.patients)
        members = self._members(bounds["job"]) if version.type != "Group" else set()
        shares = {self._cohort(bounds["job"])[ident] for ident in version.patients & members}
        return bool(shares) and (new or Share.WHOLE in shares)

    def _must_keep(self, job_id: str) -> Instant:
        if job_id not in self._kept:
            raise TransientError(f"what was superseded is not kept for job {job_id}")
        return self._kept[job_id]

    def _is_told(self, version: Version, bounds: Mapping[str, Any]) -> bool:
        """A deletion that is."""
        told = bounds["told"]
        new = version.body is None and told is not None and version.head.changed > told
        return new and self._is_meant(version, bounds)

    def _left(self, version: Version, bounds: Mapping[str, Any]) -> bool:
        """What patients who left had, and no member has."""
        whose = self._whose(version, bounds)
        if not bounds["left"] or version.type == "Group" or whose & self._members(bounds["job"]):
            return False
        known = version.body is not None or version.head.changed > bounds["since"]
        return known and bool(whose & set(self._cohort(bounds["job"])))

    def _must_hold(self, t: Instant) -> None:
        if self._watermark > t:
            raise SnapshotGone(f"pruned up to {format_instant(self._watermark)}; start a new export")
