from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fhirferry.fhir.definitions import load
from fhirferry.fhir.search.filters import read_type_filters
from fhirferry.fhir.search.matching import compile_filters

Finds = Callable[..., bool]


@pytest.fixture
def finds() -> Finds:
    """finds("Patient?gender=male", gender="male"): whether the filter takes a resource with these members."""

    def look(*texts: str, base: str | None = None, **members: Any) -> bool:
        definitions = load("R4")
        filters = read_type_filters(texts, definitions)
        (kind,) = filters.types
        matches = compile_filters(filters.of(kind), definitions, base)
        # Spelled by hand where digits matter: json.dumps would write a float.
        body = json.dumps({"resourceType": kind, **members}, ensure_ascii=False).replace('"§', "").replace('§"', "")
        return matches(body.encode())

    return look
