"""What a request asks for, made canonical before the job exists (S81); all that is wrong with it, told at once (B50).

What FHIR says about its types is read only where a request needs it: most exports have neither filters nor elements.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from fhirferry.fhir.problems import Problem, RequestProblems
from fhirferry.fhir.types import RESOURCE_TYPES
from fhirferry.model.partition import Issue
from fhirferry.model.request import ExportRequest

NOT_YET: dict[str, tuple[str, str]] = {}
"""Fields of a request that an export does not honour yet. Refused, never passed over: most of them narrow what goes out
(L5)."""

USUALLY_REFERENCED = ("Device", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole")
"""Come along in an export of patients or of a group when something exported refers to them, as US certification expects
(B22, L32)."""

_PLAIN = ExportRequest()


def canonical(request: ExportRequest) -> ExportRequest:
    """Equal requests become the same. One with problems stays as it is: there is no job of it, `refuse_problems` tells
    why."""
    settled, problems = _settled(request)
    if problems:
        return request
    referenced = _referenced(request)
    associated = request.include_associated_data
    if request.provenance == "all":  # the wider one wins (B43)
        associated = tuple(name for name in associated if name != "LatestProvenanceResources")
    changes = {
        "include_referenced": referenced,
        "reference_depth": request.reference_depth if referenced else 1,
        "include_associated_data": associated,
    }
    return msgspec.structs.replace(settled, **changes)


def refuse_problems(request: ExportRequest, there: Collection[str]) -> None:
    """RequestProblems with all that is wrong with types, filters and elements, and with what is not offered.

    there: types that the source has; they may be asked for, whatever FHIR says.
    """
    problems = problems_of(request, there)
    if problems:
        raise RequestProblems(problems)


def ignored(request: ExportRequest) -> tuple[Issue, ...]:
    """What a lenient request asked for and does not get, for the error file (B16, B50)."""
    if request.handling != "lenient":
        return ()
    problems: list[str] = [*request.passed_over, *map(str, _not_brought(request, ()))]
    if request.elements:
        from fhirferry.fhir.definitions import load
        from fhirferry.transforms.elements import elements_of

        problems += map(str, elements_of(request, load(request.release))[1])
    return tuple(
        Issue(severity="warning", code="not-supported", diagnostics=f"Passed over, as handling is lenient: {problem}")
        for problem in problems
    )


def problems_of(request: ExportRequest, there: Collection[str]) -> list[Problem]:
    """What `refuse_problems` refuses."""
    problems = [
        Problem(name, str(getattr(request, field)), f"{what} is not offered yet; leave it out")
        for field, (name, what) in NOT_YET.items()
        if getattr(request, field) != getattr(_PLAIN, field)
    ]
    if request.history_after is not None and request.organize_output_by:
        reason = "earlier versions have no place in organised output; leave this or organizeOutputBy out"
        problems.append(Problem("includeAssociatedData", "_history", reason))
    unknown = [
        Problem("_type", name, f"no such resource type{near_type(name, there) or '; names are exact, like Patient'}")
        for name in request.types or ()
        if name not in RESOURCE_TYPES and name not in there
    ]
    problems += unknown or _out_of_reach(request)
    if request.handling == "strict":
        problems += _not_brought(request, there)
    problems += _without_place(request)
    return problems + _settled(request)[1]


def _without_place(request: ExportRequest) -> Iterator[Problem]:
    """What comes along is in no compartment of a patient by itself, so organised output has no block for it."""
    if request.organize_output_by is None:
        return
    if request.include_referenced:
        reason = "has no place in organised output, as it is nobody's; leave this or organizeOutputBy out"
        yield Problem("includeReferenced", ",".join(request.include_referenced), reason)
    if request.provenance is not None:
        reason = (
            "has no place in organised output, as it is about resources and not about patients; leave this or "
            "organizeOutputBy out"
        )
        names = [name for name in request.include_associated_data if name.endswith("ProvenanceResources")]
        yield Problem("includeAssociatedData", ",".join(names), reason)


def near_type(name: str, there: Collection[str]) -> str:
    """`; did you mean 'Patient'?`, or nothing."""
    from fhirferry.fhir.definitions import nearest

    return nearest(name, {*RESOURCE_TYPES, *there})


def _out_of_reach(request: ExportRequest) -> Iterator[Problem]:
    """Types of which an export of patients or of a group would hold nothing whatever (B34). Others are in reach only of
    what is exported, so one type in the compartment is needed."""
    if request.level == "system" or request.types is None:
        return
    from fhirferry.fhir.membership import types

    no_group = (
        request.has_list or request.organize_output_by is not None
    )  # where patients are named none goes out (B39)
    kinds = types() - {"Group"} if no_group else types()
    if kinds.isdisjoint(request.types):
        reason = (
            "nothing of that belongs to a patient; name a type that does too, like Encounter, and what it refers to "
            "comes along; or export the system"
        )
        yield Problem("_type", ",".join(request.types), reason)


def _not_brought(request: ExportRequest, there: Collection[str]) -> Iterator[Problem]:
    """Named in `include_referenced`, and will not come. A lenient request may do without: it only adds."""
    for name in request.include_referenced or ():
        if name == "Group" and request.level != "system":
            yield Problem("includeReferenced", name, "a Group would tell who else is in it, so none is brought along")
        elif name not in RESOURCE_TYPES and name not in there:
            yield Problem("includeReferenced", name, f"no such resource type{near_type(name, there)}")


def _referenced(request: ExportRequest) -> tuple[str, ...] | None:
    """None where nothing comes along unless it is asked for, and is not."""
    if request.level == "system" or request.organize_output_by is not None:
        return request.include_referenced or None
    if request.include_referenced is not None:
        return request.include_referenced
    return tuple(name for name in USUALLY_REFERENCED if request.types is None or name in request.types)


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
