"""From addresses on the command line to the parts of the house: store, ledger, exporter."""

# ruff: noqa: PTH110, PTH112, PTH120 - no pathlib where every command begins

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

from fhirferry.cli.values import EXECUTOR_DEFAULT
from fhirferry.model.errors import RequestError
from fhirferry.settings import place_of

if TYPE_CHECKING:
    from fhirferry.cli.options import Invocation
    from fhirferry.exporter import Exporter
    from fhirferry.model.job import ExportJobRecord
    from fhirferry.store.sqlite import SqliteStore


def store_address(invocation: Invocation, given: str | None) -> str:
    """The store's URL: the one given, else the default one. It must be there: nobody exports what was never imported."""
    url = given or invocation.settings.store
    path = place_of(url)
    if not os.path.exists(path):
        raise RequestError(f"there is no store at {path}; fill one first: fhirferry import PATH" + _into(given))
    return url


def ledger_address(invocation: Invocation, given: str | None) -> str | None:
    """The URL of the ledger that was given, which must be there, else of the default one. None: that one is not there
    yet, and people were told."""
    url = given or invocation.settings.ledger
    path = place_of(url)
    if os.path.exists(path):
        return url
    if given:
        raise RequestError(f"there is no ledger at {path}; an export makes it: fhirferry export --ledger {path}")
    invocation.console.say(f"No jobs yet: there is no ledger at {path} (see --ledger, FHIRFERRY_HOME).")
    return None


def ledger_there(invocation: Invocation) -> str | None:
    """The URL of the default ledger; None where there is none, which is nobody's mistake."""
    url = invocation.settings.ledger
    return url if os.path.exists(place_of(url)) else None


def ledger_to_make(invocation: Invocation, given: str | None) -> str:
    """The URL of the ledger that was given, else of the default one. It need not be there; nothing is made yet."""
    url = given or invocation.settings.ledger
    path = place_of(url)
    folder = os.path.dirname(path)
    if given and not os.path.isdir(folder):
        raise RequestError(f"cannot make the ledger {path}: there is no folder {folder}")
    return url


def ledger_to_type(invocation: Invocation, given: str | None) -> str | None:
    """The ledger that a command we print must name to mean the one that was meant here; None: the default one."""
    return given or (invocation.settings.ledger if invocation.home_given else None)


def open_exporter(
    ledger: str | None,
    *,
    invocation: Invocation | None = None,
    executor: str = EXECUTOR_DEFAULT,
    poll: float = 1.0,
) -> closing[Exporter]:
    """The exporter over this ledger, closed at the end of the `with` block. None: it needs none, and makes no file.
    invocation: of who opens destinations; it knows their names and where secrets are."""
    from fhirferry.exporter import Exporter  # the engine: only commands that work with jobs pay for its import

    if ledger is None:
        from fhirferry.clock import system_clock
        from fhirferry.jobs.memory import MemoryJobStore

        return closing(Exporter(ledger=MemoryJobStore(system_clock), **_ways(invocation)))
    return closing(Exporter(ledger=ledger, executor=executor, poll=poll, **_ways(invocation)))


def _ways(invocation: Invocation | None) -> dict[str, Any]:
    return {} if invocation is None else {"vault": invocation.vault, "destinations": invocation.destinations}


def open_store(invocation: Invocation, given: str | None) -> SqliteStore:
    """The store that was given, else the default one; it must be there. Close it."""
    from fhirferry.store.sqlite import SqliteStore

    return SqliteStore(place_of(store_address(invocation, given)), clock=invocation.clock)


def destination_address(typed: str, account: str | None) -> str:
    """A destination that was typed, of Azure with its account: the one given, else what the environment names.
    RequestError."""
    if account is None and not typed.startswith("az://"):
        return typed
    from fhirferry.destinations.addresses import with_account
    from fhirferry.destinations.credentials import azure_account

    return with_account(typed, account, azure_account(os.environ) if account is None else "")


def pick(exporter: Exporter, prefix: str) -> ExportJobRecord:
    """The job whose id starts with `prefix`. RequestError: none, or several."""
    from fhirferry.model.errors import JobNotFound

    found = [record for record in exporter.jobs() if record.id.startswith(prefix)]
    exact = [record for record in found if record.id == prefix]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise JobNotFound(f"no job {prefix!r} in this ledger; see: fhirferry jobs list")
    raise RequestError(f"{prefix!r} is the beginning of {len(found)} jobs: {', '.join(r.id for r in found[:5])}")


def short_place(url: str) -> str:
    """A file or folder as people write it; other addresses as they are."""
    return place_of(url) if url.startswith(("file://", "sqlite://")) else url


def _into(given: str | None) -> str:
    return f" --store {place_of(given)}" if given else ""
