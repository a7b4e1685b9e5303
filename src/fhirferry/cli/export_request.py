"""From the options of `export` to the request and the way that the front door is asked with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fhirferry.cli.values import LAST, NONE
from fhirferry.exporting.kickoff import Way
from fhirferry.model.errors import RequestError
from fhirferry.model.job import JobSettings
from fhirferry.model.request import ExportRequest

if TYPE_CHECKING:
    from fhirferry.cli.options import Invocation
    from fhirferry.exporter import Exporter
    from fhirferry.exporting.patient_list import PatientList


def refuse_combinations(ctx: click.Context, options: dict[str, Any]) -> None:
    """What contradicts each other in the words of the command line; UsageError."""
    whom = any(options[name] not in (None, ()) for name in ("group", "patients", "patients_from"))
    for wrong, says in (
        (
            options["detach"] and options["dry_run"],
            "--detach queues a job, --dry-run makes none; give one of them.",
        ),
        (
            options["detach"] and ctx.get_parameter_source("executor") is click.core.ParameterSource.COMMANDLINE,
            "--executor belongs to the worker that will run the detached job.",
        ),
        (
            options["all_patients"] and whom,
            "--all-patients means all of them, --group, --patient and --patients-from only some; give the one or the "
            "others.",
        ),
        (
            options["organize_output_by"] and not (whom or options["all_patients"]),
            "--organize-output-by Patient needs patients: --all-patients, --group, --patient or --patients-from.",
        ),
        (
            (options["new_members"] or options["left_members"] != "keep") and options["since"] is None,
            "--new-members and --left-members tell of those who joined or left since then; they need --since.",
        ),
        (
            (options["new_members"] == "full" or options["left_members"] != "keep") and not whom,
            "--new-members and --left-members need a cohort: --group, --patient or --patients-from.",
        ),
        (
            options["reference_depth"] > 1 and not (whom or options["all_patients"] or options["include_referenced"]),
            "--reference-depth needs references to follow: --include-referenced.",
        ),
        (
            options["reference_depth"] > 1 and _listed(options, "include_referenced") == (NONE,),
            "--include-referenced none follows no reference; leave --reference-depth out.",
        ),
        (
            NONE in _listed(options, "include_referenced") and _listed(options, "include_referenced") != (NONE,),
            "--include-referenced is none, or names types; not both.",
        ),
    ):
        if wrong:
            raise click.UsageError(says, ctx)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """request: `since` and what depends on it are yet to come where `last` is set. new_members, left_members: as typed."""

    request: ExportRequest
    way: Way
    settings: JobSettings
    last: bool
    new_members: str | None
    left_members: str

    @classmethod
    def of(cls, options: dict[str, Any], source: str, destination: str) -> Asked:
        """Reads the list of patients. RequestError."""
        named = _patients(options)
        last = options["since"] == LAST
        settings = _settings(options)
        return cls(
            request=_request(options, named, last),
            way=Way(
                source=source,
                destination=destination,
                settings=settings,
                layout=options["layout"],
                patients=named if named is not None and "patients" not in _fields(named) else None,
            ),
            settings=settings,
            last=last,
            new_members=options["new_members"],
            left_members=options["left_members"],
        )

    def settled(self, invocation: Invocation | None, exporter: Exporter) -> Asked:
        """With the instant that `--since last` means in this ledger, and says so to whoever asks."""
        if not self.last:
            return self
        from fhirferry.cli.texts_export import goes_on

        request, before = exporter.since_last(
            self.request, new_members=self.new_members, left_members=self.left_members, **self.way
        )
        if invocation is not None:
            invocation.console.say(goes_on(before))
        way = self.way if before is None else Way(**{**self.way, "continues": before.id})
        return msgspec.structs.replace(self, request=request, way=way)

    def check(self, exporter: Exporter) -> None:
        """What would be refused is refused."""
        exporter.check(self.request, **self.way)


def _request(options: dict[str, Any], named: PatientList | None, last: bool) -> ExportRequest:
    whom = options["all_patients"] or named is not None
    referenced = _listed(options, "include_referenced")
    later = {} if last else {"since": options["since"], "left_members": options["left_members"]}
    if options["new_members"] and not last:
        later["new_members"] = options["new_members"]
    return ExportRequest(
        level="group" if options["group"] is not None else "patient" if whom else "system",
        group_id=options["group"],
        types=_listed(options, "types") or None,
        until=options["until"],
        type_filters=options["type_filters"],
        elements=_listed(options, "elements"),
        include_associated_data=_listed(options, "include_associated_data"),
        include_referenced=None if not referenced else () if referenced == (NONE,) else referenced,
        reference_depth=options["reference_depth"],
        organize_output_by=options["organize_output_by"],
        handling="lenient" if options["lenient"] else "strict",
        **(_fields(named) if named is not None else {}),
        **later,
    )


def _settings(options: dict[str, Any]) -> JobSettings:
    return JobSettings(
        page_resources=options["page_size"],
        max_file_size=options["max_file_size"],
        min_file_size=options["min_file_size"] or 0,
        pages_per_commit=options["pages_per_commit"],
        seconds_per_commit=options["seconds_per_commit"],
        compression=options["compress"],
        limit_rate=options["limit_rate"],
        heartbeat_timeout=options["heartbeat_timeout"],
        check=options["check"],
    )


def _patients(options: dict[str, Any]) -> PatientList | None:
    if not options["patients"] and options["patients_from"] is None:
        return None
    from itertools import chain

    from fhirferry.cli.patients_file import patients_from
    from fhirferry.exporting.patient_list import PatientList

    listed = patients_from(options["patients_from"]) if options["patients_from"] is not None else ()
    return PatientList(chain(options["patients"], listed))


def _fields(named: PatientList) -> dict[str, Any]:
    return {name: value for name, value in named.fields().items() if value is not None}


_OPTIONS = {"types": "--type", "elements": "--elements", "include_referenced": "--include-referenced",
            "include_associated_data": "--include-associated-data"}  # fmt: skip


def _listed(options: dict[str, Any], name: str) -> tuple[str, ...]:
    """All that was listed; empty where the option was not given. RequestError where it was, and lists nothing: who names
    no type or element does not mean all of them (L1)."""
    given: Sequence[Sequence[str]] = options[name]
    listed = tuple(each for some in given for each in some)
    if given and not listed:
        what = name.replace("_", " ")
        raise RequestError(f"{_OPTIONS[name]}: an empty list of {what}; name some, or leave the option out")
    return listed
