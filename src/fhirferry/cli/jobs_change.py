"""`fhirferry jobs resume`, `retry` and `cancel`."""

from __future__ import annotations

from fhirferry.cli.exits import Exit
from fhirferry.cli.jobs_read import id_argument, ledger_option
from fhirferry.cli.options import Invocation, define, json_option


@define("resume", example="fhirferry jobs resume 3f9a\nfhirferry worker --until-idle")
@id_argument
@ledger_option
@json_option
def resume(invocation: Invocation, job_id: str, ledger: str | None) -> Exit:
    """Queue a job that failed, or waits for its next try, again; what is committed stays.

    Says how to run it: by a worker, or here with its export command.
    """
    return _queue_again(invocation, job_id, ledger)


@define("retry", example="fhirferry jobs retry 3f9a\nfhirferry worker --until-idle")
@id_argument
@ledger_option
@json_option
def retry(invocation: Invocation, job_id: str, ledger: str | None) -> Exit:
    """The same as `jobs resume`, by the name that one looks for when a job has failed."""
    return _queue_again(invocation, job_id, ledger)


@define("cancel", example="fhirferry jobs cancel 3f9a")
@id_argument
@ledger_option
@json_option
def cancel(invocation: Invocation, job_id: str, ledger: str | None) -> Exit:
    """Cancel an unfinished job, whoever works on it, and remove its files."""
    from fhirferry.cli.lines import JobLine
    from fhirferry.cli.opening import ledger_address, open_exporter, pick

    with open_exporter(ledger_address(invocation, ledger)) as exporter:
        job = exporter.job(pick(exporter, job_id).id)
        record = job.cancel()
        problems: list[str] = []
        exporter.worker(log=problems.append).clean_up(job.id)
    invocation.console.line(JobLine.of(record))
    if problems:
        invocation.console.error(f"Job {record.id} is canceled, but its files could not be removed. {problems[0]}")
        return Exit.FAILED
    invocation.console.text(f"Job {record.id} is canceled, its files are removed.")
    return Exit.COMPLETE


def _queue_again(invocation: Invocation, job_id: str, ledger: str | None) -> Exit:
    from fhirferry.cli.lines import JobLine
    from fhirferry.cli.opening import ledger_address, ledger_to_type, open_exporter, pick
    from fhirferry.cli.resuming import command_for
    from fhirferry.cli.texts_jobs import advice
    from fhirferry.model.job import JobStatus

    with open_exporter(ledger_address(invocation, ledger)) as exporter:
        record = pick(exporter, job_id)
        # A queued job is where the command would bring it: typing it twice is no mistake.
        if record.status is not JobStatus.QUEUED:
            record = exporter.job(record.id).resume()
    invocation.console.line(JobLine.of(record))
    invocation.console.text(f"Job {record.id} is queued; {record.progress} % of it is committed.")
    typed = ledger_to_type(invocation, ledger)
    invocation.console.say(advice(record, invocation.clock(), command_for(record, typed), typed) or "")
    return Exit.COMPLETE
