"""Tokens by the search page's examples, https://hl7.org/fhir/R4/search.html#token."""

from __future__ import annotations

import pytest

from .conftest import Finds

ACME = "http://acme.org/conditions/codes"
MRN = "http://acme.org/patient"


def concept(*codings: dict[str, str], text: str = "") -> dict[str, object]:
    return {"coding": list(codings), **({"text": text} if text else {})}


@pytest.mark.parametrize(
    ("search", "identifier", "found"),
    [
        (f"{MRN}|2345", {"system": MRN, "value": "2345"}, True),
        (f"{MRN}|2345", {"system": "http://other", "value": "2345"}, False),
        (f"{MRN}|2345", {"value": "2345"}, False),
        ("2345", {"system": MRN, "value": "2345"}, True),
        ("2345", {"value": "2345"}, True),
        ("|2345", {"value": "2345"}, True),
        ("|2345", {"system": MRN, "value": "2345"}, False),
        (f"{MRN}|", {"system": MRN, "value": "anything"}, True),
        (f"{MRN}|", {"value": "2345"}, False),
        ("a|b,2345", {"value": "2345"}, True),
        ("234", {"value": "2345"}, False),
        ("2345", {"value": {"wrong": "shape"}}, False),
        ("2345", "2345", False),
    ],
)
def test_system_and_code(finds: Finds, search: str, identifier: object, found: bool) -> None:
    assert finds(f"Patient?identifier={search}", identifier=[{"use": "usual"}, identifier]) is found


def test_any_coding_of_a_concept_counts_but_not_its_text(finds: Finds) -> None:
    code = concept({"system": "http://x", "code": "y"}, {"system": ACME, "code": "ha125"}, text="headache")
    assert finds(f"Condition?code={ACME}|ha125", code=code)
    assert finds("Condition?code=ha125", code=code)
    assert not finds(f"Condition?code={ACME}|y", code=code)
    assert not finds("Condition?code=headache", code=code)
    assert not finds("Condition?code=ha125", code={"coding": "ha125"})
    assert not finds("Condition?code=ha125")


def test_codes_keep_their_case_and_strings_do_not(finds: Finds) -> None:
    assert not finds("Condition?code=HA125", code=concept({"code": "ha125"}))
    assert not finds("Patient?gender=Male", gender="male")
    assert finds("ValueSet?version=V1", version="v1")
    assert not finds("Patient?_id=A", id="a")


def test_gender(finds: Finds) -> None:
    assert finds("Patient?gender=male", gender="male")
    assert not finds("Patient?gender=male", gender="female")
    assert not finds("Patient?gender=male")


def test_not_takes_also_what_has_no_value(finds: Finds) -> None:
    for other in ({"gender": "female"}, {"gender": "unknown"}, {}, {"_gender": {"extension": [{"url": "http://x"}]}}):
        assert finds("Patient?gender:not=male", **other)
    assert not finds("Patient?gender:not=male", gender="male")
    assert not finds("Patient?gender:not=male,female", gender="female")


def test_not_is_about_the_set_and_not_each_entry(finds: Finds) -> None:
    sections = [{"code": concept({"code": "48765-2"})}, {"code": concept({"code": "other"})}]
    assert finds("Composition?section=48765-2", section=sections)
    assert not finds("Composition?section:not=48765-2", section=sections)
    assert finds("Composition?section:not=48765-2", section=sections[1:])


def test_a_plain_code_has_the_system_of_its_value_set(finds: Finds) -> None:
    system = "http://hl7.org/fhir/administrative-gender"
    assert finds(f"Patient?gender={system}|male", gender="male")
    assert not finds(f"Patient?gender={system}|male", gender="female")
    assert finds(f"Patient?gender={system}|", gender="female")


def test_booleans(finds: Finds) -> None:
    assert finds("Patient?active=true", active=True)
    assert not finds("Patient?active=true", active=False)
    assert finds("Patient?active=false", active=False)
    assert not finds("Patient?active=false")
    assert not finds("Patient?active=true", active="true")


@pytest.mark.parametrize(
    ("members", "dead"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2020-01-01"}, True),
    ],
)
def test_deceased_is_a_boolean_also_where_nothing_or_a_date_stands(
    finds: Finds, members: dict[str, object], dead: bool
) -> None:
    assert finds("Patient?deceased=true", **members) is dead
    assert finds("Patient?deceased=false", **members) is not dead
    assert finds("Patient?deceased:missing=true", **members) is (not members)


def test_contact_points_are_found_by_value_and_by_kind(finds: Finds) -> None:
    telecom = [{"system": "phone", "value": "555"}, {"system": "email", "value": "a@b"}]
    assert finds("Patient?telecom=555", telecom=telecom)
    assert finds("Patient?phone=555", telecom=telecom)
    assert not finds("Patient?email=555", telecom=telecom)
    assert finds("Patient?email=a@b", telecom=telecom)


def test_tags_and_security_labels(finds: Finds) -> None:
    meta = {"tag": [{"system": "http://t", "code": "a"}], "security": [{"system": "http://s", "code": "R"}]}
    assert finds("Patient?_tag=http://t|a", meta=meta)
    assert not finds("Patient?_security=http://t|a", meta=meta)
    assert finds("Patient?_security=R&_tag=a", meta=meta)
    assert not finds("Patient?_security=R&_tag=b", meta=meta)


def test_missing(finds: Finds) -> None:
    assert finds("Observation?code:missing=true")
    assert finds("Observation?code:missing=true", code={"extension": [{"url": "http://x"}]})
    assert finds("Observation?code:missing=false", code={"text": "only text"})
    assert not finds("Observation?code:missing=false", code={"id": "1"})
    assert finds("Observation?value-quantity:missing=true", valueString="x")
    assert finds("Patient?phone:missing=true", telecom=[{"system": "email", "value": "a@b"}])


def test_an_escaped_mark_is_part_of_the_code(finds: Finds) -> None:
    assert finds(r"Observation?code=a\,b", code=concept({"code": "a,b"}))
    assert not finds("Observation?code=a,b", code=concept({"code": "a,b"}))
    assert finds("Observation?code=a,b", code=concept({"code": "b"}))
    assert finds(r"Observation?code=s|a\|b", code=concept({"system": "s", "code": "a|b"}))
    assert finds(r"Observation?code=a\\b", code=concept({"code": "a\\b"}))
    assert finds(r"Observation?code=a\$b", code=concept({"code": "a$b"}))
    assert finds("Observation?code=a%5C%2Cb", code=concept({"code": "a,b"}))
    assert finds("Observation?code=a%2Cb", code=concept({"code": "b"}))
    assert finds("Observation?code=A+", code=concept({"code": "A+"}))
    assert finds("Observation?code=a%26b", code=concept({"code": "a&b"}))
