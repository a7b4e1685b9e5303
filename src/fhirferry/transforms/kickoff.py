"""The parameters of a kick-off understood, or refused all at once: what the HTTP API asks with (B14-B16, B26-B54)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import final

import msgspec

from fhirferry.bulkdata.kickoff_reading import Reading, read_kickoff
from fhirferry.fhir.problems import Problem, RequestProblems
from fhirferry.fhir.types import RESOURCE_TYPES
from fhirferry.model.job import JobSettings
from fhirferry.model.request import ExportRequest
from fhirferry.transforms.asking import canonical, near_type, problems_of

_SIZE = "_minimumFileSize"


@final
class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A kick-off that was understood: its request, canonical, and the settings of its job."""

    request: ExportRequest
    settings: JobSettings


def asked(
    pairs: Iterable[tuple[str, str]],
    *,
    level: str = "system",
    group_id: str | None = None,
    handling: str = "strict",
    release: str = "R4",
    url: str = "",
    there: Collection[str] = (),
    settings: JobSettings | None = None,
) -> Asked:
    """What a kick-off asks for, of its parameters by name and value, decoded, as they came in a URL or in a body.

    `bulkdata.kickoff.query_pairs` makes them of a query. there: types that the source has; they may be asked for, whatever
    FHIR says. settings: the operator's; a client may ask for smaller files than theirs, not for larger ones (B54).
    RequestProblems with all that is wrong. With handling "lenient" without what cannot widen disclosure: the request keeps
    that for the error file (B15, B16, B50).
    """
    reading = read_kickoff(pairs, level=level, group_id=group_id, handling=handling, release=release, url=url)
    request = reading.request
    problems = [Problem(name, value, right + _near(name, value)) for name, value, right in reading.problems]
    if request.patient_list is not None:
        reason = "names a list that a ledger keeps; send the patients themselves, as patient=Patient/a,Patient/b"
        problems.append(Problem("patientList", request.patient_list, reason))
    sized, no_room = _sized(settings or JobSettings(), reading)
    if no_room is not None and handling == "lenient":
        request = msgspec.structs.replace(request, passed_over=tuple(sorted((*request.passed_over, str(no_room)))))
    elif no_room is not None:
        problems.append(no_room)
    problems += problems_of(_without_follow_ups(request, problems), there)
    if problems:
        raise RequestProblems(problems)
    return Asked(request=canonical(request), settings=sized)


def _sized(settings: JobSettings, reading: Reading) -> tuple[JobSettings, Problem | None]:
    """Without a least size where there is no room for one, which is a problem if it was the client's."""
    most = min(reading.max_file_size or settings.max_file_size, settings.max_file_size)
    least = reading.min_file_size or settings.min_file_size
    problem = None
    if least >= most:
        if reading.min_file_size is not None:
            problem = Problem(_SIZE, str(least), f"is not below the largest size of a file, {most} bytes")
        least = 0
    return msgspec.structs.replace(settings, min_file_size=least, max_file_size=most), problem


def _without_follow_ups(request: ExportRequest, problems: Iterable[Problem]) -> ExportRequest:
    """Where `_type` is wrong, that a filter or an element misses its type there is no news, nor that no patient does."""
    if not any(problem.parameter == "_type" for problem in problems):
        return request
    heads = {text.partition("?")[0].partition(".")[0] for text in (*request.type_filters, *request.elements)}
    return msgspec.structs.replace(request, types=("Patient", *(request.types or ()), *heads & RESOURCE_TYPES))


def _near(parameter: str, value: str) -> str:
    """For what is no type's name at all: `patient`."""
    return near_type(value, ()) if parameter in ("_type", "includeReferenced") else ""
