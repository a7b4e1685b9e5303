from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhirferry.fhir.definitions import load
from fhirferry.fhir.problems import RequestProblems
from fhirferry.fhir.search.filters import TypeFilters, read_type_filters
from fhirferry.fhir.search.matching import compile_filters

from .conftest import Finds

R4 = load("R4")


def read(*texts: str) -> TypeFilters:
    return read_type_filters(texts, R4)


def problems(*texts: str) -> list[str]:
    with pytest.raises(RequestProblems) as caught:
        read(*texts)
    assert all(p.parameter == "_typeFilter" and p.value in " ".join(texts) for p in caught.value.problems)
    return [p.reason for p in caught.value.problems]


def test_L6_commas_belong_to_the_value() -> None:
    assert read("Observation?code=a,b").texts == ("Observation?code=a,b",)


def test_L6_a_comma_before_the_next_type_divides_filters() -> None:
    assert read("Observation?code=a,b,Condition?code=c").texts == ("Condition?code=c", "Observation?code=a,b")
    assert problems("Observation?code=a,Condtion?code=b") == [
        "R4 has no resource type 'Condtion'; did you mean 'Condition'?"
    ]
    assert read("Observation?code=a,Condition%3Fcode=b").types == {"Observation"}


def test_B47_filters_of_one_type_are_ored(finds: Finds) -> None:
    both = ("Observation?status=final", "Observation?code=a")
    assert finds(*both, status="final")
    assert finds(*both, status="draft", code={"coding": [{"code": "a"}]})
    assert not finds(*both, status="draft", code={"coding": [{"code": "b"}]})


def test_repeated_parameters_are_anded(finds: Finds) -> None:
    assert finds("Observation?category=a&category=b", category=[{"coding": [{"code": c}]} for c in "ab"])
    assert not finds("Observation?category=a&category=b", category=[{"coding": [{"code": "a"}]}])


def test_B48_a_filter_touches_its_own_type_only() -> None:
    found = read("Observation?code=a", "Patient?gender=male")
    assert found.types == {"Observation", "Patient"}
    assert [one.text for one in found.of("Patient")] == ["Patient?gender=male"]
    assert found.of("Condition") == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Observation?code=b,a,b", "Observation?code=a,b"),
        ("Observation?date=ge2020&code=a", "Observation?code=a&date=ge2020"),
        ("Observation?date=eq2020", "Observation?date=2020"),
        ("Observation?code=a&code=a", "Observation?code=a"),
        ("Observation?code=http%3A%2F%2Floinc.org%7Ca", "Observation?code=http://loinc.org|a"),
        ("Patient?family=van+der", "Patient?family=van%20der"),
        (" Observation?code=a ", "Observation?code=a"),
    ],
)
def test_equal_filters_have_one_text(one: str, other: str) -> None:
    assert read(one) == read(other) == read(one, other)
    assert read(one).texts == read(other).texts


VALUES = st.text(min_size=1, max_size=12)


@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(["code", "code:not", "_tag"]))
@example(["\xa0"], "code")  # is space to Python, and part of a code to FHIR
def test_any_code_can_be_written_and_its_canonical_text_read_again(codes: list[str], name: str) -> None:
    from urllib.parse import quote

    escaped = ["".join("\\" + c if c in "\\,|$" else c for c in code) for code in codes]
    found = read(f"Observation?{name}=" + quote(",".join(escaped)))
    assert {token.code for token in found.filters[0].criteria[0].parsed} == set(codes)
    assert read(*found.texts) == found


@given(st.text(max_size=40))
def test_no_text_breaks_the_grammar(text: str) -> None:
    for whole in (text, f"Observation?{text}", f"Observation?code={text}", f"Observation?date={text}&{text}"):
        try:
            found = read(whole)
        except RequestProblems as error:
            assert error.problems  # noqa: PT017
        else:
            assert read(*found.texts) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Observation", "says nothing about Observation"),
        ("Observation?", "says nothing about Observation"),
        ("?code=x", "begin with a resource type"),
        ("", "begin with a resource type"),
        ("Patient/p1/Condition?code=x", "one resource type"),
        ("http://host/Observation?code=x", "one resource type"),
        ("Observaton?code=x", "did you mean 'Observation'"),
        ("Observation?cod=x", "did you mean 'code'"),
        ("Observation?code", "write name=value"),
        ("Observation?=x", "write name=value"),
        ("Observation?code=a&", "write name=value"),
        ("Observation?code=", "empty value"),
        ("Observation?code=a,,b", "empty value"),
        ("Observation?code:missing=", "empty value"),
        ("Observation?code:missing=yes", "takes true or false"),
        ("Observation?code:missing=true,false", "takes true or false"),
        ("Observation?code=|", "neither system nor code"),
        ("Observation?code=a|b|c", "more than one '|'"),
        (r"Observation?code=xx\xx", "is no escape"),
        ("Observation?code=a\\", "is no escape"),
        ("Observation?code=%zz", "write a '%' itself as %25"),
        ("Observation?code=%ff", "is not UTF-8"),
        ("Patient?gender=x|male", "has another system"),
        ("Patient?active=yes", "write true or false"),
        ("Patient?active=x|true", "write the code alone"),
        ("Patient?phone=x|5", "write the code alone"),
        ("Patient?name=%2D", "no letter or digit"),
        ("Observation?date=yesterday", "is not a date"),
        ("Observation?date=eq", "is not a date"),
        ("Observation?value-quantity=5|mg", "is not a quantity"),
        ("Observation?value-quantity=x||mg", "is not a number"),
        ("RiskAssessment?probability=NaN", "is not a number"),
        ("RiskAssessment?probability=1e9999", "is not a number"),
        ("Observation?subject=Patient/", "is no reference"),
        ("Observation?subject=Patient/1/2", "is no reference"),
        ("Observation?subject=Patiant/1", "did you mean 'Patient'"),
        ("Observation?subject=Practitioner/1", "never points to Practitioner"),
        ("Observation?patient=Group/1", "never points to Group, only to Patient"),
        ("Observation?subject:Practitioner=1", "never points to Practitioner"),
        ("Observation?subject:Patient=Group/1", "another type than :Patient"),
        ("Observation?subject:Patient=http://a/Patient/1", "write an id behind :Patient"),
        # modifiers that are not offered, by name
        ("Observation?code:in=http://v", "modifier :in is not offered for code (a token); there are :missing, :not"),
        ("Observation?code:text=x", "modifier :text is not offered"),
        ("Observation?code:exact=x", "modifier :exact is not offered"),
        ("ValueSet?url:below=http://v", "modifier :below is not offered"),
        ("Observation?date:not=2020", "modifier :not is not offered"),
        ("Observation?code:nott=x", "did you mean 'not'"),
        ("QuestionnaireResponse?questionnaire:identifier=x", "modifier :identifier is not offered"),
        # what looks into other resources, or needs more than the resource
        ("Observation?subject.name=peter", "is a chain"),
        ("Observation?subject:Patient.name=peter", "is a chain"),
        ("Observation?_has:Group:member:_id=1", "_has is not offered"),
        ("Observation?code-value-quantity=a$5", "composite"),
        ("Location?near=1|2", "near is not offered"),
        ("Patient?phonetic=x", "phonetic is not offered"),
        ("Bundle?composition=Composition/1", "composition is not offered"),
        ("Observation?_text=x", "_text is not offered"),
        ("Observation?_content=x", "_content is not offered"),
        ("Observation?_list=x", "_list is not offered"),
        ("Observation?_filter=x", "_filter is not offered"),
        ("Observation?_query=x", "_query is not offered"),
        ("Observation?_type=x", "export's own _type"),
    ],
)
def test_L5_what_is_not_honoured_is_refused_and_says_what_would_be_right(text: str, reason: str) -> None:
    (found,) = problems(text)
    assert reason in found


@pytest.mark.parametrize(
    "name",
    ["_sort", "_count", "_include", "_revinclude", "_summary", "_elements", "_total", "_contained", "_containedType",
     "_format"],
)  # fmt: skip
def test_B49_result_parameters_are_refused(name: str) -> None:
    (found,) = problems(f"Observation?{name}=x")
    assert found.startswith(f"{name} shapes the answer of a search")


def test_all_problems_are_told_at_once() -> None:
    found = problems("Observation?cod=1&date=x,Condition?code:in=a", "Patiant?x=1")
    assert [next(w for w in ("cod'", "date", ":in", "Patiant") if w in reason) for reason in found] == [
        "cod'", "date", ":in", "Patiant",
    ]  # fmt: skip


def test_problems_cross_process_borders() -> None:
    import pickle

    with pytest.raises(RequestProblems) as caught:
        read("X?a=b")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)
    assert again.status_code == 400


def test_every_parameter_of_the_release_is_honoured_or_refused() -> None:
    values = {"date": "2020", "number": "1", "quantity": "1||mg", "reference": "1", "string": "a", "uri": "http://a"}
    for kind in ("Patient", "Observation", "Bundle", "ActivityDefinition", "MessageHeader", "Consent", "Location"):
        for name in R4.parameters(kind):
            for value in (values.get(R4.parameter(kind, name).type, "true"),):
                try:
                    found = read(f"{kind}?{name}={value}")
                except RequestProblems:
                    continue
                compile_filters(found.filters, R4)(b'{"resourceType":"x"}')


def test_bytes_that_are_no_object_are_an_error_of_their_own() -> None:
    matches = compile_filters(read("Observation?code=a").filters, R4)
    for body in (b"[]", b"{", b"\xff", b""):
        with pytest.raises(msgspec.MsgspecError):
            matches(body)


def test_only_the_release_that_is_asked_for_counts() -> None:
    assert read_type_filters(["Citation?status=active"], load("R4B")).types == {"Citation"}
    assert problems("Citation?status=active")[0].startswith("R4 has no resource type 'Citation'")
