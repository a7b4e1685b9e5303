"""What the ledger knows of an export beside its manifest, for who proves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from fhirferry.bulkdata.kickoff import parse_export_url
from fhirferry.bulkdata.manifest import read_manifest
from fhirferry.destinations.protocol import Destination
from fhirferry.engine.cohort import Patients, Recorded
from fhirferry.exporting.patient_list import PatientList
from fhirferry.jobs.protocol import JobStore
from fhirferry.model.errors import JobNotFound, RequestError


def recorded(destination: Destination, manifest_name: str, jobs: JobStore, patients: Iterable[str] | None) -> Recorded:
    """patients: what was given for the list that the request has the hash of. RequestError when it is another, or the
    request has none."""
    listed = None if patients is None else PatientList(patients)
    try:
        manifest = read_manifest(b"".join(destination.read(manifest_name)))
        request = parse_export_url(manifest.request)
    except RequestError:  # `verify` tells what is wrong with it
        return Recorded()
    if listed is not None and listed.sha256 != request.patient_list:
        raise RequestError(
            "the list of patients is not the one that this export was made of"
            if request.patient_list
            else "this export was made of no long list of patients; leave the list out"
        )
    given: Patients | None = None if listed is None else partial(iter, listed)
    try:
        record = jobs.get(manifest.job or "")
    except JobNotFound:
        return Recorded(listed=given)
    before = None if record.continues is None else _known(jobs, record.continues)
    return Recorded(
        listed=given or (partial(jobs.listed, record.id) if request.patient_list else None),
        before=before,
        carried=None if record.continues is None else partial(_carried, jobs, record.id),
    )


def _known(jobs: JobStore, job_id: str) -> Patients | None:
    try:
        jobs.get(job_id)
    except JobNotFound:
        return None
    return partial(jobs.cohort, job_id)


def _carried(jobs: JobStore, job_id: str) -> Iterator[str]:
    return (reference for reference, named_here in jobs.named(job_id, 1) if not named_here)
