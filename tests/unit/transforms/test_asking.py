"""What a request may ask of filters and elements: all problems at once, equal ones alike (S68, S81, B48-B50, L5)."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from fhirferry.bulkdata.kickoff import export_url, parse_export_url
from fhirferry.fhir.problems import RequestProblems
from fhirferry.model.request import ExportRequest
from fhirferry.transforms import asking
from fhirferry.transforms.asking import NOT_YET, USUALLY_REFERENCED, canonical, ignored, refuse_problems
from fhirferry.transforms.kickoff import asked


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


def test_what_comes_along_may_be_filtered_and_cut_without_being_in_types() -> None:
    request = ExportRequest(
        types=("Encounter",),
        include_referenced=("Practitioner",),
        type_filters=("Practitioner?active=true",),
        elements=("Practitioner.name",),
    )
    refuse_problems(request, ("Encounter",))
    with pytest.raises(RequestProblems):
        refuse_problems(msgspec.structs.replace(request, types=None), ("Encounter",))


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


def test_s68_the_same_from_a_library_as_from_a_kick_off() -> None:
    """One rule for all doors: a filter needs its type in `_type`."""
    with pytest.raises(RequestProblems) as caught:
        asked([("_typeFilter", "Patient?gender=male")])
    assert [str(one) for one in caught.value.problems] == [
        ": ".join((parameter, repr(value), reason))
        for parameter, value, reason in problems(type_filters=("Patient?gender=male",))
    ]


@pytest.fixture
def all_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "NOT_YET", {})


def referenced(**fields: object) -> tuple[str, ...] | None:
    return canonical(ExportRequest(**fields)).include_referenced  # type: ignore[arg-type]


def test_b22_l32_what_usually_comes_along_with_patients_and_groups() -> None:
    assert set(USUALLY_REFERENCED) == {
        "Device", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"
    }  # fmt: skip
    page = (Path(__file__).parents[3] / "docs" / "kick-off.md").read_text("utf-8").partition("## What comes along")[2]
    assert tuple(re.findall(r"(?m)^\| `(\w+)` \|", page)) == USUALLY_REFERENCED
    assert referenced(level="patient") == USUALLY_REFERENCED
    assert referenced(level="group", group_id="g") == USUALLY_REFERENCED
    assert referenced(level="patient", types=("Patient", "Device", "Location")) == ("Device", "Location")
    assert referenced(level="patient", types=("Patient",)) == ()  # `_type` names all that is wanted (B32)


def test_b22_what_is_named_comes_and_nothing_where_none_is_named() -> None:
    assert referenced(level="patient", include_referenced=("Endpoint",), types=("Patient",)) == ("Endpoint",)
    assert referenced(level="patient", include_referenced=()) == ()
    assert referenced(include_referenced=("Practitioner",)) == ("Practitioner",)


def test_nothing_comes_along_with_the_system_or_in_organised_output_and_that_needs_no_words() -> None:
    assert referenced() is None
    assert referenced(include_referenced=()) is None
    assert referenced(level="patient", organize_output_by="Patient") is None
    assert canonical(ExportRequest()) == ExportRequest()
    assert export_url("https://h", canonical(ExportRequest(include_referenced=()))) == "https://h/$export"


def test_s81_what_has_no_effect_makes_no_difference() -> None:
    deep = ExportRequest(level="patient", types=("Patient",), reference_depth=3)
    assert canonical(deep) == canonical(ExportRequest(level="patient", types=("Patient",)))
    assert canonical(ExportRequest(level="patient", reference_depth=3)).reference_depth == 3
    explicit = ExportRequest(level="patient", include_referenced=USUALLY_REFERENCED)
    assert canonical(explicit) == canonical(ExportRequest(level="patient"))
    assert canonical(canonical(explicit)) == canonical(explicit)


def test_b43_of_conflicting_values_the_least_restrictive_wins() -> None:
    both = ExportRequest(
        include_associated_data=("LatestProvenanceResources", "RelevantProvenanceResources", "_history")
    )
    assert canonical(both).include_associated_data == ("RelevantProvenanceResources", "_history")
    one = ExportRequest(include_associated_data=("LatestProvenanceResources",))
    assert canonical(one) == one


@pytest.mark.usefixtures("all_offered")
def test_b34_types_of_which_nothing_can_go_out_are_refused() -> None:
    ((parameter, value, reason),) = problems(level="patient", types=("Practitioner", "Questionnaire"))
    assert (parameter, value) == ("_type", "Practitioner,Questionnaire")
    assert "Encounter" in reason
    group: dict[str, object] = {"level": "group", "group_id": "g"}
    assert problems(**group, types=("Organization",), include_referenced=("Organization",))
    assert problems(**group, types=("Group",)) == []
    assert problems(**group, types=("Group",), patients=("a",))
    assert problems(level="patient", types=("Practitioner", "Encounter")) == []
    assert problems(level="patient", types=("Patient",)) == []
    assert problems(types=("Practitioner",)) == []
    assert [value for _, value, _ in problems(level="patient", types=("Practitioner", "Patent"))] == ["Patent"]


@pytest.mark.usefixtures("all_offered")
def test_types_that_cannot_come_along_are_refused_by_name() -> None:
    ((parameter, value, reason),) = problems(include_referenced=("Practitoner", "Device"))
    assert (parameter, value) == ("includeReferenced", "Practitoner")
    assert "did you mean 'Practitioner'" in reason
    ((parameter, value, _),) = problems(level="patient", include_referenced=("Group",))  # L2
    assert (parameter, value) == ("includeReferenced", "Group")
    assert problems(include_referenced=("Group",)) == []
    odd = ExportRequest(include_referenced=("Wizard",))
    refuse_problems(odd, {"Wizard"})
    assert ignored(odd) == ()


@pytest.mark.usefixtures("all_offered")
@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_organised_output_has_no_place_for_what_is_nobodys(handling: str) -> None:
    organised = {"level": "patient", "organize_output_by": "Patient", "handling": handling}
    ((parameter, value, reason),) = problems(**organised, include_referenced=("Device",))
    assert (parameter, value) == ("includeReferenced", "Device")
    assert "organizeOutputBy" in reason
    assert problems(**organised) == problems(**organised, include_referenced=()) == []
    provenance = ("LatestProvenanceResources", "_deleted")
    ((parameter, value, _),) = problems(**organised, include_associated_data=provenance)
    assert (parameter, value) == ("includeAssociatedData", "LatestProvenanceResources")
    assert problems(**organised, include_associated_data=("_deleted",)) == []
    assert [parameter for parameter, _, _ in problems(**organised, types=("Group",))] == ["_type"]


@pytest.mark.usefixtures("all_offered")
def test_b16_b50_lenient_does_without_types_that_cannot_come_along_and_tells() -> None:
    request = canonical(
        ExportRequest(level="patient", include_referenced=("Practitoner", "Group", "Device"), handling="lenient")
    )
    refuse_problems(request, ())
    told = [issue.diagnostics for issue in ignored(request)]
    assert len(told) == 2
    assert "'Group'" in told[0]
    assert "'Practitoner'" in told[1]


def test_b16_what_was_passed_over_at_kick_off_is_told_in_the_error_file() -> None:
    request = ExportRequest(handling="lenient", passed_over=("_pretty: 'true': has no place here",))
    (issue,) = ignored(canonical(request))
    assert issue.severity == "warning"
    assert issue.diagnostics.endswith("_pretty: 'true': has no place here")
    assert request.hash("") != ExportRequest(handling="lenient").hash("")


OTHERS: dict[str, dict[str, object]] = {
    "level": {"level": "patient"},
    "group_id": {"level": "group", "group_id": "g"},
    "patients": {"level": "patient", "patients": ("a",)},
    "patient_list": {"level": "patient", "patient_list": "0" * 64},
    "include_associated_data": {"include_associated_data": ("LatestProvenanceResources",)},
    "include_referenced": {"include_referenced": ("Practitioner",)},
    "reference_depth": {"reference_depth": 2},
    "organize_output_by": {"level": "patient", "organize_output_by": "Patient"},
    "new_members": {"level": "group", "group_id": "g", "since": 1, "new_members": "full"},
    "left_members": {"level": "group", "group_id": "g", "since": 1, "left_members": "delete"},
}
HONOURED = {
    "url", "types", "since", "until", "type_filters", "elements", "handling", "passed_over", "release", "output_format",
}  # fmt: skip
"""What has left NOT_YET stands in OTHERS still: somebody has said how it is asked for."""


def test_l5_every_field_of_a_request_is_honoured_or_refused() -> None:
    """A field that is taken and then ignored would export more than was asked for."""
    assert set(OTHERS) | HONOURED == set(ExportRequest.__struct_fields__)
    assert set(NOT_YET) <= set(OTHERS)
    for field in NOT_YET:
        assert NOT_YET[field][0] in [parameter for parameter, _, _ in problems(**OTHERS[field])], field


def test_earlier_versions_have_no_place_in_organised_output() -> None:
    both = {"include_associated_data": ("_history",), "level": "patient", "organize_output_by": "Patient"}
    assert [(parameter, value) for parameter, value, _ in problems(**both)] == [("includeAssociatedData", "_history")]
    assert problems(include_associated_data=("_history",)) == []
