"""Numbers and quantities as ranges, in decimals: no float comes near them.

https://hl7.org/fhir/R4/search.html#number: a number that is searched for stands for all that would be rounded to it
(100 is [99.5, 100.5), 100.00 is [99.995, 100.005)); with gt, lt, ge, le, sa and eb it is exact.

An end of a resource's range is a pair (number, side): side -1 is just below the number and 1 just above it, so that
"less than 5" (`Quantity.comparator`) ends before 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import final

import msgspec

End = tuple[Decimal, int]
Ends = tuple[End, End]

_LEAST: End = (Decimal("-Infinity"), 0)
_MOST: End = (Decimal("Infinity"), 0)
_EXACT = Context(prec=200)  # more digits than a number in a filter can have
_CURRENCIES = "urn:iso:std:iso:4217"
_shape = re.compile(r"[+-]?(\d{1,40}(?:\.\d{1,40})?)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE).fullmatch


@final
class NumberValue(msgspec.Struct, frozen=True):
    """A number to search for. value: as written. low, high: all that rounds to it, [low, high)."""

    prefix: str
    value: Decimal
    low: Decimal
    high: Decimal


@final
class QuantityValue(msgspec.Struct, frozen=True):
    """A number with a unit. system: None for any; code: None for any, else the code, or without a system the unit."""

    number: NumberValue
    system: str | None = None
    code: str | None = None


def number_value(prefix: str, text: str) -> NumberValue | None:
    """None where the text is no decimal of up to 40 digits on either side of the point."""
    parts = _shape(text)
    if parts is None:
        return None
    value = Decimal(text)
    unit = int(value.as_tuple().exponent)
    digits = parts[1].replace(".", "").lstrip("0")
    if parts[2] and len(digits) < 2:
        unit -= 1  # the page's own example: 1e2 is [95, 105)
    half = Decimal((0, (5,), unit - 1))
    if prefix == "ap":
        half = max(half, _EXACT.divide(value.copy_abs(), Decimal(10)))
    return NumberValue(prefix, value, _EXACT.subtract(value, half), _EXACT.add(value, half))


def compare(wanted: NumberValue) -> Callable[[Ends], bool]:
    """The test of a resource's range for one number and its prefix."""
    value, low, high = (wanted.value, 0), (wanted.low, 0), (wanted.high, 0)
    tests: Mapping[str, Callable[[Ends], bool]] = {
        "eq": lambda r: low <= r[0] and r[1] < high,
        "ne": lambda r: not (low <= r[0] and r[1] < high),
        "gt": lambda r: r[1] > value,
        "lt": lambda r: r[0] < value,
        "ge": lambda r: r[1] >= value,
        "le": lambda r: r[0] <= value,
        "sa": lambda r: r[0] > value,
        "eb": lambda r: r[1] < value,
        "ap": lambda r: r[0] <= high and low <= r[1],
    }
    return tests[wanted.prefix]


def number_ends(node: object) -> Ends | None:
    """Of a decimal or an integer in a resource."""
    if type(node) is Decimal:
        return (node, 0), (node, 0)
    if type(node) is int:
        number = Decimal(node)
        return (number, 0), (number, 0)
    return None


def quantity_ends(node: object) -> Ends | None:
    """Of a Quantity (Age, Duration, …) or Money; its `comparator` opens one side."""
    if type(node) is not dict:
        return None
    ends = number_ends(node.get("value"))
    if ends is None:
        return None
    number = ends[0][0]
    match node.get("comparator"):
        case "<":
            return _LEAST, (number, -1)
        case "<=":
            return _LEAST, (number, 0)
        case ">":
            return (number, 1), _MOST
        case ">=":
            return (number, 0), _MOST
    return ends


def range_ends(node: object) -> Ends | None:
    """Of a Range: from `low` to `high`, open where one is missing; None where both are."""
    if type(node) is not dict:
        return None
    low, high = quantity_ends(node.get("low")), quantity_ends(node.get("high"))
    if low is None and high is None:
        return None
    return (low[0] if low else _LEAST), (high[1] if high else _MOST)


def has_unit(wanted: QuantityValue, node: dict[str, object]) -> bool:
    """Whether a Quantity or Money is in the unit that is asked for. Units are not converted."""
    if "currency" in node:
        return wanted.system in (None, _CURRENCIES) and wanted.code in (None, node["currency"])
    if wanted.system:
        return node.get("system") == wanted.system and wanted.code in (None, node.get("code"))
    return wanted.code is None or wanted.code in (node.get("code"), node.get("unit"))


def range_has_unit(wanted: QuantityValue, node: dict[str, object]) -> bool:
    """Whether the ends that a Range has are in the unit that is asked for."""
    return all(has_unit(wanted, end) for end in (node.get("low"), node.get("high")) if type(end) is dict)
