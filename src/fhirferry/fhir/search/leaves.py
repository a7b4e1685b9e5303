"""Tests of single values, per data type: one function for all values that a parameter is given (they are OR-ed)."""

from __future__ import annotations

import re
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from fhirferry.fhir.definitions import Path
from fhirferry.fhir.search import dates
from fhirferry.fhir.search.paths import Test, each, has_value, member
from fhirferry.fhir.search.strings import ADDRESS_PARTS, NAME_PARTS, fold, part_strings
from fhirferry.fhir.search.values import DateValue, ReferenceValue, Token

if TYPE_CHECKING:
    from fhirferry.fhir.search.numbers import NumberValue, QuantityValue

KINDS = {
    "date": frozenset(dates.RANGES),
    "number": frozenset({"decimal", "integer", "positiveInt", "unsignedInt", "Range"}),
    "quantity": frozenset({"Quantity", "Age", "Duration", "Count", "Distance", "Money", "Range"}),
    "reference": frozenset({"Reference", "canonical", "uri"}),
    "string": frozenset({"string", "markdown", "HumanName", "Address"}),
    "token": frozenset(
        {"Coding", "CodeableConcept", "Identifier", "ContactPoint", "code", "boolean", "present", "id", "string", "uri"}
    ),
    "uri": frozenset({"uri", "url", "canonical"}),
}
"""Per type of search parameter, the data types that can hold its values. HL7's paths lead to a few others, which never
match (a date to the free text `performedString`)."""

_address = re.compile(
    r"https?://[^?#]+/([A-Z][A-Za-z]*/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?)",
    re.ASCII | re.IGNORECASE,
).fullmatch

_is_version = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII).fullmatch

IDENTIFIER = Path(steps=("identifier",), type="Identifier")
"""What `:identifier` looks at, below a reference."""


def token_test(path: Path, values: Collection[Token]) -> Test:
    """Codes keep their case, as HL7 says; plain strings don't, but ids do."""
    kind = path.type
    codes = {v.code for v in values if v.system is None}
    pairs = {(v.system or None, v.code) for v in values if v.system is not None and v.code is not None}
    systems = {v.system for v in values if v.system is not None and v.code is None}
    if kind in ("boolean", "present"):
        return lambda node: type(node) is bool and ("true" if node else "false") in codes
    if kind == "string" and path.steps != ("id",):
        folded = {code.casefold() for code in codes if code}
        return lambda node: type(node) is str and node.casefold() in folded
    if kind == "code":
        if path.system in systems:
            return lambda node: type(node) is str
        codes |= {code for system, code in pairs if path.system and system == path.system}
        return lambda node: type(node) is str and node in codes
    if kind in ("id", "string", "uri"):
        return lambda node: type(node) is str and node in codes
    if kind == "ContactPoint":
        return lambda node: type(node) is dict and _text(node.get("value")) in codes
    if kind == "CodeableConcept":
        return member("coding", each(_coded("code", codes, pairs, systems)))
    return _coded("value" if kind == "Identifier" else "code", codes, pairs, systems)


def _coded(
    name: str,
    codes: AbstractSet[str | None],
    pairs: AbstractSet[tuple[str | None, str]],
    systems: AbstractSet[str | None],
) -> Test:
    def look(node: object) -> bool:
        if type(node) is not dict:
            return False
        code, system = _text(node.get(name)), _text(node.get("system"))
        return (code is not None and (code in codes or (system, code) in pairs)) or system in systems

    return look


def string_test(path: Path, values: Collection[str], modifier: str) -> Test:
    """Begins with, `contains`, or is `exact`ly; of a family name each word may begin so."""
    parts = {"HumanName": NAME_PARTS, "Address": ADDRESS_PARTS}.get(path.type)

    def one(text: str, words: bool) -> bool:
        if modifier == "exact":
            return text in values
        folded = fold(text)
        if modifier == "contains":
            return any(value in folded for value in values)
        return folded.startswith(starts) or (words and any(f" {value}" in folded for value in values))

    starts = tuple(values)
    if parts is None:
        words = path.steps[-1] == "family"
        return lambda node: type(node) is str and one(node, words)

    def look(node: object) -> bool:
        if any(one(text, False) for text in part_strings(node, parts)):
            return True
        return path.type == "HumanName" and any(one(text, True) for text in part_strings(node, ("family",)))

    return look


def uri_test(kind: str, values: Collection[str]) -> Test:
    """Exact. A canonical with a version is also found without it."""
    if kind == "canonical":
        return lambda node: type(node) is str and (node in values or node.partition("|")[0] in values)
    return lambda node: type(node) is str and node in values


def date_test(kind: str, values: Collection[DateValue]) -> Test:
    """By ranges; a value that is no date never matches, also not with `ne`."""
    tests = [dates.compare(value.prefix, value.range) for value in values]
    read = dates.RANGES[kind]

    def look(node: object) -> bool:
        found = read(node)
        return found is not None and any(test(found) for test in tests)

    return look


def number_test(kind: str, values: Collection[NumberValue]) -> Test:
    """By ranges, in decimals."""
    from fhirferry.fhir.search import numbers  # brings `decimal`, 2 ms

    tests = [numbers.compare(value) for value in values]
    read = numbers.range_ends if kind == "Range" else numbers.number_ends

    def look(node: object) -> bool:
        found = read(node)
        return found is not None and any(test(found) for test in tests)

    return look


def quantity_test(kind: str, values: Collection[QuantityValue]) -> Test:
    """By ranges, in decimals, in the unit that is asked for."""
    from fhirferry.fhir.search import numbers

    tests = [(numbers.compare(value.number), value) for value in values]
    read, fits = numbers.quantity_ends, numbers.has_unit
    if kind == "Range":
        read, fits = numbers.range_ends, numbers.range_has_unit

    def look(node: object) -> bool:
        found = read(node)
        return found is not None and type(node) is dict and any(test(found) and fits(v, node) for test, v in tests)

    return look


def reference_test(path: Path, values: Collection[ReferenceValue], only: str, base: str | None) -> Test:
    """only: a type that a modifier named. base: see `compile_filters`."""
    whole = {v.url or (f"{v.kind}/{v.id}" if v.kind else v.id) for v in values if not v.version}
    whole |= {f"{v.kind}/{v.id}/_history/{v.version}" for v in values if v.version}
    if path.type != "Reference":
        return uri_test(path.type, whole)
    urls = {text for text in whole if ":" in text}
    near = whole - urls
    # Somebody who writes a URL also means its relative form, but not the same id on a third server.
    relative = near | {here for url in urls if (here := _local(url, base))}
    if base is not None:
        near = relative
    ids = {v.id for v in values if v.id and not v.kind}
    kinds = {only, path.only} - {""}

    def look(node: object) -> bool:
        text = _text(node.get("reference")) if type(node) is dict else None
        if text is None:
            return False
        plain = _unversioned(text)
        if kinds and kinds != {_kind(plain, node)}:
            return False
        if ":" not in text:
            return plain in relative or text in relative or plain.rpartition("/")[2] in ids
        if plain in urls or text in urls:
            return True
        here = _local(text, base)
        if not here:
            return False
        plain = _unversioned(here)
        return plain in near or here in near or plain.rpartition("/")[2] in ids

    return look


def _local(url: str, base: str | None) -> str:
    """`Type/id`, with its version, of a URL of this server; of any http server where ours is unknown. "" for others."""
    if base is not None:
        return url.removeprefix(base) if url.startswith(base) else ""
    found = _address(url)
    return found[1] if found else ""


def identifier_test(path: Path, values: Collection[Token]) -> Test:
    """`:identifier`: the reference's own identifier; not that of the resource it points to."""
    identifier = token_test(IDENTIFIER, values)
    return lambda node: _may_be(path.only, node) and type(node) is dict and identifier(node.get("identifier"))


def value_test(path: Path) -> Test:
    """`:missing=false`: there is a value; where only references to one type count, such a one."""
    if path.only:
        return lambda node: has_value(node) and _may_be(path.only, node)
    return has_value


def _may_be(kind: str, node: object) -> bool:
    """Whether a reference points to this type, as far as it tells; one by identifier alone may not tell."""
    if not kind or type(node) is not dict:
        return not kind
    text = _text(node.get("reference"))
    if text is None:
        return node.get("type") in (kind, None)
    return _kind(_unversioned(text), node) == kind


def _unversioned(reference: str) -> str:
    """Without the version that it names; what is no version stays, as that is no reference to the resource (B24)."""
    plain, mark, version = reference.partition("/_history/")
    return plain if not mark or _is_version(version) else reference


def _kind(text: str, node: object) -> str | None:
    """The type that a reference points to: from `Type/id`, from a URL's end, else from `Reference.type`."""
    if "/" in text:
        return text.rsplit("/", 2)[-2]
    return _text(node.get("type")) if type(node) is dict else None


def _text(value: object) -> str | None:
    return value if type(value) is str else None
