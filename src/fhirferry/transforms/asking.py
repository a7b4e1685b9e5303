"""What a request asks for, made canonical before the job exists (S81); all that is wrong with it, told at once (B50).

What FHIR says about its types is read only where a request needs it: most exports have neither filters nor elements.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from fhirferry.fhir.problems import Problem, RequestProblems
from fhirferry.fhir.types import RESOURCE_TYPES
from fhirferry.model.partition import Issue
from fhirferry.model.request import ExportRequest

NOT_YET = {
    "level": ("level", "exports of all patients or of a Group"),
    "group_id": ("group", "exports of a Group"),
    "patients": ("patient", "exports of certain patients"),
    "patient_list": ("patient", "exports of certain patients"),
    "include_associated_data": ("includeAssociatedData", "associated data"),
    "include_referenced": ("included references", "following references"),
    "reference_depth": ("reference depth", "following references"),
    "organize_output_by": ("organizeOutputBy", "organised output"),
    "new_members": ("new members", "telling new members from old ones"),
    "left_members": ("left members", "telling of members who left"),
}
"""Fields of a request that an export does not honour yet. Refused, never passed over: most of them narrow what goes out
(L5)."""

_PLAIN = ExportRequest()


def canonical(request: ExportRequest) -> ExportRequest:
    """Equal requests become the same. One with problems stays as it is: there is no job of it, `refuse_problems` tells
    why."""
    settled, problems = _settled(request)
    return request if problems else settled


def refuse_problems(request: ExportRequest, there: Collection[str]) -> None:
    """RequestProblems with all that is wrong with types, filters and elements, and with what is not offered.

    there: types that the source has; they may be asked for, whatever FHIR says.
    """
    problems = [
        Problem(name, str(getattr(request, field)), f"{what} is not offered yet; leave it out")
        for field, (name, what) in NOT_YET.items()
        if getattr(request, field) != getattr(_PLAIN, field)
    ]
    for name in request.types or ():
        if name not in RESOURCE_TYPES and name not in there:
            from fhirferry.fhir.definitions import nearest

            near = nearest(name, {*RESOURCE_TYPES, *there}) or "; names are exact, like Patient"
            problems.append(Problem("_type", name, f"no such resource type{near}"))
    problems += _settled(request)[1]
    if problems:
        raise RequestProblems(problems)


def ignored(request: ExportRequest) -> tuple[Issue, ...]:
    """What a lenient request asked for and does not get, for the error file (B50)."""
    if request.handling != "lenient" or not request.elements:
        return ()
    from fhirferry.fhir.definitions import load
    from fhirferry.transforms.elements import elements_of

    _, problems = elements_of(request, load(request.release))
    return tuple(
        Issue(severity="warning", code="not-supported", diagnostics=f"Passed over, as handling is lenient: {problem}")
        for problem in problems
    )


def _settled(request: ExportRequest) -> tuple[ExportRequest, list[Problem]]:
    if not request.selective:
        return request, []
    from fhirferry.fhir.definitions import load
    from fhirferry.transforms.elements import elements_of
    from fhirferry.transforms.filter import filters_of

    definitions = load(request.release)
    problems: list[Problem] = []
    filters, elements = request.type_filters, request.elements
    try:
        filters = filters_of(request, definitions).texts
    except RequestProblems as wrong:
        problems += wrong.problems
    try:
        elements = elements_of(request, definitions)[0].texts
    except RequestProblems as wrong:
        problems += wrong.problems
    return msgspec.structs.replace(request, type_filters=filters, elements=elements), problems
