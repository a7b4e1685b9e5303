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


def canonical(request: ExportRequest) -> ExportRequest:
    """Equal requests become the same. One with problems stays as it is: there is no job of it, `refuse_problems` tells
    why."""
    settled, problems = _settled(request)
    return request if problems else settled


def refuse_problems(request: ExportRequest, there: Collection[str]) -> None:
    """RequestProblems with all that is wrong with types, filters and elements. there: types that the source has; they
    may be asked for, whatever FHIR says."""
    problems = []
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
