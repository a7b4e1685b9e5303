"""`--odd`: rare, but right by FHIR's rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fhirferry.fhir.types import R4
from fhirferry.samples.odd import LARGE
from tests.unit.samples.conftest import Resources
from tests.unit.samples.test_whole import ASKED


def of(resources: Resources, kind: str, ident: str) -> dict[str, Any]:
    return next(each for each in resources[kind] if each["id"] == ident)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def test_one_resource_has_25_mb(odd: Path) -> None:
    lines = (odd / "DocumentReference.ndjson").read_bytes().splitlines()
    (large,) = [line for line in lines if len(line) > 1_000_000]
    assert abs(len(large) - LARGE) < LARGE // 50
    assert json.loads(large)["content"][0]["attachment"]["size"] * 4 // 3 <= len(large)


def test_other_types_deep_nesting_and_long_ids(odd_resources: Resources) -> None:
    resources = odd_resources
    others = resources.keys() - ASKED
    assert others == {"Basic", "Questionnaire"} <= R4
    assert all(depth(of(resources, kind, "deep")) > 100 for kind in others)
    ids = {each["id"] for kind in ("Patient", "Observation") for each in resources[kind] if len(each["id"]) == 64}
    assert len(ids) == 1
    assert {"-", "."} <= set(*ids)


def test_numbers_and_texts(odd: Path, odd_resources: Resources) -> None:
    (line,) = [line for line in (odd / "Observation.ndjson").read_bytes().splitlines() if len(line) > 1_000_000]
    for number in (b"1E-7", b"1.0e+3", b"-0.00", b"100000000000000000000.10"):
        assert b'"value":' + number + b"}" in line
    assert rb"\ud83d\ude42" in (odd / "Patient.ndjson").read_bytes()
    names = [each["name"][0]["text"] for each in odd_resources["Patient"]]
    assert any("Renée 🙂 张/张" in name for name in names)


def test_groups_run_in_circles_and_one_is_only_described(odd_resources: Resources) -> None:
    resources = odd_resources
    first, second, alone = (of(resources, "Group", f"{name}-7") for name in ("loop-a", "loop-b", "loop"))
    nested = [group["member"][0]["entity"]["reference"] for group in (first, second, alone)]
    assert nested == ["Group/loop-b-7", "Group/loop-a-7", "Group/loop-7"]
    described = of(resources, "Group", "described-7")
    assert (described["actual"], "member" in described, len(described["characteristic"])) == (False, False, 1)


def test_the_usual_set_has_none_of_it(folder: Path, resources: Resources) -> None:
    ids = {each["id"] for each in resources["Group"]}
    assert not {f"{name}-7" for name in ("loop", "loop-a", "loop-b", "described")} & ids
    assert all(len(line) < 1_000_000 for path in folder.iterdir() for line in path.read_bytes().splitlines())
