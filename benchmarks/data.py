"""Made-up FHIR R4 in the shapes, sizes and mix of Synthea: about 1.25 kB a resource, twelve types, one file a type.

    python benchmarks/data.py FOLDER --resources 400000 [--seed 1] [--first 0]

Seeded: the same arguments write the same bytes anywhere. An id is a function of type and number, so references meet
their targets without any table, and `--first` goes on where an earlier set of that size stopped. There is no meta:
the store stamps what it imports.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.shapes import CODES, SHAPES, SYSTEMS, WORDS, coded

LARGEST = "Observation"  # takes what rounding the shares leaves


def share(kind: str, resources: int) -> int:
    """How many of `resources` are of this type."""
    if kind == LARGEST:
        return resources - sum(share(other, resources) for other in SHAPES if other != kind)
    return resources * SHAPES[kind][0] // 1000


def lines(kind: str, resources: int, seed: int, first: int = 0) -> Iterator[str]:
    """The NDJSON lines of this type in a set of `resources`, newline included."""
    rng = random.Random(f"{seed}/{kind}/{first}").random
    pick = _Values(rng, seed, first + resources)
    _, shape, repeats = SHAPES[kind]
    variants = [pick.compile(kind, shape(k)) for k in repeats]
    start = share(kind, first)
    for number in range(start, start + share(kind, resources)):
        template, fields = variants[int(rng() * len(variants))]
        yield template % {name: make(number) for name, make in fields}


def write(folder: Path, resources: int, seed: int = 1, first: int = 0) -> int:
    """Fill the folder with one `<Type>.ndjson` a type; returns bytes. Memory stays flat."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for kind in SHAPES:
        rows = lines(kind, resources, seed, first)
        with (folder / f"{kind}.ndjson").open("wb") as out:
            while chunk := "".join(islice(rows, 1000)).encode():
                written += out.write(chunk)
    return written


class _Values:
    """The values that the names in a shape stand for; each is made from the resource's number."""

    def __init__(self, rng: Callable[[], float], seed: int, resources: int) -> None:
        def one_of(choices: list[str]) -> Callable[[int], str]:
            count = len(choices)
            return lambda _: choices[int(rng() * count)]

        def of(kind: str, count: int) -> Callable[[int], str]:
            identify = _identify(kind, seed)
            return lambda number: identify(number % max(1, count))

        self.seed = seed
        self.makers: dict[str, Callable[[int], str]] = {
            "number": str,
            "day": lambda _: f"{2010 + int(rng() * 15)}-{1 + int(rng() * 12):02d}-{1 + int(rng() * 28):02d}",
            "money": lambda _: f"{20 + rng() * 480:.2f}",  # trailing zeros as they fall
            "patient": of("Patient", share("Patient", resources)),
            "encounter": of("Encounter", share("Encounter", resources)),
            "organization": of("Organization", share("Organization", resources)),
            "observation": lambda number: any_observation(number * 11 + int(rng() * 11)),
            "claim": _identify("Claim", seed),
            "practitioner": of("Practitioner", 997),
            "contained_referral": lambda _: "#referral",
            "contained_coverage": lambda _: "#coverage",
        }
        any_observation = of("Observation", share("Observation", resources))
        for name, words in WORDS.items():
            self.makers[name] = one_of(words)
        for name, (system, codes) in CODES.items():
            self.makers[name] = one_of([_compact(coded(SYSTEMS[system], *code)) for code in codes])

    def compile(self, kind: str, shape: dict[str, object]) -> tuple[str, list[tuple[str, Callable[[int], str]]]]:
        """A %-template and what fills it."""
        text = _compact({"resourceType": kind, "id": "$id", **shape}).replace("%", "%%") + "\n"
        text = re.sub(r'"#([a-z_]+\d*)"', r"%(\1)s", text)
        text = re.sub(r"\$([a-z_]+\d*)", r"%(\1)s", text)
        makers = {**self.makers, "id": _identify(kind, self.seed)}
        names = sorted(set(re.findall(r"%\(([a-z_0-9]+)\)s", text)))
        return text, [(name, makers[name.rstrip("0123456789")]) for name in names]


def _identify(kind: str, seed: int) -> Callable[[int], str]:
    """A UUID for each number of a type: multiples of an odd factor modulo 2^128 do not meet."""
    start = random.Random(f"{seed}/{kind}").getrandbits(128)

    def identify(number: int) -> str:
        digits = f"{(start + number * 0xD1342543DE82EF95F767814F2D1B5A2B) & (2**128 - 1):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    return identify


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resources", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="how many resources an earlier set holds")
    asked = parser.parse_args()
    print(f"{write(asked.folder, asked.resources, asked.seed, asked.first)} bytes")
