"""JSON line of `generate`; see lines.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fhirferry.cli.lines import Line

if TYPE_CHECKING:
    from fhirferry.samples.writing import Made


class GenerateLine(Line, frozen=True, kw_only=True, tag="generate"):
    """How `generate` ended. by_type: resources and bytes of each resource type; the two beside it are their sums."""

    folder: str
    patients: int
    seed: int
    odd: bool
    resources: int
    bytes: int
    by_type: Mapping[str, Mapping[str, int]]
    seconds: float

    @classmethod
    def of(cls, made: Made, *, folder: str, seed: int, odd: bool, seconds: float) -> GenerateLine:
        return cls(
            folder=folder,
            patients=made.patients,
            seed=seed,
            odd=odd,
            resources=made.resources,
            bytes=made.bytes,
            by_type={name: {"resources": count, "bytes": size} for name, (count, size) in sorted(made.types.items())},
            seconds=round(seconds, 3),
        )
