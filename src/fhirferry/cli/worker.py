"""`fhirferry worker`: acquire and run the ledger's jobs until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import COUNT, DATABASE, DURATION, EXECUTOR, EXECUTOR_DEFAULT

if TYPE_CHECKING:
    from fhirferry.model.job import ExportJobRecord

EXAMPLE = """
fhirferry worker --until-idle
fhirferry worker --max-jobs 2 --executor processes:4
"""
STOPPING = "Giving the running jobs back at their next commit point; a second signal ends the process at once."


@define("worker", example=EXAMPLE)
@option("--ledger", type=DATABASE, metavar="URL", help="Ledger of jobs; without it the default ledger.")
@option("--max-jobs", type=COUNT, default="1", show_default=True, metavar="N", help="So many jobs at once.")
@option("--executor", type=EXECUTOR, default=EXECUTOR_DEFAULT, show_default=True, metavar="KIND",
        help="inline, threads:N or processes:N.")  # fmt: skip
@option("--until-idle", is_flag=True, help="End when no job waits and none runs here.")
@option(
    "--poll", type=DURATION, default="1s", show_default=True, metavar="DURATION", help="Between looks at the ledger."
)
@json_option
def command(
    invocation: Invocation, ledger: str | None, max_jobs: int, executor: str, until_idle: bool, poll: float
) -> Exit:
    """Run queued jobs and clean-up; take over jobs whose worker died.

    The first SIGTERM or Ctrl-C gives running jobs back. Ends with 1 when a job failed here, 3 when one completed with
    issues, 6 when one was given back.
    """
    from fhirferry.cli.interrupts import stop_on_signal
    from fhirferry.cli.lines import JobLine
    from fhirferry.cli.opening import ledger_address, ledger_to_make, open_exporter
    from fhirferry.cli.progress import Progress
    from fhirferry.cli.running import exit_of
    from fhirferry.cli.texts_jobs import milestone

    console = invocation.console

    def changed(record: ExportJobRecord) -> None:
        console.line(JobLine.of(record))
        console.text(milestone(record))

    # One that was named must be there: a worker on a mistyped one would wait for ever.
    address = ledger_address(invocation, ledger) if ledger else ledger_to_make(invocation, None)
    if not ledger:
        invocation.settings.make_home()
    with open_exporter(address, invocation=invocation, executor=executor, poll=poll) as exporter:
        progress = Progress(console, invocation.clock, named=True, changed=changed)
        with stop_on_signal(console, STOPPING) as stop:
            worker = exporter.worker(
                max_jobs=max_jobs, stop=stop, log=console.say, on_progress=progress, on_page=progress.page
            )
            worker.run(until_idle=until_idle)
    console.end_progress()
    if not progress.last:
        console.say("No job waited.")
    codes = {exit_of(record) for record in progress.last.values()}
    return next((code for code in (Exit.FAILED, Exit.STOPPED, Exit.WITH_ISSUES) if code in codes), Exit.COMPLETE)
