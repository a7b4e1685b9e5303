"""From a path of the definitions to a function: does any value there pass a test?

Theory of operation. Functions are built from the leaf outwards, once per filter, so that a resource costs only calls:
no path is read, no type looked up. What a resource holds where FHIR expects something else is no value.
"""

from __future__ import annotations

from collections.abc import Callable

from fhirferry.fhir.definitions import Path

Test = Callable[[object], bool]


def along(path: Path, leaf: Test) -> Test:
    """A test of the value of the path's first member: whether `leaf` holds for anything the path leads to."""
    test = leaf
    for index in reversed(range(len(path.steps))):
        if path.where is not None and path.where[0] == index:
            test = where(path.where[1], path.where[2], test)
        test = each(test)
        if index:
            test = member(path.steps[index], test)
    return test


def each(test: Test) -> Test:
    """For a list: any entry of it; a single value is itself."""

    def look(node: object) -> bool:
        if type(node) is list:
            for entry in node:  # noqa: SIM110 - `any` with a generator takes twice the time
                if test(entry):
                    return True
            return False
        return test(node)

    return look


def member(name: str, test: Test) -> Test:
    """For an object: its member `name`."""

    def look(node: object) -> bool:
        return type(node) is dict and test(node.get(name))

    return look


def where(name: str, value: str, test: Test) -> Test:
    """Only for objects that have `value` in their member `name`."""

    def look(node: object) -> bool:
        return type(node) is dict and node.get(name) == value and test(node)

    return look


def has_value(node: object) -> bool:
    """Whether there is more than extensions: what `:missing=false` asks for."""
    if type(node) is dict:
        return any(name not in ("id", "extension") for name in node)
    return node is not None
