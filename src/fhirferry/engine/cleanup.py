"""Clean-up: work like any other, taken from the ledger, every step idempotent.

Nothing at a destination is deleted before the job's terminal status is committed, and nothing under a visible name
unless the place is still the job's: another export has the same names there, so only the destination can tell, and
`forget` tells and deletes in one. A job that was cut off may still have a unit running somewhere, so it is swept at
once and once more when every such unit must have ended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from fhirferry.destinations.protocol import Destination
from fhirferry.engine.access import Access, open_place
from fhirferry.engine.connections import Connections
from fhirferry.engine.context import working_for
from fhirferry.engine.outcome import describe
from fhirferry.engine.publishing import published_names
from fhirferry.faultpoints import reach
from fhirferry.jobs.protocol import JobStore
from fhirferry.model.errors import FerryError, SecretStoreError, TransientError
from fhirferry.model.instant import SECOND, Instant
from fhirferry.model.job import ExportJobRecord, JobStatus

LEASE = 120.0
"""Seconds that a clean-up may take before another worker does it again."""

GRACE = 10.0
"""Seconds, beyond its heartbeat and commit cadence, after which a cut-off unit must have ended."""


def clean(
    record: ExportJobRecord, jobs: JobStore, connections: Connections, log: Callable[[str], None] = lambda _: None
) -> str | None:
    """One pass over a terminal job: sweep orphans, remove what is not to stay, release the snapshot; the last one also
    deletes the secret that was made for the job (S29).

    None when the pass is done. Else what stands in the way, for the operator; then the pass is tried again after the
    lease. log: told what is given up on. Files that were to go are never given up on: they are health data, and somebody
    believes them gone. Orphans of a destination that is gone for good are.
    """
    with working_for(record.id):
        problem = None
        try:
            with closing(open_place(connections, record.destination_uri, Access.of(record))) as destination:
                _sweep(record, jobs, destination)
        except FerryError as error:
            if _files_must_go(record) or isinstance(error, TransientError):
                problem = error.message
        reach("cleanup-swept")
        if record.status is not JobStatus.FAILED or record.deleted:  # a failed job may be retried at the same T
            try:
                with closing(connections.open_source(record.source_uri, False)) as source:
                    source.release(record.id)
            except TransientError as error:
                problem = problem or error.message
            except FerryError:
                pass  # a store that is gone holds no pin
        reach("cleanup-released")
        if problem is None:
            again_at = _again_at(record, jobs.now())
            if again_at is None and record.own_secret is not None:
                _delete_secret(record.own_secret, connections, log)
            jobs.cleaned(record.id, again_at=again_at)
        return problem


def _delete_secret(name: str, connections: Connections, log: Callable[[str], None]) -> None:
    """Best effort: the job is what it is (S58)."""
    try:
        if connections.open_vault is None:
            raise SecretStoreError("there is no store of secrets here")
        with connections.open_vault() as vault:
            if not vault.read_only:
                vault.delete(name)
    except Exception as error:
        why = error.message if isinstance(error, FerryError) else describe(error)
        log(f"warning: the job's secret {name!r} could not be deleted, so do it by hand: {why}")


def _files_must_go(record: ExportJobRecord) -> bool:
    return not record.keep_files and (record.deleted or record.status is JobStatus.CANCELED)


def _sweep(record: ExportJobRecord, jobs: JobStore, destination: Destination) -> None:
    if record.status is JobStatus.FAILED and not record.deleted:
        # It may be retried while this runs, and a sweep could then take a part of the new run that is not listed yet:
        # its orphans stay hidden until it completes, or is deleted.
        return
    files = jobs.files(record.id)
    # Parts first: what a holder that has not noticed yet publishes meanwhile, is there for `forget` or never will be.
    listed = frozenset(file.part for file in files)
    destination.sweep(record.id, frozenset() if destination.renames or _files_must_go(record) else listed)
    if _files_must_go(record):
        destination.forget(record.id, published_names(files))
    elif record.deleted:
        destination.forget(record.id)


def _again_at(record: ExportJobRecord, now: Instant) -> Instant | None:
    """When to sweep once more: for jobs that may have been cut off (cancelled, or acquired more than once), as long as
    a unit of theirs may still run."""
    was_cut_off = record.epoch > 1 or (record.epoch and record.status is JobStatus.CANCELED)
    if not was_cut_off or record.end_time is None:
        return None
    longest = record.settings.heartbeat_timeout + record.settings.seconds_per_commit + GRACE
    last = record.end_time + int(longest * SECOND)
    return last if now < last else None
