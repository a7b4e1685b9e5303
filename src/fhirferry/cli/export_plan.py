"""`fhirferry export --dry-run`: what would be exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirferry.cli.exits import Exit
from fhirferry.cli.lines import PlanLine, instant
from fhirferry.cli.texts_export import plan_page

if TYPE_CHECKING:
    from fhirferry.cli.export_request import Asked
    from fhirferry.cli.options import Invocation
    from fhirferry.exporter import Exporter


def show_plan(invocation: Invocation, exporter: Exporter, asked: Asked) -> Exit:
    """Makes no job and no file."""
    request, way = asked.request, asked.way
    plan = exporter.plan(request, **way)
    unfinished = exporter.find(request, **way)
    # The folder is claimed by the very job that the command would resume: that is no reason to refuse it.
    problem = plan.problem if unfinished is None else None
    invocation.console.line(
        PlanLine(
            level=request.level,
            group=request.group_id,
            patients=plan.patients,
            absent_patients=plan.absent,
            since=instant(request.since),
            continues=way.get("continues"),
            source=way["source"],
            destination=way["destination"],
            layout=way["layout"],
            resources=plan.resources,
            bytes=plan.bytes,
            at_most=plan.at_most,
            and_more=plan.and_more,
            by_type={name: {"resources": t.resources, "bytes": t.bytes} for name, t in sorted(plan.totals.items())},
            notes=plan.notes,
            free_bytes=plan.free_bytes,
            problem=problem,
            unfinished_job=unfinished.id if unfinished else None,
        )
    )
    invocation.console.text(
        plan_page(plan, way["destination"], way["layout"], problem, unfinished.id if unfinished else None)
    )
    return Exit.USAGE if problem else Exit.COMPLETE
