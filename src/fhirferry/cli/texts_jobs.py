"""Jobs as a person reads them: tables, states, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fhirferry.cli.opening import short_place
from fhirferry.cli.resuming import given, on_ledger
from fhirferry.cli.tables import table
from fhirferry.cli.words import counted
from fhirferry.jobs.holder import describe, is_dead
from fhirferry.jobs.rules import interrupted
from fhirferry.model.instant import SECOND, Instant, format_instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.quantity import format_duration, format_size
from fhirferry.model.steps import stale

if TYPE_CHECKING:
    from fhirferry.model.output import OutputFile
    from fhirferry.model.request import ExportRequest


def at_work(record: ExportJobRecord, now: Instant) -> bool:
    """RUNNING, and as far as can be told somebody works on it."""
    return record.status is JobStatus.RUNNING and not stale(record, now) and not interrupted(record, is_dead)


def state(record: ExportJobRecord, now: Instant) -> str:
    """One word, and what one needs to know with it."""
    if interrupted(record, is_dead):
        return "interrupted"
    if record.status is JobStatus.RUNNING and stale(record, now):
        return "stalled"
    if record.status is JobStatus.RETRIABLE and record.retry_after is not None:
        return f"retriable in {format_duration(max(0, record.retry_after - now) / SECOND)}"
    if record.status is JobStatus.COMPLETED and record.issue_count:
        return f"completed, {counted(record.issue_count, 'issue')}"
    return str(record.status)


def rate(record: ExportJobRecord, now: Instant) -> float | None:
    """Bytes per second since the first acquisition; None where there is nothing to measure."""
    gone = record.gone_through.bytes
    if record.start_time is None or not gone:
        return None
    end = record.end_time if record.end_time is not None else now
    return gone * SECOND / max(end - record.start_time, 1)


def left(record: ExportJobRecord, now: Instant) -> float | None:
    """Seconds until a running job's end, by its rate so far."""
    speed, gone = rate(record, now), record.gone_through.bytes
    total = sum(t.bytes for t in record.totals.values())
    if record.status is not JobStatus.RUNNING or speed is None or total <= gone:
        return None
    return (total - gone) / speed


def progress(record: ExportJobRecord, now: Instant) -> str:
    """`exporting 42 %: 1,234,000 of 3,000,000 resources, 1.2 GB, 85 MB/s, 40s left`"""
    total = sum(t.resources for t in record.totals.values())
    of_total = f" of {total:,}" if total else ""
    gone = record.gone_through
    parts = [f"exporting {record.progress} %: {gone.resources:,}{of_total} resources", format_size(gone.bytes)]
    speed, rest = rate(record, now), left(record, now)
    if speed is not None:
        parts.append(f"{format_size(speed)}/s")
    if rest is not None:
        parts.append(f"{format_duration(rest)} left")
    return ", ".join(parts)


def job_table(records: Sequence[ExportJobRecord], now: Instant, width: int | None = None) -> str:
    """The ledger, oldest first. width: of the terminal."""
    rows = [
        (
            record.id,
            state(record, now),
            f"{record.progress} %",
            f"{record.resources:,}",
            "-" if (speed := rate(record, now)) is None else f"{format_size(speed)}/s",
            "-" if (rest := left(record, now)) is None else format_duration(rest),
            format_duration(max(0, now - record.queued_time) / SECOND),
            short_place(record.destination_uri),
        )
        for record in records
    ]
    head = ("ID", "STATUS", "DONE", "RESOURCES", "RATE", "LEFT", "AGE", "DESTINATION")
    rate_, left_, age, resources, done, destination = 4, 5, 6, 3, 2, 7
    least_first = (rate_, left_, age, resources, done, destination)
    return table(head, rows, right=(2, 3, 4, 5, 6), drop=least_first, cut=destination, width=width)


def interruptions(records: Sequence[ExportJobRecord], now: Instant, ledger: str | None) -> str | None:
    """What to do about the jobs that nobody works on any more; None when there is none."""
    number = sum(record.status is JobStatus.RUNNING and not at_work(record, now) for record in records)
    if not number:
        return None
    show, worker = on_ledger("fhirferry jobs show ID", ledger), on_ledger("fhirferry worker", ledger)
    return (
        f"{counted(number, 'job')} {'is' if number == 1 else 'are'} interrupted: type its command again ({show}), "
        f"or start a worker: {worker}"
    )


def queue(records: Sequence[ExportJobRecord], now: Instant, ledger: str | None) -> str | None:
    """What to know about the jobs that wait; None when none does."""
    queued = [record for record in records if record.status is JobStatus.QUEUED]
    if not queued:
        return None
    age = format_duration(max(0, now - min(record.queued_time for record in queued)) / SECOND)
    count = f"{counted(len(queued), 'job')} {'waits' if len(queued) == 1 else 'wait'}"
    text = f"{count}, the oldest for {age}"
    if any(at_work(record, now) for record in records):
        return text + "."
    return text + ": waiting for a worker, and no job is running. Start one: " + on_ledger("fhirferry worker", ledger)


def advice(record: ExportJobRecord, now: Instant, run_it: str, ledger: str | None) -> str | None:
    """What the reader can do about a job; None where there is nothing to do. run_it: the export command of this job.
    ledger: what `--ledger` must say in what is to be typed."""
    worker = on_ledger("fhirferry worker", ledger)
    listed = record.request.patient_list is not None  # then a worker is what runs it, or whoever has the list
    if listed and record.status is JobStatus.RETRIABLE:
        again = on_ledger(f"fhirferry jobs resume {record.id}", ledger)
        return f"It is tried again by itself; at once with: {again}\nand: {run_it}"
    here = f"Let a worker do it: {run_it}\nor type its command again, with the same list of patients."
    if listed and record.status is JobStatus.QUEUED:
        return here
    if record.status is JobStatus.FAILED:
        return "Remove the cause, then: " + on_ledger(f"fhirferry jobs retry {record.id}", ledger)
    if record.status is JobStatus.RETRIABLE:
        return f"It is tried again by itself; at once with: {run_it}"
    if record.status is JobStatus.QUEUED:
        return f"Run it here: {run_it}\nor let a worker do it: {worker}"
    if record.status is JobStatus.RUNNING and not at_work(record, now):
        why = "Its process has ended" if interrupted(record, is_dead) else "Nothing is heard of its holder"
        return f"{why}. {here}" if listed else f"{why}; go on with it here: {run_it}\nor let a worker do it: {worker}"
    if record.status is JobStatus.COMPLETED and record.issue_count:
        return "Resources that could not be exported are named in the error file."
    return None


def job_page(record: ExportJobRecord, now: Instant, run_it: str, ledger: str | None) -> str:
    """Everything about a job; see `advice`."""
    request = record.request
    pairs: list[tuple[str, str | None]] = [
        ("job", record.id),
        ("status", state(record, now)),
        ("progress", f"{record.progress} %"),
        ("resources", _resources(record)),
        ("size", format_size(record.bytes)),
        ("rate", None if (speed := rate(record, now)) is None else f"{format_size(speed)}/s"),
        ("time left", None if (rest := left(record, now)) is None else format_duration(rest)),
        ("partitions", f"{record.partitions_done} of {record.partitions}"),
        ("from", short_place(record.source_uri)),
        ("to", short_place(record.destination_uri)),
        ("layout", record.layout or None),
        ("whom", whom(request)),
        ("types", ", ".join(request.types) if request.types else "all"),
        *(("filter", text) for text in request.type_filters),
        ("elements", ", ".join(request.elements) or None),
        ("along", ", ".join(request.include_associated_data) or None),
        ("referenced", _referenced(request)),
        ("organised", f"by {request.organize_output_by}" if request.organize_output_by else None),
        ("handling", "lenient" if request.handling == "lenient" else None),
        ("since", _instant(request.since)),
        ("until", _instant(request.until)),
        ("continues", f"job {record.continues}" if record.continues else None),
        ("members", _members(request)),
        ("as of", _instant(record.transaction_time)),
        ("queued", _instant(record.queued_time)),
        ("started", _instant(record.start_time)),
        ("ended", _instant(record.end_time)),
        ("holder", describe(record.holder) if record.holder else None),
        ("heartbeat", _instant(record.heartbeat) if record.status is JobStatus.RUNNING else None),
        ("requestor", record.requestor or None),
        (
            "settings",
            ", ".join(f"{option} {value}".rstrip() for option, value in given(record.settings).items()) or None,
        ),
        ("acquired", counted(record.epoch, "time") if record.epoch else None),
        ("failures", f"{record.failure_count}" if record.failure_count else None),
        ("last failure", record.failure.reason if record.failure else None),
        ("details", record.failure.details or None if record.failure else None),
        ("issues", f"{record.issue_count:,}" if record.issue_count else None),
        *(("", issue.diagnostics) for issue in record.issues),
        (
            "what to do",
            None if (text := advice(record, now, run_it, ledger)) is None else text.replace("\n", "\n" + " " * 14),
        ),
    ]
    return "\n".join(f"{name:<12}  {value}" for name, value in pairs if value is not None)


def file_table(files: Sequence[OutputFile], width: int | None = None) -> str:
    """A job's files, by list of the manifest. width: of the terminal."""
    rows = [(f.name or f.part, f.kind, f"{f.count:,}", format_size(f.bytes), f.sha256[:12]) for f in files]
    return table(("FILE", "KIND", "LINES", "SIZE", "SHA-256"), rows, right=(2, 3), drop=(4, 1, 2, 3), width=width)


def milestone(record: ExportJobRecord, word: str = "") -> str:
    """A worker's line on a job's new status. word: what is said instead of the status."""
    word = word or str(record.status)
    place = short_place(record.destination_uri)
    text = f"{record.id}  {word:<9}  {counted(record.resources, 'resource')}, {format_size(record.bytes)}  {place}"
    return f"{text}  {record.failure.reason}" if record.failure and record.status is JobStatus.FAILED else text


def watched(record: ExportJobRecord, now: Instant) -> str:
    """One line on a job; the same text means that nothing happened."""
    if at_work(record, now):
        done = f"{record.progress} %, {_resources(record)} resources, {format_size(record.bytes)}"
        return f"{record.id}  {record.status}  {done}"
    return milestone(record, state(record, now) if record.status is JobStatus.RUNNING else "")


def whom(request: ExportRequest) -> str | None:
    """Whose data an export is of; None for everything."""
    if request.patient_list is not None:
        named = f"patients of a list (SHA-256 {request.patient_list[:12]})"
    elif request.patients is not None:
        shown, more = ", ".join(request.patients[:5]), len(request.patients) - 5
        named = f"{'patient' if len(request.patients) == 1 else 'patients'} {shown}" + (
            f" and {more} more" * (more > 0)
        )
    else:
        named = "all patients"
    if request.group_id is None:
        return None if request.level == "system" else named
    return f"Group/{request.group_id}" + (f", {named}" if request.has_list else "")


def _referenced(request: ExportRequest) -> str | None:
    if request.include_referenced is None:
        return None
    steps = f", {request.reference_depth} steps" if request.reference_depth > 1 else ""
    return (", ".join(request.include_referenced) or "nothing") + steps


def _members(request: ExportRequest) -> str | None:
    joined = "new ones in full" if request.new_members == "full" else ""
    gone = "what those who left have is listed as deleted" if request.left_members == "delete" else ""
    return "; ".join(filter(None, (joined, gone))) or None


def _resources(record: ExportJobRecord) -> str:
    total = sum(t.resources for t in record.totals.values())
    if record.request.type_filters:
        return f"{record.resources:,} that match, of {record.gone_through.resources:,} read, of {total:,}"
    return f"{record.resources:,}" + (f" of {total:,}" if total else "")


def _instant(value: Instant | None) -> str | None:
    return None if value is None else format_instant(value)
