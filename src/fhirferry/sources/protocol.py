"""The intake's contract. One conformance suite (`tests/conformance/test_source.py`) proves every implementation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from fhirferry.model.instant import Instant
from fhirferry.model.partition import Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest


class Source(Protocol):
    """Where resources come from. An object belongs to one thread at a time; open it when used, close it after (S51).

    Raises SourceConnectionError, StoreBusy, StoreDamaged, SnapshotGone.
    """

    def snapshot(self, job_id: str) -> Instant:
        """Fix T: all that was committed before the call is visible at T, nothing committed later is. Pins T under the
        job's id. Idempotent: a job that has a pin gets its T again. T grows strictly from pin to pin."""
        ...

    def renew(self, job_id: str, transaction_time: Instant) -> None:
        """Keep T pinned, or pin it again after a lapse or release. SnapshotGone when T was pruned meanwhile."""
        ...

    def release(self, job_id: str) -> None:
        """Drop the job's pin. Idempotent."""
        ...

    def totals(self, request: ExportRequest, transaction_time: Instant) -> Mapping[str, Total]:
        """What T holds of the request, by type (deletions not counted). Types without data are absent (L27).
        Must be cheap; exact where the source can know, else its best estimate: used for progress and dry runs."""
        ...

    def partitions(
        self, request: ExportRequest, transaction_time: Instant, target_bytes: int, after: PartitionPlan | None = None
    ) -> Iterator[PartitionPlan]:
        """Cut the request into partitions of about `target_bytes` of NDJSON each, lazily, in an order that is fixed
        by request and T; together they hold every visible resource once. `after`: go on behind this one (a resumed
        job). With `since`: also partitions of kind DELETED (B81). Types without data give none."""
        ...

    def read(self, bounds: Mapping[str, Any], continuation: str | None, max_resources: int, max_bytes: int) -> Page:
        """The next page of a partition: at most `max_resources` lines and `max_bytes` bytes, except that a single
        larger resource comes in a page of its own. Always makes progress; the same arguments give the same page.
        `max_resources` counts the resources in a DELETED page too. SnapshotGone rather than less than everything."""
        ...

    def close(self) -> None:
        """Give back connections. Idempotent."""
        ...
