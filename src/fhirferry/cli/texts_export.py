"""How `export` speaks: what it found, what it did, what it would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fhirferry.cli.opening import short_place
from fhirferry.cli.tables import table
from fhirferry.cli.texts_jobs import at_work
from fhirferry.cli.words import counted
from fhirferry.exporting.chain import onwards
from fhirferry.jobs.holder import describe
from fhirferry.model.instant import Instant, format_instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.quantity import format_duration, format_size

if TYPE_CHECKING:
    from fhirferry.cli.lines import Sum
    from fhirferry.exporter import DryRun


def found(record: ExportJobRecord, now: Instant) -> str:
    """What is said when the typed command meets its job."""
    if record.finished:
        return f"Export job {record.id}, of the same command, ended just now."
    if at_work(record, now):
        by = describe(record.holder or "")
        return f"Export job {record.id} is running already ({by}); waiting for it, or taking over when it dies."
    moment = f", as of {format_instant(record.transaction_time)}" if record.transaction_time is not None else ""
    return f"Resuming export job {record.id}: {record.progress} % done{moment}."


def goes_on(before: ExportJobRecord | None) -> str:
    """What `--since last` turned out to mean."""
    if before is None:
        return (
            "No such export was completed before, from here to there: this one is full, and the next can go on from it."
        )
    issues = f", which had {counted(before.issue_count, 'issue')}" if before.issue_count else ""
    return f"Going on from export job {before.id}{issues}: what came after {format_instant(onwards(before))}."


def result_page(record: ExportJobRecord, sums: Sequence[Sum], seconds: float, written: int, how: str) -> str:
    """How a completed export is told. written: bytes committed meanwhile, in `seconds`. how: ` (resumed)` or
    the like."""
    t = record.transaction_time or 0
    place = short_place(record.destination_uri)
    per_second = f", {format_size(written / seconds)}/s" if seconds and written else ""
    lines = [
        f"Exported {counted(record.resources, 'resource')} ({format_size(record.bytes)}) to {place} "
        f"in {format_duration(seconds)}{per_second}{how}.",
        f"As of {format_instant(t)}; what comes later: --since {format_instant(onwards(record))}",
    ]
    names = {"output": "", "history": " (history)", "deleted": " (deleted)", "error": " (error)"}
    if sums:
        rows = [(s.resource_type + names[s.kind], f"{s.files:,}", f"{s.count:,}", format_size(s.bytes)) for s in sums]
        lines.append(table(("TYPE", "FILES", "LINES", "SIZE"), rows, right=(1, 2, 3)))
    if record.issue_count:
        lines.append(
            f"{counted(record.issue_count, 'issue')}: the OperationOutcome files name what could not be exported."
        )
    return "\n".join(lines)


def plan_page(plan: DryRun, destination: str, layout: str, problem: str | None, unfinished: str | None) -> str:
    """What a dry run found."""
    rows = [(name, f"{t.resources:,}", format_size(t.bytes)) for name, t in sorted(plan.totals.items())]
    rows.append(("all", f"{plan.resources:,}", format_size(plan.bytes)))
    lines = [table(("TYPE", "RESOURCES", "SIZE"), rows, right=(1, 2))]
    if plan.patients is not None:
        nothing = f"; of {plan.absent:,} more there is nothing" if plan.absent else ""
        lines.append(f"Of {counted(plan.patients, 'patient')}{nothing}.")
    lines += plan.notes
    if plan.at_most:
        lines.append("At most: what filters and elements leave of it shows when it is read.")
    if plan.and_more:
        lines.append("More comes along: what is referred to shows when it is read.")
    place = "/".join(filter(None, (short_place(destination), layout)))
    lines.append(f"Destination {place}: {problem}" if problem else f"Destination {place}: can be used.")
    if plan.free_bytes is not None:
        enough = "" if plan.free_bytes > plan.bytes else ", which is less than the export's uncompressed size"
        lines.append(f"Free space: {format_size(plan.free_bytes)}{enough}.")
    if unfinished:
        lines.append(f"The same command would resume job {unfinished}.")
    return "\n".join(lines)
