"""The command line that goes on with a job, made from its record; and what differs from the one that was typed."""

from __future__ import annotations

from fhirferry.cli.opening import short_place
from fhirferry.cli.values import EXECUTOR_DEFAULT, NONE
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import format_instant
from fhirferry.model.job import ExportJobRecord, JobSettings

SETTING_OPTIONS = {
    "max_file_size": "--max-file-size",
    "min_file_size": "--min-file-size",
    "compression": "--compress",
    "limit_rate": "--limit-rate",
    "heartbeat_timeout": "--heartbeat-timeout",
    "check": "--check",
    "page_resources": "--page-size",
    "pages_per_commit": "--pages-per-commit",
    "seconds_per_commit": "--seconds-per-commit",
}
"""Field of JobSettings -> the option of `export` that sets it."""


def given(settings: JobSettings) -> dict[str, str]:
    """The settings that differ from the defaults, as option and value; the value of a flag is empty."""
    default = JobSettings()
    return {
        option: _value(getattr(settings, field))
        for field, option in SETTING_OPTIONS.items()
        if getattr(settings, field) != getattr(default, field)
    }


def on_ledger(command: str, ledger: str | None) -> str:
    """The command with the ledger that it needs; None for the default one."""
    if ledger is None:
        return command
    import shlex  # only where a person is told what to type

    return f"{command} --ledger {shlex.quote(short_place(ledger))}"


def command_for(record: ExportJobRecord, ledger: str | None, executor: str = EXECUTOR_DEFAULT) -> str:
    """The command that finds this job again and runs it: its `export`, or a worker where that had a list of patients of
    which nobody knows the file. ledger: as it was typed, None for the default one."""
    import shlex  # only where a person is told what to type

    request = record.request
    if request.patient_list is not None:
        other = "" if executor == EXECUTOR_DEFAULT else f" --executor {executor}"
        return on_ledger(f"fhirferry worker --until-idle{other}", ledger)
    words = [
        "fhirferry",
        "export",
        "--from",
        short_place(record.source_uri),
        "--to",
        record.destination_name or short_place(record.destination_root or record.destination_uri),
    ]
    if request.group_id is not None:
        words += ["--group", request.group_id]
    elif request.level == "patient" and not request.has_list:
        words.append("--all-patients")
    for patient in request.patients or ():
        words += ["--patient", patient]
    if request.types is not None:
        words += ["--type", ",".join(request.types)]
    for text in request.type_filters:
        words += ["--type-filter", text]
    if request.elements:
        words += ["--elements", ",".join(request.elements)]
    if request.include_associated_data:
        words += ["--include-associated-data", ",".join(request.include_associated_data)]
    if request.include_referenced is not None:
        words += ["--include-referenced", ",".join(request.include_referenced) or NONE]
    if request.reference_depth != 1:
        words += ["--reference-depth", str(request.reference_depth)]
    if request.organize_output_by is not None:
        words += ["--organize-output-by", request.organize_output_by]
    if request.handling == "lenient":
        words.append("--lenient")
    if request.since is not None:
        words += ["--since", format_instant(request.since)]
    if request.until is not None:
        words += ["--until", format_instant(request.until)]
    if request.new_members != "since":
        words += ["--new-members", request.new_members]
    if request.left_members != "keep":
        words += ["--left-members", request.left_members]
    if record.layout:
        words += ["--layout", record.layout]
    for option, value in given(record.settings).items():
        words += [option, value] if value else [option]
    if executor != EXECUTOR_DEFAULT:
        words += ["--executor", executor]
    return on_ledger(shlex.join(words), ledger)


def refuse_other_settings(record: ExportJobRecord, typed: JobSettings, ledger: str | None) -> None:
    """A job keeps its settings: half its files would be cut one way, half another. RequestError says which differ."""
    differ = [
        f"{option} was {_said(getattr(record.settings, field))}, now {_said(getattr(typed, field))}"
        for field, option in SETTING_OPTIONS.items()
        if getattr(record.settings, field) != getattr(typed, field)
    ]
    if differ:
        delete = on_ledger(f"fhirferry jobs delete {record.id}", ledger)
        raise RequestError(
            f"job {record.id} of this very export is unfinished and keeps the settings it began with: "
            f"{'; '.join(differ)}. Give these to resume it, or end it first: {delete}"
        )


def _value(value: object) -> str:
    if isinstance(value, bool):
        return ""
    return f"{value:g}s" if isinstance(value, float) else str(value)


def _said(value: object) -> str:
    if value is None or value is False:
        return "not given"
    return "given" if value is True else _value(value)
