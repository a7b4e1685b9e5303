"""`fhirferry export`: make the job, or find the unfinished one of the same command, and run it here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import (
    COUNT,
    DATABASE,
    DURATION,
    ELEMENTS,
    EXECUTOR,
    EXECUTOR_DEFAULT,
    FOLDER,
    SINCE,
    SIZE,
    TYPES,
    UNTIL,
)

if TYPE_CHECKING:  # msgspec and the engine: `--help` does not need them
    from fhirferry.exporter import Exporter, ExportJob
    from fhirferry.model.job import JobSettings
    from fhirferry.model.request import ExportRequest

EXAMPLE = """
fhirferry export --to out
fhirferry export --to changes --since 2026-11-22T08:30:00Z --type Patient,Observation
fhirferry export --to vitals --type Observation --type-filter 'Observation?category=vital-signs' --elements code,value
fhirferry export --to elsewhere --dry-run
"""


@define("export", example=EXAMPLE)
@option("--from", "source", type=DATABASE, metavar="URL", help="Store to read; without it the default store.")
@option("--to", "destination", type=FOLDER, metavar="URL", required=True, help="Folder that receives the files.")
@option("--type", "types", type=TYPES, multiple=True, metavar="TYPE", help="Only these types: A,B or repeated.")
@option("--type-filter", "type_filters", multiple=True, metavar="FILTER",
        help="Only resources that match: Type?name=value; repeated: any of them.")  # fmt: skip
@option("--elements", type=ELEMENTS, multiple=True, metavar="ELEMENT", help="Only these parts: A,B or repeated.")
@option("--lenient", is_flag=True, help="Pass over elements that do not exist, and say so in the error file.")
@option("--since", type=SINCE, metavar="INSTANT", help="Only what changed after it, and what was deleted.")
@option("--until", type=UNTIL, metavar="INSTANT", help="Only what changed before it.")
@option("--max-file-size", type=SIZE, default="256MB", show_default=True, metavar="SIZE", help="Uncompressed.")
@option("--compress", type=click.Choice(["none", "gzip"]), default="none", show_default=True, help="Files as .gz.")
@option("--limit-rate", type=SIZE, metavar="SIZE", help="At most so many bytes a second, like 50MB.")
@option("--ledger", type=DATABASE, metavar="URL", help="Ledger of jobs; without it the default ledger.")
@option("--executor", type=EXECUTOR, default=EXECUTOR_DEFAULT, show_default=True, metavar="KIND",
        help="inline, threads:N or processes:N.")  # fmt: skip
@option("--heartbeat-timeout", type=DURATION, default="60s", show_default=True, metavar="DURATION",
        help="Silence after which another worker may take over.")  # fmt: skip
@option("--check", is_flag=True, help="Also parse every resource while exporting.")
@option("--new", is_flag=True, help="Start another job even if one of the same command is unfinished.")
@option("--detach", is_flag=True, help="Only queue the job; a worker runs it.")
@option("--dry-run", is_flag=True, help="Show what would be exported; write nothing.")
@option("--page-size", type=COUNT, default="1000", hidden=True, help="Resources in a page.")
@option("--pages-per-commit", type=COUNT, hidden=True, help="Close files after so many pages.")
@option("--seconds-per-commit", type=DURATION, default="60s", hidden=True, help="Close files after so long.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, invocation: Invocation, source: str | None, destination: str, **options: Any
) -> Exit:
    """Export a store, as it is now, into a folder of NDJSON files.

    The same command while its job is unfinished resumes that job. Ctrl-C stops at a commit point.
    """
    from fhirferry.cli.opening import ledger_to_make, ledger_to_type, open_exporter, store_address
    from fhirferry.settings import keep_apart, place_of

    _refuse_combinations(ctx, options)
    store = store_address(invocation, source)
    ledger = ledger_to_make(invocation, options["ledger"])
    keep_apart(destination, store, ledger)
    request, settings = _request(options), _settings(options)
    there = os.path.exists(place_of(ledger))  # noqa: PTH110 - see settings
    if options["dry_run"] or not there:
        with open_exporter(ledger if there else None) as exporter:
            if options["dry_run"]:
                return _plan(invocation, exporter, request, store, destination)
            # A command that is refused leaves no empty ledger behind, and no home.
            exporter.check(request, source=store, destination=destination)
    if not options["ledger"]:
        invocation.settings.make_home()
    typed = ledger_to_type(invocation, options["ledger"])
    with open_exporter(ledger, executor=options["executor"], poll=0.2) as exporter:
        job, resumed = _find_or_start(
            invocation, exporter, request, settings, store, destination, options["new"], typed
        )
        if options["detach"]:
            return _detached(invocation, job, typed)
        from fhirferry.cli.running import run_here

        return run_here(invocation, exporter, job, resumed, ledger=typed, executor=options["executor"])


def _refuse_combinations(ctx: click.Context, options: dict[str, Any]) -> None:
    if options["detach"] and options["dry_run"]:
        raise click.UsageError("--detach queues a job, --dry-run makes none; give one of them.", ctx)
    typed = ctx.get_parameter_source("executor") is click.core.ParameterSource.COMMANDLINE
    if options["detach"] and typed:
        raise click.UsageError("--executor belongs to the worker that will run the detached job.", ctx)


def _request(options: dict[str, Any]) -> ExportRequest:
    from fhirferry.model.request import ExportRequest

    return ExportRequest(
        types=tuple(name for names in options["types"] for name in names) if options["types"] else None,
        since=options["since"],
        until=options["until"],
        type_filters=options["type_filters"],
        elements=tuple(name for names in options["elements"] for name in names),
        handling="lenient" if options["lenient"] else "strict",
    )


def _settings(options: dict[str, Any]) -> JobSettings:
    from fhirferry.model.job import JobSettings

    return JobSettings(
        page_resources=options["page_size"],
        max_file_size=options["max_file_size"],
        pages_per_commit=options["pages_per_commit"],
        seconds_per_commit=options["seconds_per_commit"],
        compression=options["compress"],
        limit_rate=options["limit_rate"],
        heartbeat_timeout=options["heartbeat_timeout"],
        check=options["check"],
    )


def _find_or_start(
    invocation: Invocation,
    exporter: Exporter,
    request: ExportRequest,
    settings: JobSettings,
    store: str,
    destination: str,
    new: bool,
    ledger: str | None,
) -> tuple[ExportJob, bool]:
    """The job, and whether it was there before."""
    from fhirferry.model.errors import FolderInUse

    way = {"source": store, "destination": destination}
    try:
        if new:
            return exporter.start(request, **way, settings=settings), False
        job, resumed = exporter.find_or_start(request, **way, settings=settings)
    except FolderInUse as error:
        failed = [r for r in exporter.jobs() if r.destination_uri == destination and r.status == "failed"]
        if not failed:
            raise
        from fhirferry.cli.resuming import on_ledger

        retry = on_ledger(f"fhirferry jobs retry {failed[-1].id}", ledger)
        raise FolderInUse(f"{error.message}; job {failed[-1].id} failed there; to go on with it: {retry}") from error
    if resumed:
        from fhirferry.cli.resuming import refuse_other_settings
        from fhirferry.cli.texts_export import found

        record = job.status()
        refuse_other_settings(record, settings, ledger)
        invocation.console.say(found(record, invocation.clock()))
    return job, resumed


def _detached(invocation: Invocation, job: ExportJob, ledger: str | None) -> Exit:
    from fhirferry.cli.lines import JobLine
    from fhirferry.cli.resuming import on_ledger
    from fhirferry.model.job import JobStatus

    record = job.status()
    invocation.console.line(JobLine.of(record))
    show, worker = on_ledger(f"fhirferry jobs show {job.id}", ledger), on_ledger("fhirferry worker", ledger)
    if record.status is JobStatus.QUEUED:
        invocation.console.text(f"Job {job.id} waits for a worker. Start one: {worker}\nSee it: {show}")
    else:
        invocation.console.text(f"Job {job.id} is {record.status}. See it: {show}")
    return Exit.COMPLETE


def _plan(invocation: Invocation, exporter: Exporter, request: ExportRequest, store: str, destination: str) -> Exit:
    from fhirferry.cli.lines import PlanLine
    from fhirferry.cli.texts_export import plan_page

    plan = exporter.plan(request, source=store, destination=destination)
    unfinished = exporter.find(request, source=store, destination=destination)
    # The folder is claimed by the very job that the command would resume: that is no reason to refuse it.
    problem = plan.problem if unfinished is None else None
    invocation.console.line(
        PlanLine(
            source=store,
            destination=destination,
            resources=plan.resources,
            bytes=plan.bytes,
            at_most=plan.at_most,
            by_type={name: {"resources": t.resources, "bytes": t.bytes} for name, t in sorted(plan.totals.items())},
            free_bytes=plan.free_bytes,
            problem=problem,
            unfinished_job=unfinished.id if unfinished else None,
        )
    )
    invocation.console.text(plan_page(plan, destination, problem, unfinished.id if unfinished else None))
    return Exit.USAGE if problem else Exit.COMPLETE
