"""Whose a resource is (B21, S8)."""

from __future__ import annotations

import json

import msgspec
import pytest

from fhirferry.fhir import membership
from fhirferry.fhir.definitions import RELEASES, load
from fhirferry.fhir.resource import read_resource


def whose(**members: object) -> tuple[str, ...]:
    return read_resource(json.dumps({"id": "x", **members}).encode()).patients


def ref(reference: str) -> dict[str, str]:
    return {"reference": reference}


def test_every_release_has_the_same_compartment() -> None:
    """Memberships are computed once, by R4: else a store would have to know of which release its resources are."""
    r4, r4b = (load(name) for name in RELEASES)
    for kind in r4.types | r4b.types:
        paths = [each.compartment(kind) if kind in each.types else () for each in (r4, r4b)]
        assert paths[0] == paths[1], kind
        assert (kind in membership.types()) == bool(paths[0])
        assert all(path.where is None for path in paths[0]), "the way here knows no conditions"


@pytest.mark.parametrize("kind", sorted(membership.types()))
def test_b21_each_path_of_each_type_of_the_compartment(kind: str) -> None:
    for path in load("R4").compartment(kind):
        for lists in (False, True):
            value: object = ref("Patient/p")
            for step in reversed(path.steps):
                value = {step: [value] if lists else value}
            assert isinstance(value, dict)
            assert "p" in whose(resourceType=kind, **value), (path.steps, lists)


def test_a_patient_is_in_its_own_compartment_and_in_those_of_its_links() -> None:
    assert whose(resourceType="Patient") == ("x",)
    link = [{"other": ref("Patient/y")}, {"other": ref("RelatedPerson/z")}, {"other": ref("Patient/x")}]
    assert whose(resourceType="Patient", link=link) == ("x", "y")


def test_each_patient_once_in_the_order_of_the_paths() -> None:
    performers = [ref("Patient/b"), ref("Practitioner/c"), ref("Patient/a")]
    assert whose(resourceType="Observation", subject=ref("Patient/a"), performer=performers) == ("a", "b")


def test_one_patient_stands_for_all_in_a_group() -> None:
    members = [{"entity": ref("Device/d")}, {"entity": ref("Patient/a")}, {"entity": ref("Patient/b")}]
    assert whose(resourceType="Group", member=members) == ("a",)
    assert whose(resourceType="Group", member=members[:1]) == ()


@pytest.mark.parametrize(
    "odd", [None, 7, "Patient/a", True, [[None]], {}, {"reference": 5}, {"reference": None}, [3, {}]]
)
def test_another_shape_than_fhirs_is_no_reference_and_no_error(odd: object) -> None:
    assert whose(resourceType="Observation", subject=odd, performer=[ref("Patient/b")]) == ("b",)
    assert whose(resourceType="Appointment", participant=odd) == ()
    assert whose(resourceType="Appointment", participant=[{"actor": odd}, {"actor": ref("Patient/b")}]) == ("b",)


def test_escapes_and_odd_numbers_beside_a_reference_do_not_matter() -> None:
    subject = rb'{"x":1e999,"reference":"Patient\/\u0061"}'
    performer = b'[{"y":-1e999},{"reference":"Patient/b"}]'
    body = b'{"resourceType":"Observation","id":"x","subject":%b,"performer":%b}' % (subject, performer)
    assert read_resource(body).patients == ("a", "b")


def test_types_outside_the_compartment_and_unknown_ones_have_none() -> None:
    for kind in ("Practitioner", "Binary", "Provenanc", "SubscriptionTopic"):
        assert whose(resourceType=kind, subject=ref("Patient/a"), patient=ref("Patient/a")) == ()


def test_in_body_is_the_same_and_takes_anything() -> None:
    body = b'{"resourceType":"Observation","id":"x","subject":{"reference":"Patient/a"}}'
    assert membership.in_body("Observation", "x", body) == ("a",)
    for broken in (b"", b"[]", b"{", b'{"subject":{"reference":"Patient/a"}', b'{"subject":"\xff"}'):
        assert membership.in_body("Observation", "x", broken) == ()


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("Group/g", ("Group", "g")),
        ("https://h:8080/a/b/Patient/1.2-3/_history/7", ("Patient", "1.2-3")),
        ("HTTP://h/Patient/a", ("Patient", "a")),
        ("ftp://h/Patient/a", ("", "")),
        ("http:///Patient/a", ("", "")),
        ("Patient/a/b", ("", "")),
        ("Patient/a?x=1", ("", "")),
        ("Patient/a#b", ("", "")),
        ("Patient/" + "a" * 65, ("", "")),
        ("Patient/", ("", "")),
        ("Patient/a\n", ("", "")),
    ],
)
def test_b24_targets(reference: str, found: tuple[str, str]) -> None:
    assert membership.target(reference) == found


def test_it_crosses_processes_with_the_resource() -> None:
    read = read_resource(b'{"resourceType":"Patient","id":"x"}')
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=type(read)) == read
