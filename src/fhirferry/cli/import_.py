"""`fhirferry import`: files into the store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import DATABASE

if TYPE_CHECKING:
    from fhirferry.importing.importer import ImportTotals

EXAMPLE = """
fhirferry import Patient.ndjson bundles/
fhirferry import out --store copy.db --strict
"""
STOPPING = "Stopping after this batch; once more (Ctrl-C) stops at once. What is in the store stays in either case."


@define("import", example=EXAMPLE)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@option("--store", type=DATABASE, metavar="URL", help="Store to fill, made if need be; without it the default store.")
@option("--strict", is_flag=True, help="Take nothing of a file that has a bad line.")
@option("--force", is_flag=True, help="Also replace versions that have a later lastUpdated.")
@json_option
def command(invocation: Invocation, paths: tuple[Path, ...], store: str | None, strict: bool, force: bool) -> Exit:
    """Import NDJSON (plain, .gz, .zst), Bundles, single resources, folders of them, and exports with their deletions.

    Doing it again changes nothing. Ends with 3 when something was bad; each bad line is told with its reason.
    """
    from fhirferry.cli.interrupts import stop_on_signal
    from fhirferry.cli.lines_store import BadLine, ImportLine
    from fhirferry.cli.progress_import import ImportProgress
    from fhirferry.cli.texts_store import import_page
    from fhirferry.importing.importer import import_paths
    from fhirferry.settings import path_of
    from fhirferry.store.sqlite import SqliteStore

    console = invocation.console
    if store is None:
        invocation.settings.make_home()
    target = path_of(store or invocation.settings.store)

    def on_bad(path: Path, line: int, reason: str) -> None:
        console.line(BadLine(file=str(path), line=line, reason=reason))
        if not console.json:
            console.error(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")

    start = time.monotonic()
    progress = ImportProgress(console, invocation.clock, paths)
    stopped = False
    so_far: list[ImportTotals] = []
    with (
        SqliteStore(str(target), clock=invocation.clock, create=True) as opened,
        stop_on_signal(console, STOPPING) as stop,
    ):

        def on_progress(totals: ImportTotals) -> None:
            so_far[:] = [totals]
            if stop.is_set():
                raise _Stopped
            progress(totals)

        try:
            totals = import_paths(
                opened,
                paths,
                strict=strict,
                force=force,
                on_bad=on_bad,
                on_progress=on_progress,
                clock=invocation.clock,
            )
        except _Stopped:
            totals, stopped = so_far[0], True
    seconds = time.monotonic() - start
    console.end_progress()
    console.line(ImportLine.of(totals, store=str(target), seconds=seconds, stopped=stopped))
    console.text(import_page(totals, str(target), seconds))
    if stopped:
        console.text("Stopped before the end. The same command goes on; what is in already stays as it is.")
        return Exit.STOPPED
    return Exit.WITH_ISSUES if totals.bad else Exit.COMPLETE


class _Stopped(Exception):
    """Leave the import at a batch's end."""
