"""A unit of work: one partition from a continuation to its next commit point, which is the closing of its files; or
several small ones, one after the other, because an increment of a few kilobytes a type should not pay for a commit each.

Stateless and repeatable. It reads pages, writes files that are whole or not there, and returns what it did; it changes
nothing else, so it may run anywhere, twice, or be lost, without harm: every run draws a token of its own for its names
(L15), and what nobody commits is swept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing, suppress

import msgspec

from fhirferry.bulkdata.outcome import operation_outcome
from fhirferry.destinations.protocol import Destination
from fhirferry.engine.connections import Connections
from fhirferry.engine.context import working_for
from fhirferry.engine.plan import notes_of
from fhirferry.engine.writer import NdjsonWriter
from fhirferry.faultpoints import reach
from fhirferry.model.errors import FerryError
from fhirferry.model.job import FIRST_ISSUES, JobSettings
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Issue, Kind, Page, Partition, Total
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source
from fhirferry.transforms.page import transform_for


class UnitOrder(msgspec.Struct, frozen=True, kw_only=True):
    """All that a unit needs to run in any process. partitions: in this order; one, or small ones that share a commit.
    request: what it is for; filters and elements are taken from there. rate: bytes per second for this unit, None = no
    limit."""

    connections: Connections
    request: ExportRequest
    source_uri: str
    destination_uri: str
    settings: JobSettings
    partitions: tuple[Partition, ...]
    rate: float | None = None


OnPage = Callable[[Partition, int, int], None]
"""Told (partition, resources, uncompressed bytes) that its present unit has read and nobody has committed yet: after
every page of output, and zeros when the unit has come in. From the thread that works; it must be quick and never raise."""


class PartitionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit did with one partition. continuation None = the partition's end. read: the resources that it took from
    the source; files may hold fewer. issues: the first few; all are in the error file."""

    partition: int
    continuation: str | None
    read: Total
    files: tuple[OutputFile, ...]
    issue_count: int
    issues: tuple[Issue, ...]


UnitResult = tuple[PartitionResult, ...]
"""For the leading partitions of the order, in their order; at least one. What has none was not begun, or failed."""


class _Cadence:
    """When a commit is due besides a full file (S5, S22, S52): after so many pages, or so many seconds."""

    def __init__(self, settings: JobSettings, rate: float | None) -> None:
        self._pages_left = settings.pages_per_commit
        self._start = time.monotonic()
        self._seconds = settings.seconds_per_commit
        self._rate = rate
        self._carried = 0

    @property
    def due(self) -> bool:
        return self._pages_left == 0 or time.monotonic() - self._start >= self._seconds

    def passed(self, size: int, stopping: Callable[[], bool]) -> None:
        """A page of `size` bytes went by. Sleeps until it is within the rate, or the unit is told to stop."""
        if self._pages_left:
            self._pages_left -= 1
        if self._rate is None:
            return
        self._carried += size
        until = self._start + self._carried / self._rate
        while (wait := until - time.monotonic()) > 0 and not stopping():
            time.sleep(min(wait, 0.2))


def run_unit(order: UnitOrder, stopping: Callable[[], bool], on_page: OnPage | None = None) -> UnitResult:
    """Carry each partition to its next commit point; `stopping` makes the next page's end one.

    Raises the source's and the destination's errors when they come at the first partition: no file is left then, as far
    as the destination lets it. At a later one the unit ends before it: what is whole gets committed, and the next unit
    meets the trouble at its start.
    """
    reach("unit-started")
    done: list[PartitionResult] = []
    with (
        working_for(order.partitions[0].job_id),
        closing(order.connections.open_source(order.source_uri, order.settings.check)) as source,
        closing(order.connections.open_destination(order.destination_uri)) as destination,
    ):
        cadence = _Cadence(order.settings, order.rate)
        for partition in order.partitions:
            try:
                done.append(_run(partition, order, source, destination, cadence, stopping, on_page))
            except Exception:
                if not done:
                    raise
                break
            if done[-1].continuation is not None or cadence.due or stopping():
                break
        try:
            destination.sync()
        except BaseException:
            with suppress(FerryError):
                destination.delete([file.part for each in done for file in each.files])
            raise
    reach("unit-finished")
    return tuple(done)


def _run(
    partition: Partition,
    order: UnitOrder,
    source: Source,
    destination: Destination,
    cadence: _Cadence,
    stopping: Callable[[], bool],
    on_page: OnPage | None,
) -> PartitionResult:
    token = os.urandom(8).hex()
    settings = order.settings

    def new_file(kind: Kind, resource_type: str) -> NdjsonWriter:
        stem = f"{kind}-{resource_type}-{partition.number}-{token}"
        return NdjsonWriter(
            destination,
            destination.part_name(partition.job_id, stem),
            kind=kind,
            type=resource_type,
            compression=settings.compression,
        )

    kind = partition.plan.kind
    type_of_lines = partition.plan.resource_type if kind is Kind.OUTPUT else "Bundle"
    transform = transform_for(order.request, partition.plan)
    continuation = partition.continuation
    data: NdjsonWriter | None = None
    errors: NdjsonWriter | None = None
    issue_count, first_issues = 0, list[Issue]()
    resources, size = 0, 0
    most = min(settings.page_bytes, settings.max_file_size)
    try:
        while True:
            room = settings.max_file_size - (data.raw_bytes if data else 0)
            # What a filter leaves of a page is not known before: near the end of a file pages would become tiny.
            limit = min(most, room) if transform is None else most
            if kind is Kind.ERROR:
                raw = Page(body=b"", count=0, continuation=None, issues=notes_of(partition.plan))
            else:
                raw = source.read(partition.plan.bounds, continuation, settings.page_resources, limit)
            reach("page-read")
            page = raw if transform is None else transform(raw)
            if len(page.body) > room:
                if data is not None:
                    break  # it opens the next file, in the next unit (S20)
                if page.count > 1:  # cut resources are marked as such, which may make them larger
                    most = max(1, most // 2)
                    continue
            continuation = page.continuation
            if page.body:
                data = data or new_file(kind, type_of_lines)
                data.write(page.body, page.count)
                reach("page-written")
            if raw.body and kind is Kind.OUTPUT:
                resources, size = resources + raw.count, size + len(raw.body)
                if on_page is not None:
                    on_page(partition, resources, size)
            if page.issues:
                errors = errors or new_file(Kind.ERROR, "OperationOutcome")
                errors.write(b"".join(map(operation_outcome, page.issues)), len(page.issues))
                issue_count += len(page.issues)
                first_issues.extend(page.issues[: FIRST_ISSUES - len(first_issues)])
            cadence.passed(len(raw.body), stopping)
            if continuation is None or cadence.due or stopping():
                break
            if data is not None and data.raw_bytes >= settings.max_file_size:
                break
        files = tuple(w.close(partition.number) for w in (data, errors) if w is not None)
    except BaseException:
        writers = [writer for writer in (data, errors) if writer is not None]
        for writer in writers:
            writer.abort()
        with suppress(FerryError):  # one of them may have been whole already
            destination.delete([writer.name for writer in writers])
        raise
    return PartitionResult(
        partition=partition.number,
        continuation=continuation,
        read=Total(resources=resources, bytes=size),
        files=files,
        issue_count=issue_count,
        issues=tuple(first_issues),
    )
