"""A unit of work: one partition from a continuation to its next commit point, which is the closing of its files; or
several, one after the other: small ones, because an increment of a few kilobytes a type should not pay for a commit each,
and those of which a filter leaves little, because files have a least size (B54). Neighbours whose lines may lie in one
file share it: all of them are committed at once, or none.

Stateless and repeatable. It reads pages, writes files that are whole or not there, and returns what it did; it changes
nothing else, so it may run anywhere, twice, or be lost, without harm: every run draws a token of its own for its names
(L15), and what nobody commits is swept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from itertools import groupby

import msgspec

from fhirferry.bulkdata.outcome import operation_outcome
from fhirferry.destinations.protocol import Destination
from fhirferry.engine.access import Access, open_place
from fhirferry.engine.blocks import Blocks
from fhirferry.engine.cadence import Cadence
from fhirferry.engine.connections import Connections
from fhirferry.engine.context import working_for
from fhirferry.engine.naming import MANY, Naming
from fhirferry.engine.neighbours import lines_of
from fhirferry.engine.plan import SMALL, notes_of
from fhirferry.engine.publishing import part_stem
from fhirferry.engine.writer import NdjsonWriter
from fhirferry.faultpoints import reach
from fhirferry.model.errors import FerryError
from fhirferry.model.instant import Instant
from fhirferry.model.job import FIRST_ISSUES, JobSettings
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Issue, Kind, Page, Partition, Total
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source
from fhirferry.transforms.page import transform_for


class UnitOrder(msgspec.Struct, frozen=True, kw_only=True):
    """All that a unit needs to run in any process. partitions: in this order; one, or small ones that share a commit.
    access: None when no secret opens the destination. request: what it is for; filters and elements are taken from there.
    transaction_time: T. rate: bytes per second for this unit, None = no limit."""

    connections: Connections
    request: ExportRequest
    source_uri: str
    destination_uri: str
    access: Access | None = None
    settings: JobSettings
    partitions: tuple[Partition, ...]
    transaction_time: Instant
    rate: float | None = None


OnPage = Callable[[Partition, int, int], None]
"""Told (partition, resources, uncompressed bytes) that its present unit has read and nobody has committed yet: after
every page of output, and zeros when the unit has come in. From the thread that works; it must be quick and never raise."""


class PartitionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit did with one partition. continuation None = the partition's end. read: the resources that it took from
    the source; files may hold fewer. files: those that neighbours share are with the last of them. references: what its lines
    name for the next round, each once. issues: the first few; all are in the error file."""

    partition: int
    continuation: str | None
    read: Total
    files: tuple[OutputFile, ...]
    references: tuple[str, ...] = ()
    issue_count: int
    issues: tuple[Issue, ...]


UnitResult = tuple[PartitionResult, ...]
"""For the leading partitions of the order, in their order; at least one. What has none was not begun, or failed."""


class _Files:
    """What neighbours write: a file of their lines, and one of issues. Each is made by its first page (S19)."""

    def __init__(self, order: UnitOrder, destination: Destination, first: Partition) -> None:
        self.data: NdjsonWriter | None = None
        self._errors: NdjsonWriter | None = None
        self._blocks = Blocks()
        self._settings = order.settings
        self._destination = destination
        self._first = first

    @property
    def size(self) -> int:
        return 0 if self.data is None else self.data.raw_bytes

    @property
    def held(self) -> bool:
        """Something is in it, and not enough to close it (B54)."""
        return 0 < self.size < self._settings.min_file_size

    @property
    def enough(self) -> bool:
        """No further partition needs to go into it."""
        return self.size >= min(self._settings.max_file_size, max(SMALL, self._settings.min_file_size))

    def laid_out(self, page: Page) -> Page:
        """As it would be written: organised output has headers."""
        return self._blocks.laid_out(page)

    def splits(self, page: Page) -> bool:
        """It begins a block that would not end in this file, and may have one to itself (B79)."""
        whole = self.size + len(page.body) + page.rest
        return self.size > 0 and whole > self._settings.max_file_size and self._blocks.begins(page)

    def write(self, page: Page) -> None:
        """laid out."""
        if page.body:
            self.data = self.data or self._new(*lines_of(self._first.plan))
            self.data.write(page.body, page.count)
            self._blocks.take(page)
            reach("page-written")
        if page.issues:
            self._errors = self._errors or self._new(Kind.ERROR, "OperationOutcome")
            self._errors.write(b"".join(map(operation_outcome, page.issues)), len(page.issues))

    def close(self) -> tuple[OutputFile, ...]:
        files = [writer.close(self._first.number) for writer in self._writers()]
        if self._blocks.patients is not None:
            files[0] = msgspec.structs.replace(files[0], patients=self._blocks.patients)
        return tuple(files)

    def abort(self) -> None:
        for writer in self._writers():
            writer.abort()
        with suppress(FerryError):  # one of them may have been whole already
            self._destination.delete([writer.name for writer in self._writers()])

    def _writers(self) -> list[NdjsonWriter]:
        return [writer for writer in (self.data, self._errors) if writer is not None]

    def _new(self, kind: Kind, resource_type: str) -> NdjsonWriter:
        stem, suffix = part_stem(kind, resource_type, self._first.number, self._settings)
        return NdjsonWriter(
            self._destination,
            self._destination.part_name(self._first.job_id, stem, suffix),
            kind=kind,
            type=resource_type,
            compression=self._settings.compression,
        )


def run_unit(order: UnitOrder, stopping: Callable[[], bool], on_page: OnPage | None = None) -> UnitResult:
    """Carry each partition to its next commit point; `stopping` makes the next page's end one.

    Raises the source's and the destination's errors when they come at the first partition, or at one that shares files
    with it: no file is left then, as far as the destination lets it. At a later one the unit ends before it: what is whole
    gets committed, and the next unit meets the trouble at its start.
    """
    reach("unit-started")
    done: list[PartitionResult] = []
    with (
        working_for(order.partitions[0].job_id),
        closing(order.connections.open_source(order.source_uri, order.settings.check)) as source,
        closing(open_place(order.connections, order.destination_uri, order.access, keep=True)) as destination,
    ):
        cadence = Cadence(order.settings, order.rate)
        for _, same in groupby(order.partitions, lambda each: lines_of(each.plan)):
            neighbours = list(same)
            try:
                results = _share(neighbours, order, source, destination, cadence, stopping, on_page)
            except Exception:
                if not done:
                    raise
                break
            done += results
            unfinished = len(results) < len(neighbours) or results[-1].continuation is not None
            if unfinished or cadence.due or stopping():
                break
        try:
            destination.sync()
        except BaseException:
            with suppress(FerryError):
                destination.delete([file.part for each in done for file in each.files])
            raise
    reach("unit-finished")
    return tuple(done)


def _share(
    neighbours: Sequence[Partition],
    order: UnitOrder,
    source: Source,
    destination: Destination,
    cadence: Cadence,
    stopping: Callable[[], bool],
    on_page: OnPage | None,
) -> list[PartitionResult]:
    """Results of the leading ones, at least of the first: until their files are closed, all together."""
    files = _Files(order, destination, neighbours[0])
    done: list[PartitionResult] = []
    try:
        for partition in neighbours:
            result = _run(partition, order, source, files, cadence, stopping, on_page)
            if result is None:
                break
            done.append(result)
            due = cadence.late or (cadence.due and not files.held)
            full = files.enough or sum(len(each.references) for each in done) >= MANY
            if result.continuation is not None or full or due or stopping():
                break
        done[-1] = msgspec.structs.replace(done[-1], files=files.close())
    except BaseException:
        files.abort()
        raise
    return done


def _run(
    partition: Partition,
    order: UnitOrder,
    source: Source,
    files: _Files,
    cadence: Cadence,
    stopping: Callable[[], bool],
    on_page: OnPage | None,
) -> PartitionResult | None:
    """None: it has nothing that the file has room for, so it was not begun."""
    settings = order.settings
    kind = partition.plan.kind
    transform = transform_for(order.request, partition.plan)
    naming = Naming(order.request, partition.plan, order.transaction_time, source)
    continuation = partition.continuation
    begun = False
    issue_count, first_issues = 0, list[Issue]()
    resources, size = 0, 0
    most = min(settings.page_bytes, settings.max_file_size)
    while True:
        room = settings.max_file_size - files.size
        # What a filter leaves of a page is not known before: near the end of a file pages would become tiny.
        limit = min(most, room) if transform is None else most
        if kind is Kind.ERROR:
            raw = Page(body=b"", count=0, continuation=None, issues=notes_of(partition.plan))
        else:
            raw = source.read(partition.plan.bounds, continuation, settings.page_resources, limit)
        reach("page-read")
        page = files.laid_out(raw if transform is None else transform(raw))
        splits = files.splits(page)
        if splits or len(page.body) > room:
            if not splits and page.count > 1 and (not files.size or files.held):
                most = max(1, most // 2)  # cut resources are marked as such, which may make them larger
                continue
            if files.size:
                if not begun:
                    return None
                break  # it opens the next file, in the next unit (S20)
        begun = True
        continuation = page.continuation
        files.write(page)
        if page.body and not naming.idle:
            naming.take(page.body)
        if raw.body and kind is Kind.OUTPUT:
            resources, size = resources + raw.count, size + len(raw.body)
            if on_page is not None:
                on_page(partition, resources, size)
        issue_count += len(page.issues)
        first_issues.extend(page.issues[: FIRST_ISSUES - len(first_issues)])
        cadence.passed(len(raw.body), stopping)
        if continuation is None or stopping():
            break
        if cadence.due and not files.held and not page.rest:  # a block is not split for the sake of an early commit
            break
        if files.size >= settings.max_file_size or naming.full:
            break
    return PartitionResult(
        partition=partition.number,
        continuation=continuation,
        read=Total(resources=resources, bytes=size),
        files=(),
        references=tuple(naming.names),
        issue_count=issue_count,
        issues=tuple(first_issues),
    )
