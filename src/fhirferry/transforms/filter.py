"""`_typeFilter` of a request: read whole, and checked against its `_type` (S68, B46-B50, L5)."""

from __future__ import annotations

from fhirferry.fhir.definitions import Definitions
from fhirferry.fhir.problems import Problem, RequestProblems
from fhirferry.fhir.search.filters import PARAMETER, TypeFilters, read_type_filters
from fhirferry.fhir.search.matching import Matcher, compile_filters
from fhirferry.model.request import ExportRequest


def filters_of(request: ExportRequest, definitions: Definitions) -> TypeFilters:
    """All filters of a request. RequestProblems, also where it is lenient: without a filter more would go out (B50).

    A filter needs its type in `_type`, or among the included references: without `_type` every other type would come
    whole, which somebody who filters hardly means (S68); and a filter of a type that is not exported would be passed over
    in silence (L5).
    """
    problems: list[Problem] = []
    for text in request.type_filters:
        try:
            filters = read_type_filters([text], definitions).filters
        except RequestProblems as wrong:
            problems += wrong.problems
            continue
        for one in filters:
            if request.types is None or one.type not in (*request.types, *(request.include_referenced or ())):
                problems.append(Problem(PARAMETER, one.text, _not_asked_for(one.type, request.types)))
    if problems:
        raise RequestProblems(problems)
    return read_type_filters(request.type_filters, definitions)


def matcher(request: ExportRequest, kind: str, definitions: Definitions) -> Matcher | None:
    """A test of a resource of this type; None where all of them pass (B48)."""
    filters = read_type_filters(request.type_filters, definitions).of(kind)
    return compile_filters(filters, definitions) if filters else None


def _not_asked_for(kind: str, types: tuple[str, ...] | None) -> str:
    if types is None:
        return f"a filter needs _type, as types without a filter come whole; name {kind} there, and what else is wanted"
    return f"{kind} is not in _type; name it there, or leave the filter out"
