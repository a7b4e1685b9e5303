"""A kick-off on its way to the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Required, TypedDict

import msgspec

from fhirferry.exporting.named import Place
from fhirferry.exporting.patient_list import PatientList, settle
from fhirferry.jobs.protocol import JobStore
from fhirferry.model.errors import (
    FerryError,
    FolderInUse,
    GroupNotFound,
    PatientNotFound,
    RequestError,
    StoreNotIndexed,
)
from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord, JobSettings
from fhirferry.model.layout import Layout, parse_layout
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source
from fhirferry.transforms.asking import canonical, refuse_problems

_PLAIN_MEMBERS = {"since": None, "new_members": "since", "left_members": "keep"}
"""Fields that need a cohort, as they are without one."""


class Way(TypedDict, total=False):
    """What a kick-off is given beside its request.

    source: URL. destination: URL, or the name of one that the operator configured; may be left out where a secret says it.
    secret: name of a secret that was made for this job: it opens the destination, and is deleted with the job (S9, S29).
    settings: None for the defaults; its `layout` is made from this one's. requestor: who asks.
    layout: folders below the destination, with the tags `<timestamp>`, `<id>` and `<resourcename>` (S65).
    patients: the ids that `request.patient_list` stands for, or those that the request is to be narrowed to; any number.
    More than `patient_list.IN_REQUEST` are kept beside the record, named here or in the request.
    continues: id of the job that `since` goes on from, as `Exporter.last` gives it.
    """

    source: Required[str]
    destination: str
    secret: str
    settings: JobSettings | None
    requestor: str
    layout: str
    patients: Iterable[str] | None
    continues: str | None


class Kickoff(msgspec.Struct, frozen=True, kw_only=True):
    """The record that would enter the ledger, and the patients beside it."""

    record: ExportJobRecord
    patients: PatientList | None

    def create(self, jobs: JobStore) -> ExportJobRecord:
        """A job in any case."""
        return jobs.create(self.record, patients=self.patients or ())

    def find_or_create(self, jobs: JobStore) -> ExportJobRecord:
        """The job of an equal kick-off that stands, else this one's."""
        return jobs.find_or_create(self.record, patients=self.patients or ())


def kickoff(request: ExportRequest, way: Way, place: Place, jobs: JobStore) -> Kickoff:
    """place: what the way's destination means. Equal ones have equal hashes, whatever spelling they came in. RequestError
    for what is wrong by itself; what the source, the destination and the ledger say of it is the front door's to ask."""
    import os

    request, listed = settle(request, way.get("patients"))
    request = canonical(request)
    settings, layout = way.get("settings") or JobSettings(), parse_layout(way.get("layout", ""))
    job_id, now, requestor = os.urandom(6).hex(), jobs.now(), way.get("requestor", "")
    _refuse_place(place, way.get("secret"), layout)
    record = ExportJobRecord(
        id=job_id,
        request=request,
        requestor=requestor,
        hash=request.hash(requestor),
        source_uri=way["source"],
        destination_uri=layout.folder(place.uri, now, job_id),
        destination_root=place.uri,
        destination_name=place.name,
        secret_name=place.secret or way.get("secret"),
        continues=way.get("continues"),
        settings=msgspec.structs.replace(settings, layout=layout.files),
        queued_time=now,
    )
    return Kickoff(record=record, patients=listed)


def _refuse_place(place: Place, secret: str | None, layout: Layout) -> None:
    if secret is not None:
        from fhirferry.vaults.protocol import check_name

        check_name(secret)
    if not place.uri and secret is None:
        raise RequestError("an export needs a destination: its URL or name, or a secret that says which")
    if place.name is not None and secret is not None:
        raise RequestError(
            f"the destination {place.name!r} is opened as it was configured; give no secret, or the destination's URL"
        )
    if not place.uri and layout.job:
        raise RequestError("without a URL the job has a place of its own; leave <timestamp> and <id> out of the layout")


def refuse_by_source(request: ExportRequest, source: Source, now: Instant) -> None:
    """What the source knows at once: its types, the Group (S62), patients that are named in the request (B41). A long list
    beside it is the job's to look up: a kick-off waits for nothing. RequestError; RequestProblems has all of them."""
    # What the source holds at all is enough to know its types; counting an increment is the task's work.
    refuse_problems(request, source.totals(ExportRequest(), now))
    asked = msgspec.structs.replace(request, patient_list=None, **_PLAIN_MEMBERS)
    if not asked.has_cohort:
        return
    try:
        source.members(asked, now)
    except (GroupNotFound, PatientNotFound, StoreNotIndexed) as error:
        raise as_refusal(error) from error


def as_refusal(error: FerryError) -> RequestError:
    """What a job would fail with, to whoever asks for that job. Whom it does not find is 404 here (S62)."""
    code = 404 if isinstance(error, GroupNotFound | PatientNotFound) else error.status_code
    return RequestError(error.message, status_code=code, details=error.details)


def refuse_shared_folder(record: ExportJobRecord, jobs: JobStore) -> None:
    """FolderInUse when a job that has not yet claimed its folder was given the same: by a layout with the second alone."""
    if record.destination_uri == record.destination_root:
        return
    for other in jobs.list(unfinished=True):
        if other.destination_uri == record.destination_uri:
            raise FolderInUse(
                f"job {other.id} was given the same folder {record.destination_uri} in this very second; have the "
                "layout tell them apart, like <timestamp>-<id>"
            )
