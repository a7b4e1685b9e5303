"""What `--json` prints: one JSON object a line, each with a `type`. Reference: docs/json-lines.md.

Instants are FHIR instants in UTC, sizes bytes, durations seconds. Fields are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from fhirferry.jobs.holder import is_dead
from fhirferry.jobs.rules import interrupted
from fhirferry.model.instant import Instant, format_instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Root of all lines."""


class ErrorLine(Line, frozen=True, kw_only=True, tag="error"):
    """The command ended with an error. error: its kind. exit_code: what the process exits with."""

    error: str
    message: str
    exit_code: int


class JobLine(Line, frozen=True, kw_only=True, tag="job"):
    """A job as it stands in the ledger. level: system, patient or group. patients: ids, null for all of the level;
    patient_list: SHA-256 of a long list, kept beside the job. continues: id of the job that it goes on from. destination:
    the job's folder; destination_root: what was typed. holder_dead: it is running by its record, but the process that
    held it has certainly ended (only known on the holder's own machine)."""

    id: str
    status: str
    progress: int
    level: str
    group: str | None
    patients: Sequence[str] | None
    patient_list: str | None
    types: Sequence[str] | None
    type_filters: Sequence[str]
    elements: Sequence[str]
    include_associated_data: Sequence[str]
    include_referenced: Sequence[str] | None
    reference_depth: int
    organize_output_by: str | None
    lenient: bool
    since: str | None
    until: str | None
    new_members: str
    left_members: str
    continues: str | None
    source: str
    destination: str
    destination_root: str
    requestor: str
    queued_time: str
    start_time: str | None
    end_time: str | None
    transaction_time: str | None
    retry_after: str | None
    heartbeat: str | None
    holder: str | None
    holder_dead: bool
    epoch: int
    resources: int
    bytes: int
    total_resources: int
    total_bytes: int
    partitions: int
    partitions_done: int
    issue_count: int
    issues: Sequence[str]
    failure_count: int
    failure: str | None
    failure_details: str | None

    @classmethod
    def of(cls, record: ExportJobRecord) -> JobLine:
        failure = record.failure
        return cls(
            id=record.id,
            status=record.status,
            progress=record.progress,
            level=record.request.level,
            group=record.request.group_id,
            patients=record.request.patients,
            patient_list=record.request.patient_list,
            types=record.request.types,
            type_filters=record.request.type_filters,
            elements=record.request.elements,
            include_associated_data=record.request.include_associated_data,
            include_referenced=record.request.include_referenced,
            reference_depth=record.request.reference_depth,
            organize_output_by=record.request.organize_output_by,
            lenient=record.request.handling == "lenient",
            since=instant(record.request.since),
            until=instant(record.request.until),
            new_members=record.request.new_members,
            left_members=record.request.left_members,
            continues=record.continues,
            source=record.source_uri,
            destination=record.destination_uri,
            destination_root=record.destination_root or record.destination_uri,
            requestor=record.requestor,
            queued_time=format_instant(record.queued_time),
            start_time=instant(record.start_time),
            end_time=instant(record.end_time),
            transaction_time=instant(record.transaction_time),
            retry_after=instant(record.retry_after),
            heartbeat=instant(record.heartbeat),
            holder=record.holder,
            holder_dead=interrupted(record, is_dead),
            epoch=record.epoch,
            resources=record.resources,
            bytes=record.bytes,
            total_resources=sum(total.resources for total in record.totals.values()),
            total_bytes=sum(total.bytes for total in record.totals.values()),
            partitions=record.partitions,
            partitions_done=record.partitions_done,
            issue_count=record.issue_count,
            issues=[issue.diagnostics for issue in record.issues],
            failure_count=record.failure_count,
            failure=failure.reason if failure else None,
            failure_details=failure.details or None if failure else None,
        )


class FileLine(Line, frozen=True, kw_only=True, tag="file"):
    """A listed file of a job. kind: output, history (superseded versions), deleted or error. resource_type: of its lines."""

    job: str
    kind: str
    resource_type: str
    name: str
    count: int
    bytes: int
    raw_bytes: int
    sha256: str

    @classmethod
    def of(cls, job_id: str, file: OutputFile) -> FileLine:
        return cls(
            job=job_id,
            kind=file.kind,
            resource_type=file.type,
            name=file.name or file.part,
            count=file.count,
            bytes=file.bytes,
            raw_bytes=file.raw_bytes,
            sha256=file.sha256,
        )


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of one kind and type hold together. bytes: as stored. raw_bytes: before compression."""

    kind: str
    resource_type: str
    files: int
    count: int
    bytes: int
    raw_bytes: int

    @classmethod
    def of(cls, files: Sequence[OutputFile]) -> Sequence[Sum]:
        """One per kind and type, output first, then history, deleted, error; by type."""
        groups: dict[tuple[int, str], list[OutputFile]] = {}
        order = list(Kind)
        for file in files:
            groups.setdefault((order.index(file.kind), file.type), []).append(file)
        return [
            cls(
                kind=order[kind],
                resource_type=type_,
                files=len(group),
                count=sum(file.count for file in group),
                bytes=sum(file.bytes for file in group),
                raw_bytes=sum(file.raw_bytes for file in group),
            )
            for (kind, type_), group in sorted(groups.items())
        ]


class ExportLine(Line, frozen=True, kw_only=True, tag="export"):
    """How `export` ended. level, group, since, continues: see job. destination: the folder with the files. seconds: of this
    run. resumed: the job was there before. resume: the command that goes on."""

    job: str
    status: str
    resumed: bool
    level: str
    group: str | None
    since: str | None
    continues: str | None
    destination: str
    transaction_time: str | None
    resources: int
    bytes: int
    issue_count: int
    files: int
    by_type: Sequence[Sum]
    seconds: float
    failure: str | None
    resume: str | None


class PlanLine(Line, frozen=True, kw_only=True, tag="plan"):
    """What `export --dry-run` found. level, group, since, continues: see job. patients: how many are meant that there is
    data of, absent_patients: the others; null where all are meant. at_most: there are filters or elements, so it may be
    less. and_more: what is referred to comes along. notes: what there is to know of the patients. free_bytes: null where
    unknown. problem: why the destination would be refused. unfinished_job: the job that the same command would resume."""

    level: str
    group: str | None
    patients: int | None
    absent_patients: int | None
    since: str | None
    continues: str | None
    source: str
    destination: str
    layout: str
    resources: int
    bytes: int
    at_most: bool
    and_more: bool
    by_type: Mapping[str, Mapping[str, int]]
    notes: Sequence[str]
    free_bytes: int | None
    problem: str | None
    unfinished_job: str | None


class DeletedJobLine(Line, frozen=True, kw_only=True, tag="deleted-job"):
    """`jobs delete` is done. files: names that went with it."""

    job: str
    files: Sequence[str]


class PrunedJobLine(Line, frozen=True, kw_only=True, tag="pruned-job"):
    """`jobs prune` forgot this job."""

    job: str


def instant(value: Instant | None) -> str | None:
    """FHIR instant, or null."""
    return None if value is None else format_instant(value)
