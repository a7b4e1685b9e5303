"""`_typeFilter`: which resources of a type are wanted, as a FHIR search writes it (B46-B50).

    Observation?code=http://loinc.org|1234-5,http://loinc.org|5678-9&date=ge2020-01-01

Grammar, from the outside in. A text holds filters, each beginning with a resource type and `?`; a comma before the next
`Type?` divides them, every other comma belongs to a value (L6). A filter holds parameters divided by `&`, all of which
must hold. A parameter's values are divided by commas, any of which may hold; `|` divides the parts of a value. Before a
mark that is meant as itself stands a backslash. Percent-encoding is taken off parameter by parameter, before commas are
looked at, as HL7 says. A `+` is a space in strings only: elsewhere it is part of a zone or a code.

Filters of one type are OR-ed (B47); a type without one passes untouched (B48).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import final

import msgspec

from fhirferry.fhir.definitions import Definitions
from fhirferry.fhir.problems import Problem, RequestProblems
from fhirferry.fhir.search.criteria import Criterion, read_criterion
from fhirferry.model.errors import RequestError

PARAMETER = "_typeFilter"
_next = re.compile(r",(?=[A-Za-z]+\?)")
_malformed = re.compile(r"%(?![0-9A-Fa-f]{2})")
_coded = re.compile(r"[%&#+?\x00-\x20\x7f]")  # what would be read differently if it stood there as itself


@final
class TypeFilter(msgspec.Struct, frozen=True):
    """One filter: resources of `type` for which all criteria hold."""

    type: str
    criteria: tuple[Criterion, ...]

    @property
    def text(self) -> str:
        """Canonical: equal filters have equal texts, and reading it gives an equal filter."""
        return f"{self.type}?" + "&".join(_criterion_text(criterion) for criterion in self.criteria)


@final
class TypeFilters(msgspec.Struct, frozen=True):
    """All filters of a request, in canonical order, each once."""

    filters: tuple[TypeFilter, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """What a request keeps and a job's hash sees."""
        return tuple(one.text for one in self.filters)

    @property
    def types(self) -> frozenset[str]:
        """Types that have a filter; all others pass untouched."""
        return frozenset(one.type for one in self.filters)

    def of(self, kind: str) -> tuple[TypeFilter, ...]:
        """The filters of one type."""
        return tuple(one for one in self.filters if one.type == kind)


def read_type_filters(texts: Iterable[str], definitions: Definitions) -> TypeFilters:
    """Of the values of `_typeFilter`, each decoded once as every URL parameter is.

    RequestProblems with all that is wrong in all of them; nothing is ignored (L5).
    """
    found: dict[str, TypeFilter] = {}
    problems: list[Problem] = []
    for text in texts:
        for part in _next.split(text.strip(" \t\r\n")):
            one = _read(part, definitions, problems)
            if one is not None:
                found[one.text] = one
    if problems:
        raise RequestProblems(problems)
    return TypeFilters(tuple(found[text] for text in sorted(found)))


def _read(text: str, definitions: Definitions, problems: list[Problem]) -> TypeFilter | None:
    before = len(problems)
    kind, mark, query = text.partition("?")
    try:
        _check_opening(kind, mark, query, definitions)
    except (RequestError, ValueError) as error:
        problems.append(Problem(PARAMETER, text, str(error)))
        return None
    criteria: dict[str, Criterion] = {}
    for parameter in query.split("&"):
        name, equals, value = parameter.partition("=")
        try:
            if not equals or not name:
                raise ValueError(f"{parameter!r} is no parameter; write name=value")
            criterion = _read_criterion(kind, name, value, definitions)
        except ValueError as error:
            problems.append(Problem(PARAMETER, text, str(error)))
        else:
            criteria[_criterion_text(criterion)] = criterion
    if len(problems) > before:
        return None
    return TypeFilter(kind, tuple(criteria[text] for text in sorted(criteria)))


def _check_opening(kind: str, mark: str, query: str, definitions: Definitions) -> None:
    if "/" in kind:
        raise ValueError("the search context is one resource type; begin with it, like Observation?code=1234-5")
    if not kind:
        raise ValueError("begin with a resource type, like Observation?code=1234-5")
    definitions.check_type(kind)
    if not mark or not query:
        raise ValueError(f"says nothing about {kind}; write parameters behind '?', or use _type to choose types")


def _read_criterion(kind: str, name: str, value: str, definitions: Definitions) -> Criterion:
    plain = _decoded(name)
    try:
        words = definitions.parameter(kind, plain.partition(":")[0]).type == "string"
    except RequestError:
        words = False  # named with the other problems
    return read_criterion(kind, plain, _decoded(value.replace("+", " ") if words else value), definitions)


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    if _malformed.search(text):
        raise ValueError(f"{text!r} has a '%' without two hexadecimal digits; write a '%' itself as %25")
    from urllib.parse import unquote  # costs 5 ms at start-up

    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{text!r} is not UTF-8 behind its percent-encoding") from None


def _criterion_text(criterion: Criterion) -> str:
    name = criterion.parameter.name + (f":{criterion.modifier}" if criterion.modifier else "")
    return f"{name}={','.join(map(_encoded, criterion.texts))}"


def _encoded(text: str) -> str:
    return _coded.sub(lambda found: f"%{ord(found[0]):02X}", text)


def criteria_of(filters: Sequence[TypeFilter]) -> list[Criterion]:
    """Of several filters, one after the other."""
    return [criterion for one in filters for criterion in one.criteria]
