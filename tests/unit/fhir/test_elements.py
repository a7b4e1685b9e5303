from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.definitions import load
from fhirferry.fhir.elements import SUBSETTED, Elements, read_elements, select
from fhirferry.fhir.problems import RequestProblems

R4 = load("R4")
TAG = json.loads(SUBSETTED)


def cut(elements: str, body: str) -> str:
    kind = json.loads(body)["resourceType"]
    selector = read_elements([elements], R4).selector(kind, R4)
    assert selector is not None
    return selector(body.encode()).decode()


def names(elements: str, **members: Any) -> list[str]:
    return list(json.loads(cut(elements, json.dumps({"resourceType": "Patient", "id": "1", **members}))))


def test_B36_only_what_is_asked_for_stays() -> None:
    assert names("birthDate", gender="male", birthDate="2000", name=[{"family": "x"}]) == [
        "resourceType", "id", "meta", "birthDate",
    ]  # fmt: skip
    assert names("Patient.birthDate,gender", gender="male", birthDate="2000") == [
        "resourceType", "id", "meta", "gender", "birthDate",
    ]  # fmt: skip
    assert names("id", text={"status": "empty"}, contained=[{}], extension=[{}], unheard="of") == [
        "resourceType",
        "id",
        "meta",
    ]


def test_B36_mandatory_and_modifier_elements_stay() -> None:
    body = '{"resourceType":"Observation","id":"1","status":"final","code":{"text":"a"},"note":[{}],"implicitRules":"http://x"}'
    assert set(json.loads(cut("id", body))) == {"resourceType", "id", "meta", "status", "code", "implicitRules"}
    assert names("birthDate", active=True, deceasedBoolean=True, modifierExtension=[{"url": "http://x"}])[3:] == [
        "active", "deceasedBoolean", "modifierExtension",
    ]  # fmt: skip
    body = '{"resourceType":"MedicationRequest","id":"1","medicationReference":{"reference":"#m"},"authoredOn":"2020"}'
    assert "medicationReference" in json.loads(cut("status", body))


def test_extensions_of_a_primitive_go_with_it() -> None:
    members = {"birthDate": "2000", "_birthDate": {"id": "b"}, "gender": "male", "_gender": {"id": "g"}}
    assert names("birthDate", **members)[3:] == ["birthDate", "_birthDate"]


def test_choices_are_named_with_and_without_their_type() -> None:
    body = '{"resourceType":"Observation","id":"1","valueQuantity":{"value":1.50},"effectiveDateTime":"2020"}'
    for asked in ("value", "value[x]", "valueQuantity", "Observation.value"):
        assert "valueQuantity" in json.loads(cut(asked, body))
    assert "valueQuantity" not in json.loads(cut("valueString", body))
    assert "effectiveDateTime" not in json.loads(cut("value", body))


def test_B38_a_typed_element_touches_its_type_only() -> None:
    found = read_elements(["Patient.birthDate"], R4)
    assert found.selector("Observation", R4) is None
    assert found.selector("Patient", R4) is not None
    assert read_elements(["Patient.birthDate,id"], R4).selector("Observation", R4) is not None


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (None, {"tag": [TAG]}),
        ({}, {"tag": [TAG]}),
        ({"versionId": "1"}, {"versionId": "1", "tag": [TAG]}),
        ({"tag": []}, {"tag": [TAG]}),
        ({"tag": [{"code": "a"}], "source": "x"}, {"tag": [{"code": "a"}, TAG], "source": "x"}),
        ({"tag": [{**TAG, "display": "kept"}]}, {"tag": [{**TAG, "display": "kept"}]}),
        ({"tag": [{"code": "SUBSETTED"}]}, {"tag": [{"code": "SUBSETTED"}, TAG]}),
        ({"tag": ["odd"]}, {"tag": ["odd", TAG]}),
        ({"source": 'a "tag" in a text'}, {"source": 'a "tag" in a text', "tag": [TAG]}),
    ],
)
def test_B37_what_was_cut_is_tagged_once(meta: Any, expected: Any) -> None:
    body = {"resourceType": "Patient", "id": "1", **({} if meta is None else {"meta": meta}), "gender": "x"}
    for indent in (None, 1):
        once = cut("birthDate", json.dumps(body, indent=indent))
        assert list(json.loads(once)) == ["resourceType", "id", "meta"]
        assert json.loads(once)["meta"] == expected
        assert cut("birthDate", once) == once


def test_an_escaped_tag_is_a_tag() -> None:
    once = cut("id", '{"resourceType":"Patient","id":"1","meta":{"t\\u0061g":[{"code":"a"}]}}')
    assert json.loads(once)["meta"] == {"tag": [{"code": "a"}, TAG]}


def test_digits_order_and_spelling_are_untouched() -> None:
    body = (
        '{"valueQuantity":{"value":1.50,"x":1e2,"y":123456789012345678901234567890.10},"resourceType":"Observation",'
        '"note":[1],"id":"1","meta":{"versionId":"\\u0031"},"code":{"text":"\\u00e4\\/"}}'
    )
    assert cut("value", body) == body.replace('"note":[1],', "").replace(
        '{"versionId":"\\u0031"}', '{"versionId":"\\u0031","tag":[' + SUBSETTED.decode() + "]}"
    )


@given(
    st.dictionaries(
        st.sampled_from([e.members[0] for e in R4.elements("Patient")]),
        st.decimals(allow_nan=False, allow_infinity=False),
    )
)
def test_a_number_never_changes(members: dict[str, Decimal]) -> None:
    members.pop("meta", None)
    body = "{" + ",".join(['"resourceType":"Patient"', *(f'"{k}":{v:f}' for k, v in members.items())]) + "}"
    found = json.loads(cut("name,birthDate", body), parse_float=str, parse_int=str)
    whole = json.loads(body, parse_float=str, parse_int=str)
    found.pop("meta")
    modifiers = {"implicitRules", "modifierExtension", "active", "deceasedBoolean", "link"}
    assert found == {k: v for k, v in whole.items() if k in modifiers | {"resourceType", "id", "name", "birthDate"}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Patient.name.family", "is no root element"),
        ("a.b.c", "is no root element"),
        ("", "is no root element"),
        (".name", "is no root element"),
        ("Patient.", "is no root element"),
        ("Patiant.name", "did you mean 'Patient'"),
        ("Patient.birthdate", "Patient has no root element 'birthdate'; did you mean 'birthDate'"),
        ("Patient.code", "Patient has no root element 'code'"),
        ("birthdate", "no resource type has root element 'birthdate'; did you mean 'birthDate'"),
    ],
)
def test_B38_what_is_no_root_element_is_refused(text: str, reason: str) -> None:
    with pytest.raises(RequestProblems) as caught:
        read_elements([f"id,{text},Patient.xyz"], R4)
    first, second = caught.value.problems
    assert (first.parameter, first.value) == ("_elements", text)
    assert reason in first.reason
    assert second.value == "Patient.xyz"


def test_equal_selections_have_one_text() -> None:
    assert read_elements(["Patient.name, id"], R4).texts == ("Patient.name", "id")
    assert read_elements(["id", "value[x],Patient.name,id"], R4) == read_elements(["Patient.name,value,id"], R4)
    again = read_elements(read_elements(["value[x],id"], R4).texts, R4)
    assert isinstance(again, Elements)
    assert again.texts == ("id", "value")


def test_bytes_that_are_no_resource_are_an_error() -> None:
    for body in (b"[]", b"{", b'{"meta":3}', b'{"meta":{"tag":3}}'):
        with pytest.raises(msgspec.MsgspecError):
            select(body, frozenset({"meta"}))
