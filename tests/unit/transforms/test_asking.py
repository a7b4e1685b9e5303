"""What a request may ask of filters and elements: all problems at once, equal ones alike (S68, S81, B48-B50, L5)."""

from __future__ import annotations

import pytest

from fhirferry.bulkdata.kickoff import export_url, parse_export_url
from fhirferry.fhir.problems import RequestProblems
from fhirferry.model.request import ExportRequest
from fhirferry.transforms.asking import NOT_YET, canonical, ignored, refuse_problems


def problems(**fields: object) -> list[tuple[str, str, str]]:
    try:
        refuse_problems(ExportRequest(**fields), ())  # type: ignore[arg-type]
    except RequestProblems as wrong:
        return [(one.parameter, one.value, one.reason) for one in wrong.problems]
    return []


def test_b50_all_that_is_wrong_is_told_at_once_with_parameter_value_and_reason() -> None:
    found = problems(
        types=("Patent", "Observation"),
        type_filters=("Observation?cod=x", "Observation?code=x&_sort=date", "Patient?gender=male"),
        elements=("Patient.nmae", "Observation.code", "smurf"),
    )
    assert [(parameter, value) for parameter, value, _ in found] == [
        ("_type", "Patent"),
        ("_typeFilter", "Observation?cod=x"),
        ("_typeFilter", "Observation?code=x&_sort=date"),
        ("_typeFilter", "Patient?gender=male"),
        ("_elements", "Patient.nmae"),
        ("_elements", "smurf"),
    ]
    assert "did you mean 'Patient'" in found[0][2]
    assert "did you mean 'code'" in found[1][2]


def test_a_type_that_the_source_has_may_be_asked_for() -> None:
    refuse_problems(ExportRequest(types=("Wizard",)), {"Wizard"})
    assert problems(types=("Citation",)) == []  # of R4B


@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_s68_a_filter_without_its_type_in_types_is_refused(handling: str) -> None:
    ((parameter, value, reason),) = problems(type_filters=("Patient?gender=male",), handling=handling)
    assert (parameter, value) == ("_typeFilter", "Patient?gender=male")
    assert "needs _type" in reason
    ((_, _, reason),) = problems(types=("Observation",), type_filters=("Patient?gender=male",), handling=handling)
    assert "not in _type" in reason
    assert problems(types=("Observation", "Patient"), type_filters=("Patient?gender=male",), handling=handling) == []


def test_b50_lenient_never_passes_over_what_would_widen_disclosure() -> None:
    for wrong in (
        {"types": ("Patient",), "type_filters": ("Patient?nonsense=1",)},
        {"elements": ("Pasient.name",)},  # nobody knows which type was to be cut
        {"types": ("Patent",)},
    ):
        assert problems(handling="lenient", **wrong)


def test_b50_lenient_passes_over_an_unknown_element_and_tells() -> None:
    request = canonical(ExportRequest(types=("Patient",), elements=("Patient.nmae", "Group.name"), handling="lenient"))
    assert request.elements == ("Group.name", "Patient.nmae")  # what is passed over still narrows
    refuse_problems(request, ())
    told = ignored(request)
    assert [issue.severity for issue in told] == ["warning", "warning"]
    assert "Group is not in _type" in told[0].diagnostics
    assert "did you mean 'name'" in told[1].diagnostics
    strict = ExportRequest(types=("Patient",), elements=("Patient.name",))
    assert ignored(strict) == ()


def test_s81_equal_requests_have_equal_hashes() -> None:
    one = ExportRequest(
        types=("Patient", "Observation"),
        type_filters=("Observation?date=eq2020&code=b,a,b", "Patient?gender=male,female"),
        elements=("value[x]", "Patient.name", "id"),
    )
    other = ExportRequest(
        types=("Observation", "Patient"),
        type_filters=("Patient?gender=female,male,Observation?code=a,b&date=2020",),
        elements=("id", "value", "Patient.name", "id"),
    )
    assert canonical(one) == canonical(other)
    assert canonical(one).hash("") == canonical(other).hash("")
    assert canonical(canonical(one)) == canonical(one)
    assert one.hash("") != other.hash("")


@pytest.mark.parametrize(
    "text",
    [
        r"Observation?code=http://loinc.org|8302-2,http://a\,b|c\$d&date=ge2020-01-01T10:00:00%2B01:00",
        "Patient?name=J%C3%BCrgen van%26%25 der,Berg&birthdate=lt1970",
        "Observation?combo-code:not=a%2Bb&_tag=x%3Fy%23z",
    ],
)
def test_the_kick_off_url_carries_filters_and_elements_there_and_back(text: str) -> None:
    kinds = ("Observation", "Patient")
    request = canonical(
        ExportRequest(types=kinds, type_filters=(text, "Patient?active=true"), elements=("id", "Patient.name"))
    )
    assert len(request.type_filters) == 2
    url = export_url("sqlite:///srv/store.db", request)
    assert url.isascii()
    assert not set(url) & set(' "<>\\^`{}|')
    again = parse_export_url(url)
    assert canonical(again).hash("") == request.hash("")
    assert (again.type_filters, again.elements) == (request.type_filters, request.elements)


OTHERS: dict[str, dict[str, object]] = {
    "level": {"level": "patient"},
    "group_id": {"level": "group", "group_id": "g"},
    "patients": {"level": "patient", "patients": ("a",)},
    "include_associated_data": {"include_associated_data": ("LatestProvenanceResources",)},
    "include_referenced": {"include_referenced": ("Practitioner",)},
    "reference_depth": {"reference_depth": 2},
    "organize_output_by": {"level": "patient", "organize_output_by": "Patient"},
    "new_members": {"level": "patient", "since": 1, "new_members": "full"},
}
HONOURED = {"url", "types", "since", "until", "type_filters", "elements", "handling", "release", "output_format"}


def test_l5_every_field_of_a_request_is_honoured_or_refused() -> None:
    """A field that is taken and then ignored would export more than was asked for."""
    assert set(NOT_YET) | HONOURED == set(ExportRequest.__struct_fields__)
    assert set(OTHERS) == set(NOT_YET)
    for field, fields in OTHERS.items():
        assert NOT_YET[field][0] in [parameter for parameter, _, _ in problems(**fields)], field
