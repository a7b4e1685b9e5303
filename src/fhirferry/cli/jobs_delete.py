"""`fhirferry jobs delete` and `prune`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.jobs_read import id_argument, ledger_option
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import DURATION
from fhirferry.cli.words import counted

if TYPE_CHECKING:
    from fhirferry.model.job import ExportJobRecord
    from fhirferry.model.output import OutputFile


@define("delete", example="fhirferry jobs delete 3f9a\nfhirferry jobs delete 3f9a --yes --keep-files")
@id_argument
@option("--yes", is_flag=True, help="Don't ask.")
@option("--keep-files", is_flag=True, help="Forget the job, leave its files.")
@ledger_option
@json_option
def delete(invocation: Invocation, job_id: str, yes: bool, keep_files: bool, ledger: str | None) -> Exit:
    """Forget a job and remove its files; says which, and asks before. An unfinished job is canceled."""
    from fhirferry.cli.lines import DeletedJobLine
    from fhirferry.cli.opening import ledger_address, open_exporter, pick

    console = invocation.console
    with open_exporter(ledger_address(invocation, ledger), invocation=invocation) as exporter:
        record = pick(exporter, job_id)
        job = exporter.job(record.id)
        files = [] if keep_files else list(job.files())
        if not yes and not _agreed(invocation, record, files, keep_files):
            console.say("Nothing was deleted.")
            return Exit.FAILED
        job.delete(keep_files=keep_files)
        problems: list[str] = []
        exporter.worker(log=problems.append).clean_up(record.id)
    if problems:
        console.error(f"Job {record.id} is deleted, but its files could not be removed. {problems[0]}")
        return Exit.FAILED
    console.line(DeletedJobLine(job=record.id, files=[file.name or file.part for file in files]))
    gone = (
        ", its files stay" if keep_files else f", with {counted(len(files), 'file')}" if files else "; it had no files"
    )
    console.text(f"Job {record.id} is deleted{gone}.")
    return Exit.COMPLETE


@define("prune", example="fhirferry jobs prune --older-than 30d")
@option("--older-than", type=DURATION, required=True, metavar="DURATION", help="Since the job ended: 30d, 12h.")
@ledger_option
@json_option
def prune(invocation: Invocation, older_than: float, ledger: str | None) -> Exit:
    """Forget finished jobs that ended long ago; no file is touched."""
    from fhirferry.cli.lines import PrunedJobLine
    from fhirferry.cli.opening import ledger_address, open_exporter
    from fhirferry.model.instant import SECOND

    with open_exporter(ledger_address(invocation, ledger), invocation=invocation) as exporter:
        ids = exporter.prune(invocation.clock() - int(older_than * SECOND))
    for job_id in ids:
        invocation.console.line(PrunedJobLine(job=job_id))
        invocation.console.text(job_id)
    invocation.console.say(f"{counted(len(ids), 'job')} forgotten.")
    return Exit.COMPLETE


def _agreed(invocation: Invocation, record: ExportJobRecord, files: list[OutputFile], keep_files: bool) -> bool:
    from fhirferry.cli.opening import short_place
    from fhirferry.cli.tables import terminal_width
    from fhirferry.cli.texts_jobs import file_table, state

    place = short_place(record.destination_uri)
    what = "its files stay" if keep_files else f"these go from {place}" if files else f"it has no files in {place}"
    invocation.console.error(f"Job {record.id} is {state(record, invocation.clock())}; {what}.")
    if files:
        invocation.console.error(file_table(files, terminal_width()))
    if not _can_ask():
        raise click.UsageError("Nobody can be asked here; repeat with --yes to delete.")
    return click.confirm("Delete it?", err=True)


def _can_ask() -> bool:
    return sys.stdin.isatty()
