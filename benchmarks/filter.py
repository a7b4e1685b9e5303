"""How fast type filters and `_elements` go over resources, on one core.

    python benchmarks/filter.py [--resources 20000]

Each line is the best of three passes over the same made-up resources, in memory. `decode` is what msgspec needs to build
whole resources as dicts: the yardstick, because an evaluator that builds them cannot be faster.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.data import lines, share
from fhirferry.fhir.definitions import load
from fhirferry.fhir.elements import read_elements
from fhirferry.fhir.search.filters import read_type_filters
from fhirferry.fhir.search.matching import compile_filters

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
    wanted = parser.parse_args().resources
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
