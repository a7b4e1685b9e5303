"""`fhirferry store`: what the embedded store holds, indexing, pruning, deleting."""

from __future__ import annotations

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, LazyGroup, define, json_option, option
from fhirferry.cli.values import DATABASE, DURATION, REFERENCE

store_option = option("--store", type=DATABASE, metavar="URL", help="The store; without it the default store.")

group = LazyGroup(
    name="store",
    help="Look into the embedded store, index or prune it, delete resources.",
    places={
        "info": "store:info",
        "index": "store_index:command",
        "prune": "store:prune",
        "delete": "store:delete",
    },
)


@define("info", example="fhirferry store info")
@store_option
@json_option
def info(invocation: Invocation, store: str | None) -> Exit:
    """Show resources, versions and bytes per type, and what keeps old versions."""
    from fhirferry.cli.lines_store import StoreLine
    from fhirferry.cli.opening import open_store
    from fhirferry.cli.texts_store import store_page

    with open_store(invocation, store) as opened:
        found = opened.info()
    invocation.console.line(StoreLine.of(opened.path, found))
    invocation.console.text(store_page(opened.path, found))
    return Exit.COMPLETE


@define("prune", example="fhirferry store prune\nfhirferry store prune --older-than 7d")
@option("--older-than", type=DURATION, metavar="DURATION", help="Keep every state of the time since: 7d, 12h.")
@store_option
@json_option
def prune(invocation: Invocation, older_than: float | None, store: str | None) -> Exit:
    """Forget versions that are no longer current, as far as no running export needs them.

    Exports of a time before can then no longer be repeated or compared.
    """
    from fhirferry.cli.lines_store import PrunedLine
    from fhirferry.cli.opening import open_store
    from fhirferry.cli.texts_store import pruned_text
    from fhirferry.model.instant import SECOND

    before = None if older_than is None else invocation.clock() - int(older_than * SECOND)
    with open_store(invocation, store) as opened:
        pruned = opened.prune(before)
    invocation.console.line(PrunedLine.of(pruned))
    invocation.console.text(pruned_text(pruned))
    return Exit.COMPLETE


@define("delete", example="fhirferry store delete Patient/a Observation/b")
@click.argument("references", nargs=-1, required=True, metavar="TYPE/ID...", type=REFERENCE)
@store_option
@json_option
def delete(invocation: Invocation, references: tuple[tuple[str, str], ...], store: str | None) -> Exit:
    """Delete resources: from now on they are gone, and exports with --since tell of it."""
    from fhirferry.cli.lines_store import DeletedLine
    from fhirferry.cli.opening import open_store
    from fhirferry.fhir.resource import Deletion

    with open_store(invocation, store) as opened:
        outcomes = opened.write([Deletion(kind, ident) for kind, ident in references])
    for (kind, ident), outcome in zip(references, outcomes, strict=True):
        invocation.console.line(DeletedLine(reference=f"{kind}/{ident}", outcome=outcome))
        invocation.console.text(f"{kind}/{ident}: {'deleted' if outcome == 'deleted' else 'is not in the store'}")
    return Exit.COMPLETE
