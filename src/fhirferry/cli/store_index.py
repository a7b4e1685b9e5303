"""`fhirferry store index`: whose the resources are that an earlier fhirferry wrote."""

from __future__ import annotations

import time

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, define, json_option
from fhirferry.cli.store import store_option

STOPPING = "Stopping after this batch; once more (Ctrl-C) stops at once. What is indexed stays in either case."


@define("index", example="fhirferry store index")
@store_option
@json_option
def command(invocation: Invocation, store: str | None) -> Exit:
    """Find out which resources belong to which patient, where an earlier fhirferry filled the store.

    Exports of patients and groups need it, once. What is imported since then is indexed as it comes.
    """
    from fhirferry.cli.interrupts import stop_on_signal
    from fhirferry.cli.lines_store import IndexedLine
    from fhirferry.cli.opening import open_store
    from fhirferry.cli.progress_index import IndexProgress
    from fhirferry.cli.texts_store import indexed_text

    console = invocation.console
    start = time.monotonic()
    progress = IndexProgress(console, invocation.clock)
    stopped = False
    versions = 0
    with open_store(invocation, store) as opened, stop_on_signal(console, STOPPING) as stop:

        def on_progress(done: int, total: int) -> None:
            nonlocal versions
            versions = done
            progress(done, total)
            if stop.is_set() and done < total:
                raise _Stopped

        try:
            opened.index(on_progress)
        except _Stopped:
            stopped = True
    seconds = time.monotonic() - start
    console.end_progress()
    console.line(IndexedLine(store=opened.path, versions=versions, seconds=round(seconds, 3), stopped=stopped))
    console.text(indexed_text(versions, opened.path, seconds, stopped=stopped))
    return Exit.STOPPED if stopped else Exit.COMPLETE


class _Stopped(Exception):
    """Leave the index at a batch's end."""
