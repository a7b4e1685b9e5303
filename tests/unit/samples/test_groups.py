"""Groups of several sizes, nested, empty, with inactive members."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirferry.samples import groups
from fhirferry.samples.providers import make_world
from fhirferry.samples.rng import patient_id
from tests.unit.samples.conftest import Resources


def members(group: dict[str, Any]) -> list[str]:
    return [member["entity"]["reference"] for member in group.get("member", [])]


def made(patients: int) -> dict[str, dict[str, Any]]:
    world, _ = make_world(7, patients)
    found = [json.loads(line) for line in groups.make_groups(world, patients)]
    return {group["id"].removesuffix("-7"): group for group in found}


def test_every_kind_is_there(resources: Resources) -> None:
    found = {group["id"]: group for group in resources["Group"]}
    patients = {f"Patient/{each['id']}" for each in resources["Patient"]}
    assert set(members(found["everybody-7"])) == patients
    assert [len(members(found[f"{name}-7"])) for name in ("one", "handful", "nobody")] == [1, 5, 0]
    assert "member" not in found["nobody-7"]
    assert set(members(found["nested-7"])) == {"Group/handful-7", "Group/tenth-7", "Group/nobody-7"}
    assert members(found["deeper-7"])[0] == "Group/nested-7"
    assert members(found["carers-7"])[0].startswith("Practitioner/")
    for group in found.values():
        assert group["quantity"] == len(members(group))
        assert len(set(members(group))) == len(members(group))


def test_members_who_left_have_periods() -> None:
    found = made(200)
    assert all(member["inactive"] for member in found["former"]["member"])
    states = {member["inactive"] for member in found["tenth"]["member"]}
    assert states == {True, False}
    for member in found["tenth"]["member"]:
        assert ("end" in member["period"]) == member["inactive"]
        assert member["period"]["start"] < member["period"].get("end", "9")


def test_a_group_too_large_for_one_resource_is_a_group_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "AT_MOST", 10)
    found = made(35)
    parts = members(found["everybody"])
    assert parts == ["Group/from-1-7", "Group/from-11-7", "Group/from-21-7", "Group/from-31-7"]
    everybody = [name for part in parts for name in members(found[part[6:-2]])]
    assert everybody == [f"Patient/{patient_id(7, index).decode()}" for index in range(35)]
    assert all(len(members(group)) <= 10 for name, group in found.items() if name != "former")


def test_a_single_patient_makes_all_groups_too() -> None:
    assert [len(members(group)) for group in made(1).values()] == [1, 1, 1, 1, 1, 0, 3, 2, 2]
