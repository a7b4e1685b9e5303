"""A request is checked when it is made, and equal requests are equal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.model.errors import RequestError
from fhirferry.model.request import ExportRequest

NAMES = st.sampled_from(["Patient", "Observation", "Device", "Encounter"])


@given(st.lists(NAMES, min_size=1).flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_s81_order_and_doubles_of_types_make_no_difference(names: tuple[list[str], list[str]]) -> None:
    one, other = (ExportRequest(types=tuple(each)) for each in (names[0], names[1] + names[0]))
    assert one == other
    assert one.hash("me") == other.hash("me")
    assert one.types == tuple(sorted(set(names[0])))


def test_s81_the_hash_tells_requests_and_requestors_apart_but_not_urls() -> None:
    requests = [
        ExportRequest(),
        ExportRequest(types=("Patient",)),
        ExportRequest(since=1),
        ExportRequest(until=1),
        ExportRequest(since=1, until=2),
    ]
    hashes = {request.hash(who) for request in requests for who in ("me", "you", "")}
    assert len(hashes) == 3 * len(requests)
    assert ExportRequest(url="https://example.org/$export").hash("me") == ExportRequest().hash("me")


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": "everything"},
        {"level": "group"},
        {"level": "group", "group_id": "../etc"},
        {"group_id": "g"},
        {"level": "patient", "group_id": "g"},
        {"patients": ("a",)},
        {"level": "patient", "patients": ()},
        {"level": "patient", "patients": ("a b",)},
        {"level": "patient", "patients": ("Patient/a",)},
        {"type_filters": ("",)},
        {"elements": ("name.family",)},
        {"include_associated_data": ("everything",)},
        {"include_referenced": ("practitioner",)},
        {"reference_depth": 0},
        {"organize_output_by": "Encounter", "level": "patient"},
        {"organize_output_by": "Patient"},
        {"new_members": "all"},
        {"new_members": "full", "since": 1},
        {"new_members": "full", "level": "patient"},
        {"handling": "relaxed"},
        {"release": "R5"},
        {"output_format": "text/csv"},
        {"types": ()},
        {"types": ("patient",)},
        {"types": ("Patient", "../etc")},
        {"types": ("",)},
        {"types": ("Pätient",)},
        {"since": 5, "until": 5},
        {"since": 6, "until": 5},
    ],
)
def test_a_request_that_cannot_be_honoured_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        ExportRequest(**wrong)  # type: ignore[arg-type]


def test_an_unknown_field_is_refused_and_a_known_one_survives_json() -> None:
    request = ExportRequest(types=("Patient",), since=1, url="u")
    assert msgspec.json.decode(msgspec.json.encode(request), type=ExportRequest) == request
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"element": ["id"]}', type=ExportRequest)


EVERY_FIELD = {
    "url": "u",
    "level": "group",
    "group_id": "g",
    "types": ("Observation", "Patient"),
    "since": 1,
    "until": 2,
    "patients": ("a", "b"),
    "type_filters": ("Observation?code=1", "Patient?active=true"),
    "elements": ("Patient.name", "id"),
    "include_associated_data": ("LatestProvenanceResources", "_history"),
    "include_referenced": ("Organization", "Practitioner"),
    "reference_depth": 2,
    "organize_output_by": "Patient",
    "new_members": "full",
    "left_members": "delete",
    "handling": "lenient",
    "passed_over": ("_pretty",),
    "release": "R4B",
    "output_format": "application/fhir+ndjson",
}


def test_s81_every_field_is_part_of_the_hash_and_survives_json() -> None:
    request = ExportRequest(**EVERY_FIELD)  # type: ignore[arg-type]
    fields = {name: getattr(request, name) for name in ExportRequest.__struct_fields__}
    assert fields == EVERY_FIELD | {"patient_list": None}
    assert msgspec.json.decode(msgspec.json.encode(request), type=ExportRequest) == request
    fewer = [name for name in EVERY_FIELD if name not in ("url", "level", "group_id", "since", "output_format")]
    hashes = {request.hash("me")}
    for name in fewer:
        hashes.add(ExportRequest(**{k: v for k, v in EVERY_FIELD.items() if k != name}).hash("me"))  # type: ignore[arg-type]
    listed = {**EVERY_FIELD, "patients": None, "patient_list": "0f"}  # in the place of `patients`
    hashes.add(ExportRequest(**listed).hash("me"))  # type: ignore[arg-type]
    assert len(hashes) == 2 + len(fewer)


def test_s81_sets_are_canonical() -> None:
    for name in ("types", "patients", "type_filters", "elements", "include_associated_data", "include_referenced"):
        given = EVERY_FIELD[name]
        assert isinstance(given, tuple)
        turned = ExportRequest(**{**EVERY_FIELD, name: given[::-1] + given})  # type: ignore[arg-type]
        assert turned == ExportRequest(**EVERY_FIELD)  # type: ignore[arg-type]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        ExportRequest(level="group", patients=(), handling="lax", types=("patient",))
    for part in ("needs the group's id", "empty list of patients", "'lax'", "'patient' is not a resource type"):
        assert part in caught.value.message


def test_patients_are_not_quoted() -> None:
    with pytest.raises(RequestError) as caught:
        ExportRequest(level="patient", patients=("Jane Doe",))
    assert "Jane" not in caught.value.message


@pytest.mark.parametrize(
    ("fields", "has"),
    [
        ({}, False),
        ({"level": "patient"}, False),
        ({"level": "patient", "patients": ("a",)}, True),
        ({"level": "group", "group_id": "g"}, True),
    ],
)
def test_a_cohort_is_a_group_or_a_list(fields: dict[str, object], has: bool) -> None:
    assert ExportRequest(**fields).has_cohort is has  # type: ignore[arg-type]
