"""Files into the store, in batches, with nothing lost on the way unsaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fhirferry.fhir.resource import Deletion, Resource
from fhirferry.importing.ahead import read_files
from fhirferry.importing.bundle import Bad
from fhirferry.importing.inputs import Role, find_inputs, size_of
from fhirferry.importing.reading import read_items
from fhirferry.model.instant import SECOND, Clock

if TYPE_CHECKING:
    from fhirferry.importing.bundle import Item
    from fhirferry.importing.inputs import Input
    from fhirferry.importing.opening import OnRead
    from fhirferry.store.sqlite import SqliteStore

FIRST_COUNT = 2_500
BATCH_COUNT = 20_000
BATCH_BYTES = 32_000_000
BATCH_TIME = SECOND
"""Whichever comes first closes a batch. A batch is one transaction, so it is also as long as fixing a T may wait. Ids
come in any order, so each transaction rewrites most of their index: few large ones cost half of many small ones. The
first batches are smaller (each twice its predecessor), so that writing begins while the reading process gets going."""
CLOCK_EVERY = 64
"""Items between two looks at the clock."""

OnBad = Callable[[Path, int, str], None]
OnProgress = Callable[["ImportTotals"], None]


class TypeTotals(msgspec.Struct):
    """What became of the items of one resource type. Names and meaning are those of the store's Outcome."""

    new: int = 0
    changed: int = 0
    equal: int = 0
    older: int = 0
    deleted: int = 0
    absent: int = 0


class ImportTotals(msgspec.Struct):
    """What an import did, or has done so far.

    types: by resource type. bad: lines, entries and files that were not taken; each was reported. files: read to
    their end or first damage. skipped: files in folders that aren't FHIR by their name. resources, bytes: taken to
    the store, whatever became of them (compact bytes). read: bytes of the files as they are stored, up to here; it can
    be ahead of `resources` by a batch.
    """

    types: dict[str, TypeTotals] = {}
    bad: int = 0
    files: int = 0
    skipped: int = 0
    resources: int = 0
    bytes: int = 0
    read: int = 0


def import_paths(
    store: SqliteStore,
    paths: Iterable[Path],
    *,
    strict: bool,
    force: bool,
    on_bad: OnBad,
    on_progress: OnProgress,
    clock: Clock,
) -> ImportTotals:
    """Import files, folders and exports (`inputs.find_inputs` says what is taken) into the store.

    strict: a file with anything bad is not taken at all; each file is read through before its first item goes in.
    force: also replace current versions that have a later lastUpdated. on_bad(path, line, reason): line is 1-based,
    0 = the file as a whole. on_progress(totals): after every batch; the totals are those returned in the end.

    What Provenance is about is indexed at the end; cut off before, whoever needs it does it.
    A batch that is in the store stays there, whatever happens next; doing all of it again changes nothing, because
    what is equal makes no new version. Raises RequestError for a path that does not exist, and what the store raises.
    """
    totals = ImportTotals()
    flow = _flow(paths, strict, on_bad, totals)
    committed: Callable[[], None] | None = None
    try:
        for batch in _batches(flow, clock):
            if committed is not None:
                committed()
                on_progress(totals)
            # The next batch is collected while this one is on its way to the disk.
            outcomes, committed = store.write_behind(batch, force=force)
            _count(totals, batch, outcomes)
            del batch
    finally:
        flow.close()  # at once: a process may be reading for it
        if committed is not None:
            committed()
    if committed is not None:
        on_progress(totals)
    if "Provenance" in totals.types:
        from fhirferry.store import provenance

        provenance.index(
            store
        )  # else the first export of a few patients would do it, and nobody knew what takes so long
    return totals


def _flow(
    paths: Iterable[Path], strict: bool, on_bad: OnBad, totals: ImportTotals
) -> Generator[Resource | Deletion, None, None]:
    """All that is good, file after file: a folder of small files makes full batches too."""

    def taken() -> Iterator[Input]:
        for source in find_inputs(paths):
            if source.role is Role.SKIPPED:
                totals.skipped += 1
            else:
                yield source

    before = 0  # bytes of the files that are done
    size = 0  # of the file at work; 0 where it has none, or cannot be read

    def on_read(count: int) -> None:
        # Whoever goes on for a process that died reads from the file's start: never more than there is.
        totals.read = min(totals.read + count, before + size)

    with closing(read_files(taken(), strict, read_file, on_read)) as files:
        for source, items in files:
            size = size_of(source) or 0
            for item in items:
                if type(item) is Bad:
                    totals.bad += 1
                    on_bad(source.path, item.line, item.reason)
                else:
                    yield item
            totals.files += 1
            totals.read = before = before + size


def read_file(source: Input, strict: bool, on_read: OnRead | None = None) -> Iterator[Item]:
    """Everything in a file; with `strict` only what is bad, if anything is."""
    return _strict(source, on_read) if strict else read_items(source, on_read)


def _strict(source: Input, on_read: OnRead | None) -> Iterator[Item]:
    """All items of a file without fault, else only what is bad. A file of one batch is read once, others twice."""
    first: list[Item] = []
    room = BATCH_BYTES
    flawless = True
    for item in read_items(source, on_read):
        if isinstance(item, Bad):
            flawless = False
            yield item
        elif flawless and room > 0:
            first.append(item)
            room -= weight(item)
        else:
            first.clear()
    if flawless:
        yield from first or read_items(source)


def _batches(items: Iterable[Resource | Deletion], clock: Clock) -> Iterator[list[Resource | Deletion]]:
    """Never empty ones. Time counts from the first item: slow reading must not keep what it already gave."""
    batch: list[Resource | Deletion] = []
    room, due, full = BATCH_BYTES, 0, FIRST_COUNT
    for item in items:
        room -= (bytes_ := weight(item))
        if room < 0 and batch:
            yield batch
            batch, room = [], BATCH_BYTES - bytes_
        if not batch:
            due = clock() + BATCH_TIME
        batch.append(item)
        count = len(batch)
        if room <= 0 or count == full or (count % CLOCK_EVERY == 0 and clock() >= due):
            yield batch
            batch, room, full = [], BATCH_BYTES, min(2 * full, BATCH_COUNT)
    if batch:
        yield batch


def weight(item: Item) -> int:
    """Bytes in memory, roughly: an item costs more than its body."""
    return len(item.body) + 500 if type(item) is Resource else 200


def _count(totals: ImportTotals, batch: list[Resource | Deletion], outcomes: Iterable[str]) -> None:
    for (kind, outcome), count in Counter(zip((item.type for item in batch), outcomes, strict=True)).items():
        of_type = totals.types.setdefault(kind, TypeTotals())
        setattr(of_type, outcome, getattr(of_type, outcome) + count)
    sizes = [len(item.body) for item in batch if type(item) is Resource]
    totals.resources += len(sizes)
    totals.bytes += sum(sizes)
