"""The evaluator: filters of one type become one function from a resource's bytes to yes or no.

Theory of operation. A struct is made that has only the root members which the filters look at, so the decoder steps over
all else without building it. Below a root member values are plain dicts and lists: a resource that holds something
else than FHIR expects there is no error, it has no such value. Decimals are decoded as decimals, never as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from fhirferry.fhir.definitions import Definitions, Path
from fhirferry.fhir.search import leaves
from fhirferry.fhir.search.criteria import Criterion
from fhirferry.fhir.search.filters import TypeFilter, criteria_of
from fhirferry.fhir.search.paths import Test, along, has_value

Matcher = Callable[[bytes | memoryview], bool]


def compile_filters(filters: Sequence[TypeFilter], definitions: Definitions, base: str | None = None) -> Matcher:
    """A test of a resource's JSON: whether at least one of the filters, which are of one type, holds for it.

    base: the URL of the server that the resources come from; `Patient/1` then means only references that are relative or
        begin with it. None: any http server, because a store knows a resource by type and id alone.
    The matcher raises msgspec.MsgspecError for bytes that are no JSON object.
    """
    (kind,) = {one.type for one in filters}
    compiler = _Compiler(kind, definitions, None if base is None else base.rstrip("/") + "/")
    tests = [[compiler.criterion(criterion) for criterion in one.criteria] for one in filters]
    names = list(compiler.fields)
    shape = msgspec.defstruct(
        "Roots",
        [(compiler.fields[name], Any, None) for name in names],
        rename={compiler.fields[name]: name for name in names},
        gc=False,
    )
    if any(c.parameter.type in ("number", "quantity") for c in criteria_of(filters)):
        from decimal import Decimal  # 2 ms, which other filters don't need

        decode = msgspec.json.Decoder(shape, float_hook=Decimal).decode
    else:
        decode = msgspec.json.Decoder(shape).decode

    def matches(resource: bytes | memoryview) -> bool:
        roots = decode(resource)
        for one in tests:
            for test in one:
                if not test(roots):
                    break
            else:
                return True
        return False

    return matches


class _Compiler:
    def __init__(self, kind: str, definitions: Definitions, base: str | None) -> None:
        self.choices = {element.name: element.members for element in definitions.elements(kind)}
        self.base = base
        self.fields: dict[str, str] = {}  # root member -> its name in the struct: `class` and `for` cannot be fields

    def criterion(self, criterion: Criterion) -> Test:
        """A test of the struct."""
        if criterion.modifier == "missing":
            there = self._any([self._rooted(path, leaves.value_test(path)) for path in criterion.parameter.paths])
            return _not(there) if criterion.parsed[0] else there
        found = self._any([self._rooted(path, self._leaf(path, criterion)) for path in criterion.parameter.paths])
        return _not(found) if criterion.modifier == "not" else found

    def _leaf(self, path: Path, criterion: Criterion) -> Test:
        values, modifier = criterion.parsed, criterion.modifier
        match criterion.parameter.type:
            case "string":
                return leaves.string_test(path, values, modifier)
            case "token":
                return leaves.token_test(path, values)
            case "reference" if modifier == "identifier":
                return leaves.identifier_test(path, values)
            case "reference":
                return leaves.reference_test(path, values, modifier, self.base)
            case "date":
                return leaves.date_test(path.type, values)
            case "number":
                return leaves.number_test(path.type, values)
            case "quantity":
                return leaves.quantity_test(path.type, values)
        return leaves.uri_test(path.type, values)

    def _rooted(self, path: Path, leaf: Test) -> Test:
        if path.type == "present":
            return self._present(path, leaf)
        return _of(self._field(path.steps[0]), along(path, leaf))

    def _present(self, path: Path, leaf: Test) -> Test:
        """`exists() and value != false` of a choice: always true or false, also where nothing is."""
        fields = [attrgetter(self._field(name)) for name in self.choices[path.steps[0]]]
        if leaf is has_value:
            return lambda roots: any(has_value(field(roots)) for field in fields)
        return lambda roots: leaf(any(has_value(value) and value is not False for value in [f(roots) for f in fields]))

    def _field(self, name: str) -> str:
        return self.fields.setdefault(name, f"f{len(self.fields)}")

    @staticmethod
    def _any(tests: list[Test]) -> Test:
        if len(tests) == 1:
            return tests[0]
        return lambda roots: any(test(roots) for test in tests)


def _of(field: str, test: Test) -> Test:
    get = attrgetter(field)
    return lambda roots: test(get(roots))


def _not(test: Test) -> Test:
    return lambda roots: not test(roots)
