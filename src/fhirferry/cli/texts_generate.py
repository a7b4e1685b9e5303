"""How `generate` speaks."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from fhirferry.cli.tables import table
from fhirferry.cli.words import counted
from fhirferry.model.quantity import format_duration, format_size

if TYPE_CHECKING:
    from fhirferry.samples.writing import Made


def generated_page(made: Made, folder: str, seed: int, seconds: float) -> str:
    """What is there now, and what to do with it."""
    rows = [[name, f"{count:,}", format_size(size)] for name, (count, size) in sorted(made.types.items())]
    rows.append(["all", f"{made.resources:,}", format_size(made.bytes)])
    patients = counted(made.patients, "patient")
    rate = made.resources / max(seconds, 0.001)
    return "\n".join(
        (
            table(("TYPE", "RESOURCES", "SIZE"), rows, right=(1, 2)),
            f"Made {made.resources:,} resources ({format_size(made.bytes)}) of {patients}, seed {seed}, in "
            f"{folder} in {format_duration(seconds)}, {rate:,.0f} resources/s.",
            f"To go on:\n  fhirferry import {shlex.quote(folder)}",
        )
    )
