"""The embedded store as a source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fhirferry.model.cohort import Cohort, Selection, Share
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.partition import Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from fhirferry.store.sqlite import SqliteStore


class StoreSource:
    """Implements `sources.protocol.Source` over one SQLite file, opened when first used.

    check: parse every line that is read; a body that is no JSON any more becomes an issue even where its size and
    its braces still fit.
    """

    def __init__(self, path: str, clock: Clock, *, check: bool = False, timeout: float = 30.0) -> None:
        self._path = path
        self._clock = clock
        self._check = check
        self._timeout = timeout
        self._opened: SqliteStore | None = None

    @property
    def _store(self) -> SqliteStore:
        if self._opened is None:
            self._opened = SqliteStore(self._path, clock=self._clock, timeout=self._timeout)
        return self._opened

    def snapshot(self, job_id: str) -> Instant:
        return self._store.snapshot(job_id)

    def renew(self, job_id: str, transaction_time: Instant) -> None:
        self._store.renew(job_id, transaction_time)

    def release(self, job_id: str) -> None:
        self._store.release(job_id)

    def keep_history(self, job_id: str, after: Instant) -> Instant:
        return self._store.keep_history(job_id, after)

    def members(
        self, request: ExportRequest, transaction_time: Instant, named: Iterable[str] | None = None
    ) -> Cohort | None:
        return self._store.members(request, transaction_time, named)

    def select(self, job_id: str, transaction_time: Instant, patients: Iterable[tuple[str, Share]]) -> Selection:
        return self._store.select(job_id, transaction_time, patients)

    def name(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        job_id: str,
        round: int,  # noqa: A002 - the word of PartitionPlan
        references: Iterable[tuple[str, bool]],
    ) -> None:
        self._store.name(request, transaction_time, job_id, round, references)

    def associated(self, transaction_time: Instant, references: Sequence[str], *, latest: bool) -> Sequence[str]:
        return self._store.associated(transaction_time, references, latest=latest)

    def totals(self, request: ExportRequest, transaction_time: Instant, job_id: str = "") -> Mapping[str, Total]:
        return self._store.totals(request, transaction_time, job_id)

    def partitions(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        target_bytes: int,
        after: PartitionPlan | None = None,
        job_id: str = "",
        round: int = 0,  # noqa: A002 - the word of PartitionPlan
    ) -> Iterator[PartitionPlan]:
        return self._store.partitions(request, transaction_time, target_bytes, after, job_id, round)

    def read(self, bounds: Mapping[str, Any], continuation: str | None, max_resources: int, max_bytes: int) -> Page:
        return self._store.read(bounds, continuation, max_resources, max_bytes, check=self._check)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
