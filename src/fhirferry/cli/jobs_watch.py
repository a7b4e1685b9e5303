"""`fhirferry jobs watch` and `wait`."""

from __future__ import annotations

import time

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.jobs_read import id_argument, ledger_option
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import DURATION


@define("watch", example="fhirferry jobs watch\nfhirferry jobs watch 3f9a --interval 5s")
@click.argument("job_id", metavar="[ID]", required=False)
@option("--interval", type=DURATION, default="1s", show_default=True, metavar="DURATION", help="Between two looks.")
@ledger_option
@json_option
def watch(invocation: Invocation, job_id: str | None, interval: float, ledger: str | None) -> Exit:
    """Follow one job, or all, until none is unfinished; prints what changed since the last look.

    With an ID it ends as `jobs wait` does.
    """
    from fhirferry.cli.lines import JobLine
    from fhirferry.cli.opening import ledger_address, open_exporter, pick
    from fhirferry.cli.progress import Progress
    from fhirferry.cli.running import exit_of
    from fhirferry.cli.texts_jobs import watched
    from fhirferry.cli.view import more

    console = invocation.console
    told: dict[str, str] = {}
    progress = Progress(console, invocation.clock, here=False)
    # Where bars show how far it is, and with -q, a text only says what became of a job. Lines for programs say all.
    brief = not console.json and (console.quiet or console.drawing)
    with open_exporter(ledger_address(invocation, ledger)) as exporter:
        only = pick(exporter, job_id).id if job_id else None
        following = {only} if only else set()
        while True:
            unfinished = [record for record in exporter.jobs(unfinished=True) if only in (None, record.id)]
            # What was unfinished at the last look and is not now ended meanwhile, or was deleted.
            gone = following - {record.id for record in unfinished}
            ended = [record for record in exporter.jobs() if record.id in gone] if gone else []
            following = {record.id for record in unfinished}
            for record in [*ended, *unfinished]:
                progress(record)
                now = invocation.clock()
                text = watched(record, now)
                news = str(record.status) if brief else text
                if told.get(record.id) != news:
                    told[record.id] = news
                    console.line(JobLine.of(record))
                    console.text(", ".join([text, *more(progress.of(record.id, now))]))
            if only and gone:
                return exit_of(ended[0]) if ended else Exit.FAILED
            if console.closed or not unfinished:
                return Exit.COMPLETE
            time.sleep(interval)


@define("wait", example="fhirferry jobs wait 3f9a --timeout 2h")
@id_argument
@option("--timeout", type=DURATION, metavar="DURATION", help="Wait no longer; then the exit code is 6.")
@ledger_option
@json_option
def wait(invocation: Invocation, job_id: str, timeout: float | None, ledger: str | None) -> Exit:
    """Wait until a job is completed, failed or canceled.

    Ends with 0 when it completed, 3 with issues, 1 when it failed or was canceled, 6 when it is not finished.
    """
    from fhirferry.cli.lines import JobLine
    from fhirferry.cli.opening import ledger_address, ledger_to_type, open_exporter, pick
    from fhirferry.cli.resuming import command_for
    from fhirferry.cli.running import exit_of
    from fhirferry.cli.texts_jobs import advice, watched

    with open_exporter(ledger_address(invocation, ledger)) as exporter:
        record = exporter.job(pick(exporter, job_id).id).wait(timeout)
    now = invocation.clock()
    invocation.console.line(JobLine.of(record))
    invocation.console.text(watched(record, now))
    code = exit_of(record)
    typed = ledger_to_type(invocation, ledger)
    text = advice(record, now, command_for(record, typed), typed) if code is not Exit.COMPLETE else None
    if text:
        invocation.console.say(text)
    return code
