"""Run one job in this process, and say how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fhirferry.cli.exits import Exit
from fhirferry.cli.interrupts import stop_on_signal
from fhirferry.cli.lines import ExportLine, Sum, instant
from fhirferry.cli.opening import short_place
from fhirferry.cli.progress import Progress
from fhirferry.cli.resuming import command_for
from fhirferry.cli.texts_export import result_page
from fhirferry.cli.texts_jobs import advice, at_work
from fhirferry.jobs.holder import describe
from fhirferry.model.errors import JobNotFound
from fhirferry.model.job import ExportJobRecord, JobStatus

if TYPE_CHECKING:
    from fhirferry.cli.options import Invocation
    from fhirferry.exporter import Exporter, ExportJob

STOPPING = (
    "Stopping at the next commit point; once more (Ctrl-C) stops at once. What is committed stays in either case."
)


def run_here(
    invocation: Invocation, exporter: Exporter, job: ExportJob, resumed: bool, *, ledger: str | None, executor: str
) -> Exit:
    """See the job to its end, or to a stop at a commit point. ledger: as typed, for the command that goes on."""
    console = invocation.console
    before = job.status()
    start = time.monotonic()
    with stop_on_signal(console, STOPPING) as stop:
        if not resumed:
            console.say(f"Export job {job.id} started.")
        progress = Progress(console, invocation.clock)
        worker = exporter.worker(stop=stop, log=console.say, on_progress=progress, on_page=progress.page)
        try:
            record = worker.run_job(job.id)
        except JobNotFound:  # it was there a moment ago, so the command is not to blame: not a usage error
            console.end_progress()
            console.error(f"Error: job {job.id} was deleted while it ran; its files are removed.")
            return Exit.FAILED
    seconds = time.monotonic() - start
    console.end_progress()
    code = exit_of(record)
    run_it = "" if record.status is JobStatus.COMPLETED else command_for(record, ledger, executor)
    files = job.files() if record.status is JobStatus.COMPLETED else ()
    sums = Sum.of(files)
    console.line(
        ExportLine(
            job=record.id,
            status=record.status,
            resumed=resumed,
            level=record.request.level,
            group=record.request.group_id,
            since=instant(record.request.since),
            continues=record.continues,
            destination=record.destination_uri,
            transaction_time=instant(record.transaction_time),
            resources=record.resources,
            bytes=record.bytes,
            issue_count=record.issue_count,
            files=len(files),
            by_type=sums,
            seconds=round(seconds, 3),
            failure=record.failure.reason if record.failure else None,
            resume=run_it if code is Exit.STOPPED else None,
        )
    )
    if code in (Exit.COMPLETE, Exit.WITH_ISSUES):
        elsewhere = resumed and record.epoch == before.epoch > 0
        how = " by another process" if elsewhere else " (resumed)" if resumed else ""
        console.text(result_page(record, sums, seconds, record.bytes - before.bytes, how))
    elif code is Exit.STOPPED and at_work(record, invocation.clock()):
        by = describe(record.holder or "")
        console.text(f"Job {record.id} goes on without this command ({by}); to wait for it again:\n  {run_it}")
    elif code is Exit.STOPPED:
        done = f"{record.progress} % of job {record.id} is committed"
        console.text(f"Stopped: {done} in {short_place(record.destination_uri)}. To go on:\n  {run_it}")
    else:
        console.error(_ended_badly(record, invocation, run_it, ledger))
    return code


def exit_of(record: ExportJobRecord) -> Exit:
    """The exit code that a job's state means."""
    if record.status is JobStatus.COMPLETED:
        return Exit.WITH_ISSUES if record.issue_count else Exit.COMPLETE
    return Exit.FAILED if record.finished else Exit.STOPPED


def _ended_badly(record: ExportJobRecord, invocation: Invocation, run_it: str, ledger: str | None) -> str:
    if record.status is JobStatus.CANCELED:
        return f"Error: job {record.id} was canceled; its files are removed."
    failure = record.failure
    reason = " ".join(filter(None, (failure.reason, failure.details))) if failure else "unknown reason"
    return (
        f"Error: job {record.id} failed: {reason}\n{advice(record, invocation.clock(), run_it, ledger) or ''}".rstrip()
    )
