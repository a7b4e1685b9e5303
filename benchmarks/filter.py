"""How fast type filters and `_elements` go over resources, on one core.

    python benchmarks/filter.py [--resources 20000] [--store FILE --stored 100000]

Each line is the best of three passes over the same made-up resources, in memory. `decode` is what msgspec needs to build
whole resources as dicts: the yardstick, because an evaluator that builds them cannot be faster.

With --store (filled when it is not there) also what indexes save: seconds for plan, pages and filters of an export of
Observations, by the way that the filters show and by the way of those without, and the ratio of the two.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.data import lines, share
from fhirferry.fhir.definitions import load
from fhirferry.fhir.elements import read_elements
from fhirferry.fhir.resource import read_resource
from fhirferry.fhir.search.filters import read_type_filters
from fhirferry.fhir.search.matching import compile_filters
from fhirferry.model.instant import DAY, format_instant
from fhirferry.model.request import ExportRequest
from fhirferry.store import cohorts
from fhirferry.store.sqlite import SqliteStore
from fhirferry.transforms.page import transform_for

FILTERS = (
    "Observation?code=http://loinc.org|8302-2,http://loinc.org|29463-7",
    "Observation?code:not=8302-2",
    "Observation?date=ge2015-01-01&date=lt2020",
    "Observation?value-quantity=gt100||mg,lt5",
    "Observation?patient=Patient/97aa6106-c803-c859-d442-8826c8811578",
    "Observation?code=http://loinc.org|8302-2&date=ge2015&status=final",
    "Patient?name=smith",
    "Patient?gender=male&birthdate=ge1980",
    "Encounter?date=ge2015&class=AMB",
    "ExplanationOfBenefit?created=ge2015",
)
ELEMENTS = ("Observation.code,Observation.value", "Patient.birthDate", "ExplanationOfBenefit.created")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure type filters and _elements.")
    parser.add_argument("--resources", type=int, default=20_000, help="resources of each type (default: 20000)")
    parser.add_argument("--store", type=Path, help="a store to measure what indexes save")
    parser.add_argument("--stored", type=int, default=100_000, help="Observations in it (default: 100000)")
    asked = parser.parse_args()
    wanted = asked.resources
    definitions = load()
    made: dict[str, list[bytes]] = {}
    print(f"{'':70} {'resources/s':>12} {'decode':>10} {'kept':>6}")
    for text in FILTERS:
        filters = read_type_filters([text], definitions).filters
        matches = compile_filters(filters, definitions)
        rows = resources(made, filters[0].type, wanted)
        kept = sum(map(matches, rows)) / len(rows)
        row(text, matches, rows, f"{kept:.0%}")
    for text in ELEMENTS:
        kind = text.partition(".")[0]
        select = read_elements([text], definitions).selector(kind, definitions)
        assert select is not None
        rows = resources(made, kind, wanted)
        row(f"_elements={text}", select, rows, f"{sum(map(len, map(select, rows))) / sum(map(len, rows)):.0%}")
    if asked.store is not None:
        indexes(asked.store, asked.stored)


def indexes(path: Path, wanted: int) -> None:
    """Ten ids, the newest hundredth, two patients, and filters that only seem to narrow."""
    new = not path.exists()
    with SqliteStore(str(path), clock=lambda: time.time_ns() // 1000, create=True) as store:
        now = time.time_ns() // 1000
        if new:
            fill(store, wanted, now)
        t = store.snapshot("benchmark")
        first = now if new else created(store)
        cases = {
            "_id of ten": "_id=" + ",".join(str(number) for number in range(0, wanted, wanted // 10)),
            "_lastUpdated, the newest hundredth": f"_lastUpdated=ge{format_instant(first - wanted // 100 * MINUTE)}",
            "_lastUpdated, the oldest hundredth": f"_lastUpdated=lt{format_instant(first - wanted * 99 // 100 * MINUTE)}",
            "two patients": "patient=Patient/p1,Patient/p2",
            "_lastUpdated, all": "_lastUpdated=ge1990",
            "_id of 1,000": "_id=" + ",".join(str(number) for number in range(0, wanted, wanted // 1000)),
        }
        print(f"\n{'Observations of ' + format(wanted, ','):40} {'found':>8} {'seconds':>8} {'plain':>8} {'ratio':>8}")
        for name, text in cases.items():
            request = ExportRequest(types=("Observation",), type_filters=(f"Observation?{text}",))
            seconds, found = min(export(store, request, t) for _ in range(3))
            with mock.patch.object(cohorts, "may_hint", return_value=False):
                plain, same = min(export(store, request, t) for _ in range(3))
            assert found == same
            print(f"{name:40} {found:8,} {seconds:8.3f} {plain:8.3f} {seconds / plain:8.4f}", flush=True)
        store.release("benchmark")


MINUTE = DAY // 1440


def fill(store: SqliteStore, wanted: int, now: int) -> None:
    """Observations that are a minute older each, of a hundred each a patient."""
    batch = []
    for number in range(wanted):
        batch.append(
            read_resource(
                b'{"resourceType":"Observation","id":"%d","meta":{"versionId":"1","lastUpdated":"%b"},"status":"final",'
                b'"code":{"coding":[{"system":"http://loinc.org","code":"8302-2"}]},"subject":{"reference":"Patient/p%d"},'
                b'"text":"%b"}'
                % (number, format_instant(now - number * MINUTE).encode(), number % (wanted // 100), PAD)
            )
        )
        if len(batch) == 20_000 or number == wanted - 1:
            store.write(batch)
            batch.clear()


PAD = b"x" * 800


def created(store: SqliteStore) -> int:
    """When the store was filled."""
    body = store.get("Observation", "0")
    assert body is not None
    return read_resource(body).updated or 0


def export(store: SqliteStore, request: ExportRequest, t: int) -> tuple[float, int]:
    """Seconds, and how many there are: plans, pages and filters, nothing written."""
    started = time.perf_counter()
    count = 0
    for plan in store.partitions(request, t, 100_000_000):
        change = transform_for(request, plan)
        assert change is not None
        continuation = None
        while True:
            page = store.read(plan.bounds, continuation, 1000, 4_000_000)
            count += change(page).count
            continuation = page.continuation
            if continuation is None:
                break
    return time.perf_counter() - started, count


def resources(made: dict[str, list[bytes]], kind: str, wanted: int) -> list[bytes]:
    """About `wanted` lines of a type, with the `meta` that a store stamps."""
    if kind not in made:
        whole = wanted
        while share(kind, whole) < wanted:
            whole *= 2
        meta = ',"meta":{"versionId":"1","lastUpdated":"2026-01-01T00:00:00.000Z"},"'
        stamped = (
            line.replace(',"', meta, 1) if '"meta"' not in line[:200] else line for line in lines(kind, whole, 1)
        )
        made[kind] = [line.encode() for line, _ in zip(stamped, range(wanted), strict=False)]
    return made[kind]


def row(text: str, work: Callable[[bytes], object], rows: list[bytes], kept: str) -> None:
    print(f"{text:70} {rate(work, rows):12,.0f} {rate(msgspec.json.decode, rows):10,.0f} {kept:>6}")


def rate(work: Callable[[bytes], object], rows: list[bytes]) -> float:
    """Resources a second, the best of three passes."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for line in rows:
            work(line)
        best = min(best, time.perf_counter() - start)
    return len(rows) / best


if __name__ == "__main__":
    main()
