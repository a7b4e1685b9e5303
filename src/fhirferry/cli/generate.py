"""`fhirferry generate`: made-up data to try things with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, Parsed, define, json_option, option
from fhirferry.cli.values import COUNT, FOLDER
from fhirferry.model.errors import RequestError

if TYPE_CHECKING:
    from fhirferry.samples.writing import Made

EXAMPLE = """
fhirferry generate --patients 200 --to samples
fhirferry generate --patients 1000 --seed 42 --to larger --json
"""
STOPPING = "Stopping; nothing will be left in the folder. Once more (Ctrl-C) stops at once."
LONGEST_SEED = 18
"""Digits: the seed is a part of ids, which have 64 characters at most."""


def _seed(text: str) -> int:
    if text.strip().isdecimal() and len(text.strip()) <= LONGEST_SEED:
        return int(text)
    raise RequestError(f"{text!r} is not a whole number of at most {LONGEST_SEED} digits")


@define("generate", example=EXAMPLE)
@option("--patients", type=COUNT, metavar="N", default="100", help="So many patients; about 80 resources each.")
@option(
    "--seed",
    type=Parsed("n", _seed),
    metavar="S",
    default="1",
    help="Another number, other data; the same number, the same bytes.",
)
@option("--to", type=FOLDER, metavar="FOLDER", required=True, help="Folder for the files: empty, or not there yet.")
@option("--odd", is_flag=True, help="Also odd corners: a resource of 25 MB, deep nesting, groups in a circle.")
@json_option
def command(invocation: Invocation, patients: int, seed: int, to: str, odd: bool) -> Exit:
    """Make up patients with their records: FHIR R4 as NDJSON, one file for each resource type.

    No person in it is real. The histories end on 2026-01-01, so that the same seed gives the same bytes at any time.
    """
    from fhirferry.cli.interrupts import stop_on_signal
    from fhirferry.cli.lines_generate import GenerateLine
    from fhirferry.cli.progress_generate import GenerateProgress
    from fhirferry.cli.texts_generate import generated_page
    from fhirferry.samples.writing import generate
    from fhirferry.settings import path_of

    console, folder, start = invocation.console, path_of(to), time.monotonic()
    tell = GenerateProgress(console, invocation.clock, patients)
    with stop_on_signal(console, STOPPING) as stop:

        def on_progress(made: Made) -> None:
            if stop.is_set():
                raise _Stopped
            tell(made)

        try:
            made = generate(folder, patients=patients, seed=seed, odd=odd, on_progress=on_progress)
        except _Stopped:
            console.end_progress()
            console.error(f"Stopped: nothing was written to {folder}.")
            return Exit.STOPPED
    seconds = time.monotonic() - start
    console.end_progress()
    console.line(GenerateLine.of(made, folder=str(folder), seed=seed, odd=odd, seconds=seconds))
    console.text(generated_page(made, str(folder), seed, seconds))
    return Exit.COMPLETE


class _Stopped(Exception):
    """Leave between two batches."""
