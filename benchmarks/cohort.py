"""What cohorts of several sizes cost against everything, read in this process: plans and pages, nothing written.

    python benchmarks/cohort.py STORE [--patients 100000] [--resources 10]     fills STORE when it is not there

Prints a row per cohort: seconds, resources, and the share of the full walk's time; each both patient by patient and in
the order on disk, to see where `cohorts.WIDE` should lie.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fhirferry.fhir.resource import Resource, read_resource
from fhirferry.model.cohort import Share
from fhirferry.model.request import ExportRequest
from fhirferry.store import cohorts
from fhirferry.store.sqlite import SqliteStore

TARGET, PAGE, PAGE_BYTES = 100_000_000, 1000, 4_000_000  # as the engine asks
PAD = "x" * 1_000
BATCH = 20_000


def fill(store: SqliteStore, patients: int, resources: int) -> None:
    """Patients with so many resources each, a type at a time, as an export of another server brings them."""
    batch: list[Resource] = []
    for resource in _made(patients, resources):
        batch.append(resource)
        if len(batch) == BATCH:
            store.write(batch)
            batch.clear()
    store.write(batch)


def _made(patients: int, resources: int) -> Iterator[Resource]:
    kinds = ("Condition", "Encounter", "Observation")
    for number in range(patients):
        yield read_resource(b'{"resourceType":"Patient","id":"p%d","text":"%b"}' % (number, PAD.encode()))
    for place in range(resources - 1):
        kind = kinds[place % len(kinds)]
        for number in range(patients):
            yield read_resource(
                b'{"resourceType":"%b","id":"%d-%d","subject":{"reference":"Patient/p%d"},"text":"%b"}'
                % (kind.encode(), number, place, number, PAD.encode())
            )


def walk(store: SqliteStore, request: ExportRequest, t: int, job: str) -> tuple[float, int]:
    """Seconds and resources of a whole walk."""
    started = time.perf_counter()
    count = 0
    for plan in store.partitions(request, t, TARGET, None, job):
        continuation = None
        while True:
            page = store.read(plan.bounds, continuation, PAGE, PAGE_BYTES)
            count += page.count
            continuation = page.continuation
            if continuation is None:
                break
    return time.perf_counter() - started, count


def cohort(store: SqliteStore, chosen: Sequence[str], t: int, share: int) -> tuple[float, int]:
    """A cohort's walk, its selection counted."""
    cohorts.WIDE = share
    request = ExportRequest(level="patient", patients=tuple(chosen))
    started = time.perf_counter()
    found = store.members(request, t)
    assert found is not None
    store.select("cohort", t, ((ident, Share.SINCE) for ident in found.patients))
    selected = time.perf_counter() - started
    seconds, count = walk(store, request, t, "cohort")
    store.release("cohort")
    return selected + seconds, count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--resources", type=int, default=10, help="of each patient, itself included")
    asked = parser.parse_args()
    new = not asked.store.exists()
    with SqliteStore(str(asked.store), clock=lambda: time.time_ns() // 1000, create=True) as store:
        if new:
            fill(store, asked.patients, asked.resources)
        t = store.snapshot("benchmark")
        full = min(walk(store, ExportRequest(), t, "") for _ in range(2))
        print("| what | resources | seconds | of the full walk |\n| --- | ---: | ---: | ---: |")
        everybody = walk(store, ExportRequest(level="patient"), t, "")
        for name, (seconds, count) in (("everything", full), ("level patient, all", everybody)):
            print(f"| {name} | {count:,} | {seconds:.3f} | {seconds / full[0]:.3f} |", flush=True)
        for size in (10, asked.patients // 100, asked.patients // 20, asked.patients // 10, asked.patients // 4):
            chosen = [f"p{number}" for number in range(0, asked.patients, asked.patients // size)][:size]
            for way, share in (("by patient", 0), ("in order", 10**9)):
                seconds, count = min(cohort(store, chosen, t, share) for _ in range(2))
                print(f"| {size:,} patients, {way} | {count:,} | {seconds:.3f} | {seconds / full[0]:.4f} |", flush=True)
        store.release("benchmark")


main()
