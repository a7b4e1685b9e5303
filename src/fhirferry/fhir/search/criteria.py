"""One parameter of a type filter: `code:not=a,b`, checked against the definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import msgspec

from fhirferry.fhir.definitions import Definitions, SearchParameter, nearest
from fhirferry.fhir.search import values
from fhirferry.fhir.search.leaves import IDENTIFIER, KINDS
from fhirferry.model.errors import RequestError

MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "string": ("contains", "exact", "missing"),
    "token": ("missing", "not"),
    "reference": ("identifier", "missing"),  # and the types that it may point to
    "date": ("missing",),
    "number": ("missing",),
    "quantity": ("missing",),
    "uri": ("missing",),
}
_KNOWN = {"above", "below", "code-text", "in", "iterate", "not-in", "of-type", "text", "text-advanced"}
_RESULT = {  # parameters that shape a search's answer (B49) -> what does it in an export
    "_contained": "contained resources come with the resource that contains them",
    "_containedType": "contained resources come with the resource that contains them",
    "_count": "an export is not cut into pages; leave it out",
    "_elements": "use the export's own _elements",
    "_format": "use the export's own _outputFormat",
    "_include": "export the other type too, or have references followed",
    "_pretty": "leave it out",
    "_revinclude": "export the other type too",
    "_score": "leave it out",
    "_sort": "an export has no order; leave it out",
    "_summary": "use the export's own _elements",
    "_total": "the manifest has the counts; leave it out",
}
_ELSEWHERE = {  # what asks for more than the resource itself
    "_content": "there is no full-text index",
    "_filter": "write the conditions as parameters",
    "_has": "a filter looks at one type only; filter the other type in an export of its own",
    "_list": "name the ids with _id",
    "_query": "there are no named queries",
    "_text": "there is no full-text index",
    "_type": "use the export's own _type",
    "phonetic": "sounds are not compared; use the parameter name",
}


@final
class Criterion(msgspec.Struct, frozen=True):
    """A parameter, its modifier ("" for none) and its values, which are OR-ed.

    texts: the values as a canonical text has them (escapes in, percent-encoding out, sorted, each once).
    parsed: the same values read by the parameter's type.
    """

    parameter: SearchParameter
    modifier: str
    texts: tuple[str, ...]
    parsed: tuple[Any, ...]


def read_criterion(kind: str, name: str, value: str, definitions: Definitions) -> Criterion:
    """Of `name=value`, both without percent-encoding. ValueError or RequestError: what is wrong and what would be right."""
    base, _, modifier = name.partition(":")
    parameter = _parameter(kind, base, modifier, definitions)
    modifier = _modifier(parameter, modifier, definitions)
    texts = values.split(value, ",")
    if "" in texts:
        raise ValueError(f"{name} has an empty value; leave the parameter out, or use {base}:missing=true")
    if modifier == "missing":
        if texts not in (["true"], ["false"]):
            raise ValueError(f"{name} takes true or false")
        return Criterion(parameter, modifier, tuple(texts), (texts == ["true"],))
    if parameter.type in ("date", "number", "quantity"):
        texts = [text.removeprefix("eq") for text in texts]
    reader = _reader(parameter, modifier, definitions)
    parsed = {}
    for text in texts:
        try:
            parsed[text] = reader(text)
        except ValueError as error:
            raise ValueError(f"{name}: {text!r} {error}") from None
    ordered = tuple(sorted(parsed))
    return Criterion(parameter, modifier, ordered, tuple(parsed[text] for text in ordered))


def _parameter(kind: str, name: str, modifier: str, definitions: Definitions) -> SearchParameter:
    if name in _RESULT:
        raise ValueError(f"{name} shapes the answer of a search; a filter only chooses resources: {_RESULT[name]}")
    if name in _ELSEWHERE:
        raise ValueError(f"{name} is not offered: {_ELSEWHERE[name]}")
    if "." in name or "." in modifier:
        raise ValueError(
            f"{name}{':' * bool(modifier)}{modifier} is a chain, which looks into other resources; a filter looks at one "
            f"type only: write the ids, like {name.partition('.')[0]}=Patient/123"
        )
    try:
        parameter = definitions.parameter(kind, name)
    except RequestError as error:
        raise ValueError(error.message) from None
    if parameter.type == "composite":
        raise ValueError(f"{name} is a composite, which is not offered; write its parts as parameters of their own")
    usable = tuple(p for p in parameter.paths if p.type in KINDS.get(parameter.type, ()))
    if not usable:
        raise ValueError(f"{name} is not offered: its values are not in the resource itself")
    return msgspec.structs.replace(parameter, paths=usable)


def _modifier(parameter: SearchParameter, modifier: str, definitions: Definitions) -> str:
    offered = list(MODIFIERS[parameter.type])
    points = parameter.type == "reference" and any(path.type == "Reference" for path in parameter.paths)
    if parameter.type == "reference" and not points:
        offered.remove("identifier")
    if not modifier or modifier in offered:
        return modifier
    if points and modifier in definitions.types:
        allowed = values.targets(parameter)
        if not allowed or modifier in allowed:
            return modifier
        raise ValueError(f"{parameter.name} never points to {modifier}, only to {', '.join(sorted(allowed))}")
    what = (
        "is not offered"
        if modifier in _KNOWN or modifier in MODIFIERS["string"] + ("not", "identifier")
        else "is unknown"
    )
    names = offered + (sorted(values.targets(parameter) or definitions.types) if points else [])
    types = " and the resource types it points to" if points else ""
    raise ValueError(
        f"modifier :{modifier} {what} for {parameter.name} (a {parameter.type}); there are "
        f"{', '.join(':' + name for name in offered)}{types}{nearest(modifier, names) if what == 'is unknown' else ''}"
    )


def _reader(parameter: SearchParameter, modifier: str, definitions: Definitions) -> Callable[[str], Any]:
    match parameter.type:
        case "string":
            return lambda text: values.string_value(text, modifier)
        case "token":
            return lambda text: values.token_value(text, parameter.paths)
        case "reference" if modifier == "identifier":
            return lambda text: values.token_value(text, (IDENTIFIER,))
        case "reference":
            return lambda text: values.reference_value(text, parameter, modifier, definitions)
        case "date":
            return values.date_value
        case "number":
            return values.number
        case "quantity":
            return values.quantity
    return values.unescape
