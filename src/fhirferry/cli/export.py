"""`fhirferry export`: make the job, or find the unfinished one of the same command, and run it here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import (
    COUNT,
    DATA,
    DATABASE,
    DESTINATION,
    DURATION,
    ELEMENTS,
    EXECUTOR,
    EXECUTOR_DEFAULT,
    GROUP,
    LAYOUT,
    PATIENT,
    SINCE,
    SIZE,
    TYPES,
    UNTIL,
)

if TYPE_CHECKING:  # msgspec and the engine: `--help` does not need them
    from fhirferry.cli.export_request import Asked
    from fhirferry.exporter import Exporter, ExportJob

WHOM, WHAT, WHEN, FILES, RUN = "Whom", "What", "Since when", "Files", "How"
EXAMPLE = """
fhirferry export --to out
fhirferry export --to changes --since 2026-11-22T08:30:00Z --type Patient,Observation
fhirferry export --to vitals --type Observation --type-filter 'Observation?category=vital-signs' --elements code,value
fhirferry export --to weekly --all-patients --since last --layout '<timestamp>'
fhirferry export --to some --patient 1 --patient Patient/2
fhirferry export --to elsewhere --dry-run
"""


@define("export", example=EXAMPLE)
@option("--from", "source", type=DATABASE, metavar="URL", help="Store to read; without it the default store.")
@option("--to", "destination", type=DESTINATION, metavar="URL", required=True, help="Folder or bucket for the files.")
@option("--account", metavar="NAME", help="Azure's storage account of --to az://CONTAINER/PREFIX.")
@option("--all-patients", is_flag=True, section=WHOM, help="What belongs to patients; without any of these everything.")
@option("--group", type=GROUP, metavar="ID", section=WHOM, help="What belongs to the members of this Group.")
@option("--patient", "patients", type=PATIENT, multiple=True, metavar="ID", section=WHOM,
        help="What belongs to this patient; repeated, and of --group only these members.")  # fmt: skip
@option("--patients-from", metavar="FILE", section=WHOM, help="The same for ids from a file, one a line; - is stdin.")
@option("--type", "types", type=TYPES, multiple=True, metavar="TYPE", section=WHAT,
        help="Only these types: A,B or repeated.")  # fmt: skip
@option("--type-filter", "type_filters", multiple=True, metavar="FILTER", section=WHAT,
        help="Only resources that match: Type?name=value; repeated: any of them.")  # fmt: skip
@option("--elements", type=ELEMENTS, multiple=True, metavar="ELEMENT", section=WHAT,
        help="Only these parts: A,B or repeated.")  # fmt: skip
@option("--include-associated-data", type=DATA, multiple=True, metavar="NAME", section=WHAT,
        help="LatestProvenanceResources, RelevantProvenanceResources, _deleted, _history: A,B or repeated.")  # fmt: skip
@option("--include-referenced", type=TYPES, multiple=True, metavar="TYPE", section=WHAT,
        help="Bring what is referred to, of these types; none: nothing. Without it what is usual for patients.")  # fmt: skip
@option("--reference-depth", type=COUNT, default="1", show_default=True, metavar="N", section=WHAT,
        help="Follow references over so many steps.")  # fmt: skip
@option("--lenient", is_flag=True, section=WHAT,
        help="Pass over elements that do not exist, and say so in the error file.")  # fmt: skip
@option("--since", type=SINCE, metavar="INSTANT", section=WHEN,
        help="Only what changed after it, and what was deleted; last: after the last such export.")  # fmt: skip
@option("--until", type=UNTIL, metavar="INSTANT", section=WHEN, help="Only what changed before it.")
@option("--new-members", type=click.Choice(["full", "since"]), section=WHEN,
        help="Of patients who joined since then: all, or what changed. With --since last: full.")  # fmt: skip
@option("--left-members", type=click.Choice(["keep", "delete"]), default="keep", show_default=True, section=WHEN,
        help="Of patients who left since then: say nothing, or list theirs as deleted.")  # fmt: skip
@option("--layout", type=LAYOUT, metavar="TEMPLATE", default="", section=FILES,
        help="Folders below --to, with <timestamp>, <id> and <resourcename>.")  # fmt: skip
@option("--organize-output-by", type=click.Choice(["Patient"]), section=FILES, help="Files in blocks, one a patient.")
@option("--max-file-size", type=SIZE, default="256MB", show_default=True, metavar="SIZE", section=FILES,
        help="Uncompressed.")  # fmt: skip
@option("--min-file-size", type=SIZE, metavar="SIZE", section=FILES, help="Uncompressed; met where there is enough.")
@option("--compress", type=click.Choice(["none", "gzip"]), default="none", show_default=True, section=FILES,
        help="Files as .gz.")  # fmt: skip
@option("--limit-rate", type=SIZE, metavar="SIZE", section=RUN, help="At most so many bytes a second, like 50MB.")
@option("--ledger", type=DATABASE, metavar="URL", section=RUN, help="Ledger of jobs; without it the default ledger.")
@option("--executor", type=EXECUTOR, default=EXECUTOR_DEFAULT, show_default=True, metavar="KIND", section=RUN,
        help="inline, threads:N or processes:N.")  # fmt: skip
@option("--heartbeat-timeout", type=DURATION, default="60s", show_default=True, metavar="DURATION", section=RUN,
        help="Silence after which another worker may take over.")  # fmt: skip
@option("--check", is_flag=True, section=RUN, help="Also parse every resource while exporting.")
@option("--new", is_flag=True, section=RUN, help="Start another job even if one of the same command is unfinished.")
@option("--detach", is_flag=True, section=RUN, help="Only queue the job; a worker runs it.")
@option("--dry-run", is_flag=True, section=RUN, help="Show what would be exported; write nothing.")
@option("--page-size", type=COUNT, default="1000", hidden=True, help="Resources in a page.")
@option("--pages-per-commit", type=COUNT, hidden=True, help="Close files after so many pages.")
@option("--seconds-per-commit", type=DURATION, default="60s", hidden=True, help="Close files after so long.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    invocation: Invocation,
    source: str | None,
    destination: str,
    account: str | None,
    **options: Any,
) -> Exit:
    """Export a store, as it is now, into a folder of NDJSON files, or a bucket.

    The same command while its job is unfinished resumes that job. Ctrl-C stops at a commit point.
    """
    from fhirferry.cli.export_request import Asked, refuse_combinations
    from fhirferry.cli.opening import destination_address, ledger_to_make, ledger_to_type, open_exporter, store_address
    from fhirferry.settings import keep_apart, place_of

    refuse_combinations(ctx, options)
    store = store_address(invocation, source)
    ledger = ledger_to_make(invocation, options["ledger"])
    destination = destination_address(destination, account)
    keep_apart(destination, store, ledger)
    asked = Asked.of(options, store, destination)
    there = os.path.exists(place_of(ledger))  # noqa: PTH110 - see settings
    if options["dry_run"] or not there:
        with open_exporter(ledger if there else None, invocation=invocation) as exporter:
            if options["dry_run"]:
                from fhirferry.cli.export_plan import show_plan

                return show_plan(invocation, exporter, asked.settled(invocation, exporter))
            # A command that is refused leaves no empty ledger behind, and no home. Said is what is found below.
            asked.settled(None, exporter).check(exporter)
    if not options["ledger"]:
        invocation.settings.make_home()
    typed = ledger_to_type(invocation, options["ledger"])
    with open_exporter(ledger, invocation=invocation, executor=options["executor"], poll=0.2) as exporter:
        asked = asked.settled(invocation, exporter)
        job, resumed = _find_or_start(invocation, exporter, asked, options["new"], typed)
        if options["detach"]:
            return _detached(invocation, job, typed)
        from fhirferry.cli.running import run_here

        return run_here(invocation, exporter, job, resumed, ledger=typed, executor=options["executor"])


def _find_or_start(
    invocation: Invocation, exporter: Exporter, asked: Asked, new: bool, ledger: str | None
) -> tuple[ExportJob, bool]:
    """The job, and whether it was there before."""
    from fhirferry.model.errors import FolderInUse

    try:
        if new:
            return exporter.start(asked.request, **asked.way), False
        job, resumed = exporter.find_or_start(asked.request, **asked.way)
    except FolderInUse as error:
        from fhirferry.cli.resuming import on_ledger

        known = invocation.destinations.named if invocation.destinations is not None else {}
        typed = asked.way["destination"]
        destination = known[typed].url if typed in known else typed
        failed = [r for r in exporter.jobs() if r.destination_uri == destination and r.status == "failed"]
        if failed:
            retry = on_ledger(f"fhirferry jobs retry {failed[-1].id}", ledger)
            more = f"; job {failed[-1].id} failed there; to go on with it: {retry}"
        elif asked.last and not asked.way["layout"]:
            more = "; to give each run of a chain its own folder there: --layout '<timestamp>'"
        else:
            raise
        raise FolderInUse(error.message + more) from error
    if resumed:
        from fhirferry.cli.resuming import refuse_other_settings
        from fhirferry.cli.texts_export import found

        record = job.status()
        refuse_other_settings(record, asked.settings, ledger)
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
