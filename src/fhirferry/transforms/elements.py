"""`_elements` of a request: read whole, and what becomes of names and types that FHIR does not know (B35-B38, B50)."""

from __future__ import annotations

from fhirferry.fhir.definitions import Definitions
from fhirferry.fhir.elements import ALWAYS, PARAMETER, Elements, Selector, read_elements, select
from fhirferry.fhir.problems import Problem, RequestProblems
from fhirferry.model.request import ExportRequest

EVERYWHERE = (*ALWAYS, "implicitRules", "modifierExtension")
"""What stays of a type that FHIR's tables lack, besides what was asked for."""


def elements_of(request: ExportRequest, definitions: Definitions) -> tuple[Elements, tuple[Problem, ...]]:
    """What to keep, and what of it is wrong though a lenient request lets it pass. RequestProblems.

    An element that no resource has is passed over by a lenient request, and still keeps its place: `Patient.nmae` alone
    leaves of a Patient only what must stay; forgetting it would let all of the Patient out. A wrong type is always
    refused: nobody can tell which one was to be cut.
    """
    refused: list[Problem] = []
    ignored: list[Problem] = []
    everywhere: set[str] = set()
    by_type: dict[str, set[str]] = {}
    for text in request.elements:
        kind, _, name = text.removesuffix("[x]").rpartition(".")
        (by_type.setdefault(kind, set()) if kind else everywhere).add(name)
        wrong: tuple[Problem, ...] = ()
        try:
            read_elements([text], definitions)
        except RequestProblems as error:
            wrong = error.problems
        else:
            brought = request.include_referenced or ()
            if kind and request.types is not None and kind not in (*request.types, *brought):
                wrong = (Problem(PARAMETER, text, f"{kind} is not in _type; name it there, or leave this out"),)
        passable = request.handling == "lenient" and (not kind or kind in definitions.types)
        (ignored if passable else refused).extend(wrong)
    if refused:
        raise RequestProblems(refused)
    return Elements(frozenset(everywhere), {kind: frozenset(by_type[kind]) for kind in sorted(by_type)}), tuple(ignored)


def selector(request: ExportRequest, kind: str, definitions: Definitions, known: Definitions | None) -> Selector | None:
    """A function from a resource of this type to its smaller self; None where they stay whole.

    definitions: of the request's release. known: those that have the type; None where none has, as a store takes any.
    """
    elements, _ = elements_of(request, definitions)
    if known is not None:
        return elements.selector(kind, known)
    if not elements.everywhere:
        return None
    kept = {*EVERYWHERE, *elements.everywhere}
    names = frozenset(kept | {f"_{name}" for name in kept})
    return lambda resource: select(resource, names)
