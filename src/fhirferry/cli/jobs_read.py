"""`fhirferry jobs list` and `show`."""

from __future__ import annotations

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import DATABASE

ledger_option = option("--ledger", type=DATABASE, metavar="URL", help="Ledger of jobs; without it the default ledger.")
id_argument = click.argument("job_id", metavar="ID")


@define("list", example="fhirferry jobs list\nfhirferry jobs list --unfinished --json")
@option("--unfinished", is_flag=True, help="Leave out completed, failed and canceled jobs.")
@ledger_option
@json_option
def list_jobs(invocation: Invocation, unfinished: bool, ledger: str | None) -> Exit:
    """List the jobs, oldest first, and how long the oldest queued one waits."""
    from fhirferry.cli import tables
    from fhirferry.cli.lines import JobLine
    from fhirferry.cli.opening import ledger_address, ledger_to_type, open_exporter
    from fhirferry.cli.texts_jobs import interruptions, job_table, queue

    address = ledger_address(invocation, ledger)
    with open_exporter(address) as exporter:
        records = exporter.jobs(unfinished=unfinished)
    now = invocation.clock()
    for record in records:
        invocation.console.line(JobLine.of(record))
    if records:
        invocation.console.text(job_table(records, now, tables.terminal_width()))
    elif address:
        invocation.console.say("No unfinished jobs." if unfinished else "No jobs.")
    typed = ledger_to_type(invocation, ledger)
    notes = [note for note in (interruptions(records, now, typed), queue(records, now, typed)) if note]
    if notes:
        invocation.console.text("\n" + "\n".join(notes))
    return Exit.COMPLETE


@define("show", example="fhirferry jobs show 3f9a")
@id_argument
@ledger_option
@json_option
def show(invocation: Invocation, job_id: str, ledger: str | None) -> Exit:
    """Show everything about a job, its files, and what to do about a failure."""
    from fhirferry.cli import tables
    from fhirferry.cli.lines import FileLine, JobLine
    from fhirferry.cli.opening import ledger_address, ledger_to_type, open_exporter, pick
    from fhirferry.cli.resuming import command_for
    from fhirferry.cli.texts_jobs import file_table, job_page

    with open_exporter(ledger_address(invocation, ledger)) as exporter:
        record = pick(exporter, job_id)
        files = exporter.job(record.id).files()
    invocation.console.line(JobLine.of(record))
    for file in files:
        invocation.console.line(FileLine.of(record.id, file))
    typed = ledger_to_type(invocation, ledger)
    invocation.console.text(job_page(record, invocation.clock(), command_for(record, typed), typed))
    if files:
        invocation.console.text("\n" + file_table(files, tables.terminal_width()))
    return Exit.COMPLETE
