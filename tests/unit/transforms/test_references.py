"""What lines name: found in their bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.transforms.references import names_of, references_in

TYPES = ("Location", "Organization", "Practitioner", "PractitionerRole")


def line(**content: Any) -> bytes:
    return json.dumps({"resourceType": "Encounter", "id": "e", **content}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("Practitioner/1", {"Practitioner/1"}),
        ("PractitionerRole/1", {"PractitionerRole/1"}),
        ("Practitioner/1/_history/7", {"Practitioner/1"}),
        ("https://example.org/fhir/Practitioner/1", {"Practitioner/1"}),
        ("http://example.org/a/b/Location/x.y-Z/_history/2", {"Location/x.y-Z"}),
        ("Patient/1", set()),
        ("PractitionerX/1", set()),
        ("Practitioner/", set()),
        ("Practitioner?identifier=a|Practitioner/1", set()),
        ("https://example.org/fhir/Practitioner?x=Practitioner/1", set()),
        ("#Practitioner/1", set()),
        ("urn:uuid:Practitioner/1", set()),
        ("Practitioner/" + "a" * 65, set()),
        ("Practitioner/1/extra", set()),
    ],
)
def test_l33_only_literal_references_of_the_wanted_types_are_followed(reference: str, named: set[str]) -> None:
    assert references_in(line(subject={"reference": reference}), TYPES) == named


def test_l33_references_at_any_depth_and_in_contained_resources_are_found_once() -> None:
    body = line(
        contained=[{"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/1"}}],
        participant=[{"individual": {"reference": "Practitioner/2"}}, {"individual": {"reference": "Practitioner/1"}}],
        location=[{"location": {"reference": "Location/3"}}],
    )
    assert references_in(body + body, TYPES) == {"Practitioner/1", "Practitioner/2", "Location/3"}


def test_text_that_looks_like_a_reference_is_none() -> None:
    assert (
        references_in(line(text='"reference":"Practitioner/1"', display='{"reference" : "Location/1"}'), TYPES) == set()
    )


@pytest.mark.parametrize("body", [b'{"a":{"reference" : "Location/1"}}\n', b'{"a":{"reference": "Location\\/1"}}\n'])
def test_white_space_and_escaped_slashes_hide_no_reference(body: bytes) -> None:
    assert references_in(body, TYPES) == {"Location/1"}


def naive(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(naive, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(naive, value.values()))
    reference = value.get("reference")
    if isinstance(reference, str) and reference.count("/") == 1:
        kind, ident = reference.split("/")
        if kind in TYPES and ident.isascii() and ident.replace("-", "").replace(".", "").isalnum() and len(ident) < 65:
            found.add(reference)
    return found


words = st.sampled_from(
    ["Practitioner/1", "Location/2", "Patient/3", '"reference":"Location/9"', "reference", "\\", '"', "a/b"]
) | st.text(max_size=8)
trees = st.recursive(
    words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=12
)


@given(trees, st.booleans())
def test_the_bytes_hold_the_references_that_the_object_holds(tree: Any, ascii_only: bool) -> None:
    body = json.dumps(
        {"resourceType": "X", "id": "x", "a": tree}, ensure_ascii=ascii_only, separators=(",", ":")
    ).encode()
    assert references_in(body + b"\n", TYPES) == naive(tree)


def test_every_line_has_its_name_however_it_begins() -> None:
    body = b'{"resourceType":"Patient","id":"a"}\n{"id":"b","meta":{},"resourceType":"Patient"}\n'
    assert list(names_of(body)) == ["Patient/a", "Patient/b"]
    with pytest.raises(msgspec.ValidationError):
        list(names_of(b'{"id":"b"}\n'))
