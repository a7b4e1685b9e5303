"""What is searched for: the values of a filter's parameters, read by the parameter's type.

https://hl7.org/fhir/R4/search.html#ptypes. Every reader takes one value (between the commas, escapes still in it) and
raises ValueError with what would be right; the grammar turns that into a problem that names filter and parameter.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, final

import msgspec

from fhirferry.fhir.definitions import Definitions, Path, SearchParameter, nearest
from fhirferry.fhir.search.dates import Range, date_range
from fhirferry.fhir.search.strings import fold

if TYPE_CHECKING:
    from fhirferry.fhir.search.numbers import NumberValue, QuantityValue

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
WITHOUT_SYSTEM = frozenset({"code", "boolean", "present", "ContactPoint", "id", "string", "uri"})
_escape = re.compile(r"\\(.?)", re.DOTALL)
_is_id = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII).fullmatch


@final
class Token(msgspec.Struct, frozen=True):
    """system: None for any, "" for none at all. code: None for any."""

    system: str | None
    code: str | None


@final
class DateValue(msgspec.Struct, frozen=True):
    """A date to search for, as the range it stands for."""

    prefix: str
    range: Range


@final
class ReferenceValue(msgspec.Struct, frozen=True):
    """kind: resource type, "" for any. id: empty for a URL. version: "" for any. url: as written, for absolute ones."""

    kind: str = ""
    id: str = ""
    version: str = ""
    url: str = ""


def split(text: str, mark: str) -> list[str]:
    """Cut at every `mark` that has no backslash before it; escapes stay."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == mark:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    r"""Take the backslash from `\,` `\|` `\$` `\\`; no other character may follow one."""
    if wrong := next((m[0] for m in _escape.finditer(text) if m[1] not in (",", "|", "$", "\\") or not m[1]), None):
        raise ValueError(f"{wrong!r} is no escape; there are \\, \\| \\$ and \\\\ (a backslash itself)")
    return _escape.sub(r"\1", text)


def string_value(text: str, modifier: str) -> str:
    """Folded, or for `:exact` as it is."""
    plain = unescape(text)
    if modifier == "exact":
        return plain
    folded = fold(plain)
    if not folded:
        raise ValueError("has no letter or digit, so it would match every value; :exact compares punctuation too")
    return folded


def token_value(text: str, paths: Collection[Path]) -> Token:
    """`code`, `system|code`, `|code`, `system|`. paths: what the parameter looks at."""
    kinds = {path.type for path in paths}
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) > 2:
        raise ValueError("has more than one '|'; write system|code, and \\| for a '|' inside a code")
    if len(parts) == 1:
        code = parts[0]
        if kinds <= {"boolean", "present"} and code not in ("true", "false"):
            raise ValueError("is not a boolean; write true or false")
        return Token(None, code)
    system, code = parts
    if kinds <= WITHOUT_SYSTEM:
        implied = sorted({path.system for path in paths} - {""})
        if not implied:
            raise ValueError("has a system, but the values of this parameter have none; write the code alone")
        if system not in implied:
            raise ValueError(f"has another system than the values of this parameter: {', '.join(implied)}")
    if not system and not code:
        raise ValueError("has neither system nor code; write system|code, code, |code or system|")
    return Token(system, code or None)


def date_value(text: str) -> DateValue:
    """An optional prefix and a date with whatever precision."""
    prefix, rest = prefixed(unescape(text))
    # A zone's '+' that somebody's URL decoder turned into a space.
    found = date_range(rest.replace(" ", "+", 1) if "T" in rest else rest)
    if found is None:
        raise ValueError(
            "is not a date; write it like 2020, 2020-01, 2020-01-31 or 2020-01-31T10:00:00Z, with or without a prefix "
            f"({' '.join(PREFIXES)})"
        )
    return DateValue(prefix, found)


def number(text: str) -> NumberValue:
    """An optional prefix and a decimal."""
    from fhirferry.fhir.search.numbers import number_value  # brings `decimal`, 2 ms

    prefix, rest = prefixed(unescape(text))
    found = number_value(prefix, rest)
    if found is None:
        raise ValueError(f"is not a number; write it like 5.4, 1e2 or gt100 (prefixes: {' '.join(PREFIXES)})")
    return found


def quantity(text: str) -> QuantityValue:
    """`number`, `number|system|code` or `number||code`."""
    from fhirferry.fhir.search.numbers import QuantityValue

    parts = split(text, "|")
    if len(parts) not in (1, 3):
        raise ValueError(
            "is not a quantity; write number, number|system|code or number||unit, like 5.4|http://unitsofmeasure.org|mg"
        )
    found = number(parts[0])
    system, code = (unescape(part) or None for part in (parts[1:] if len(parts) == 3 else ("", "")))
    return QuantityValue(found, system, code)


def reference_value(text: str, parameter: SearchParameter, kind: str, definitions: Definitions) -> ReferenceValue:
    """`id`, `Type/id`, `Type/id/_history/version`, or a URL. kind: the type that a modifier like `:Patient` named."""
    plain = unescape(text)
    if ":" in plain:
        if kind:
            raise ValueError(f"is a URL, which says its type itself; write an id behind :{kind}")
        return ReferenceValue(url=plain)
    parts = plain.split("/")
    version = ""
    if len(parts) == 4 and parts[2] == "_history":
        version = parts[3]
    elif len(parts) > 2:
        raise ValueError("is no reference; write id, Type/id or an absolute URL")
    named = parts[0] if len(parts) > 1 else kind
    ident = parts[0] if len(parts) == 1 else parts[1]
    if not _is_id(ident) or (version and not _is_id(version)):
        raise ValueError("is no reference; an id is 1 to 64 letters, digits, '-' and '.'")
    if named and named not in definitions.types:
        raise ValueError(f"{definitions.release} has no resource type {named!r}{nearest(named, definitions.types)}")
    if kind and named != kind:
        raise ValueError(f"names another type than :{kind}")
    allowed = targets(parameter)
    if named and allowed and named not in allowed:
        raise ValueError(f"{parameter.name} never points to {named}, only to {', '.join(sorted(allowed))}")
    return ReferenceValue(kind=named, id=ident, version=version)


def targets(parameter: SearchParameter) -> frozenset[str]:
    """Types that a reference parameter can find; empty for any."""
    only = {path.only for path in parameter.paths}
    return frozenset(parameter.targets if "" in only else only)


def prefixed(text: str) -> tuple[str, str]:
    """Prefix and the rest; `eq` where none is written."""
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
