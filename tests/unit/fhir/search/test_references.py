"""References by the search page's examples, https://hl7.org/fhir/R4/search.html#reference."""

from __future__ import annotations

import pytest

from .conftest import Finds

BASE = "http://example.org/fhir"


@pytest.mark.parametrize(
    ("search", "reference", "found"),
    [
        ("subject=Patient/123", "Patient/123", True),
        ("subject=Patient/123", f"{BASE}/Patient/123", True),
        ("subject=Patient/123", "http://other/Patient/123", False),
        ("subject=Patient/123", "Group/123", False),
        ("subject=Patient/12", "Patient/123", False),
        (f"subject={BASE}/Patient/123", f"{BASE}/Patient/123", True),
        (f"subject={BASE}/Patient/123", "Patient/123", True),
        ("subject=http://other/Patient/1", "http://other/Patient/1", True),
        ("subject=http://other/Patient/1", "Patient/1", False),
        ("subject=123", "Patient/123", True),
        ("subject=123", "Group/123", True),
        ("subject=123", f"{BASE}/Patient/123", True),
        ("subject=123", "http://other/Patient/123", False),
        ("subject=123", "#123", False),
        ("subject:Patient=23", "Patient/23", True),
        ("subject:Patient=23", "Group/23", False),
        ("subject:Patient=Patient/23", "Patient/23", True),
        ("patient=23", "Patient/23", True),
        ("patient=23", "Group/23", False),
        ("patient=Patient/23", "Patient/23", True),
        ("patient=urn:uuid:1", "urn:uuid:1", False),
        ("subject=urn:uuid:1", "urn:uuid:1", True),
        ("subject=Patient/1", "Patient/1/_history/2", True),
        ("subject=Patient/1/_history/2", "Patient/1/_history/2", True),
        ("subject=Patient/1/_history/2", "Patient/1", False),
        ("subject=Patient/1,Group/2", "Group/2", True),
    ],
)
def test_the_forms_of_a_reference(finds: Finds, search: str, reference: str, found: bool) -> None:
    assert finds(f"Observation?{search}", subject={"reference": reference}, base=BASE) is found


def test_the_type_of_a_reference_that_does_not_show_it(finds: Finds) -> None:
    assert finds("Observation?patient=urn:uuid:1", subject={"reference": "urn:uuid:1", "type": "Patient"})
    assert not finds("Observation?patient=urn:uuid:1", subject={"reference": "urn:uuid:1", "type": "Group"})


def test_a_reference_without_a_literal_matches_no_literal(finds: Finds) -> None:
    for subject in ({"display": "Peter"}, {"identifier": {"value": "1"}}, "Patient/1", {"reference": 1}):
        assert not finds("Observation?subject=Patient/1", subject=subject)
        assert not finds("Observation?subject=1", subject=subject)


@pytest.mark.parametrize(
    ("search", "reference", "found"),
    [
        ("subject=Patient/1", f"{BASE}/Patient/1", True),
        ("subject=Patient/1", f"{BASE}/Patient/1/_history/2", True),
        ("subject=Patient/1/_history/2", f"{BASE}/Patient/1/_history/2", True),
        ("subject=Patient/1/_history/2", f"{BASE}/Patient/1", False),
        ("subject=Patient/1", f"{BASE}/Patient/11", False),
        ("subject=Patient/1", f"{BASE}/Group/1", False),
        ("subject=Patient/1", "urn:uuid:1", False),
        ("subject=Patient/1", f"{BASE}/Patient/1?x", False),
        ("subject=1", f"{BASE}/Group/1", True),
        ("patient=1", f"{BASE}/Group/1", False),
        (f"subject={BASE}/Patient/1", "Patient/1", True),
        (f"subject={BASE}/Patient/1", f"{BASE}/Patient/1", True),
        (f"subject={BASE}/Patient/1", "http://third/Patient/1", False),
    ],
)
def test_without_a_base_a_resource_is_known_by_type_and_id_alone(
    finds: Finds, search: str, reference: str, found: bool
) -> None:
    assert finds(f"Observation?{search}", subject={"reference": reference}) is found


def test_identifier_looks_at_the_references_own_identifier(finds: Finds) -> None:
    search = "Observation?subject:identifier=http://example.org/fhir/mrn|12345"
    mrn = {"system": "http://example.org/fhir/mrn", "value": "12345"}
    assert finds(search, subject={"reference": "Patient/abc", "identifier": mrn})
    assert not finds(search, subject={"reference": "Patient/abc"})
    assert not finds(search, subject={"identifier": {**mrn, "value": "1"}})
    assert finds(search.replace("subject", "patient"), subject={"identifier": mrn})
    assert not finds(search.replace("subject", "patient"), subject={"identifier": mrn, "type": "Group"})


def test_missing_counts_only_references_to_the_parameters_type(finds: Finds) -> None:
    assert finds("Observation?patient:missing=true", subject={"reference": "Group/1"})
    assert finds("Observation?patient:missing=false", subject={"reference": "Patient/1"})
    assert finds("Observation?subject:missing=false", subject={"reference": "Group/1"})
    assert finds("Observation?subject:missing=true", subject=None)


def test_canonicals_are_found_with_and_without_their_version(finds: Finds) -> None:
    assert finds("QuestionnaireResponse?questionnaire=http://q", questionnaire="http://q|3")
    assert finds("QuestionnaireResponse?questionnaire=http://q|3", questionnaire="http://q|3")
    assert not finds("QuestionnaireResponse?questionnaire=http://q|2", questionnaire="http://q|3")
    assert finds("QuestionnaireResponse?questionnaire=Questionnaire/3", questionnaire="Questionnaire/3")


def test_conditions_on_the_way_to_a_reference(finds: Finds) -> None:
    related = [{"type": "depends-on", "resource": "http://a"}, {"type": "predecessor", "resource": "http://b"}]
    assert finds("Library?depends-on=http://a", relatedArtifact=related)
    assert not finds("Library?depends-on=http://b", relatedArtifact=related)


def test_b24_what_follows_the_id_must_be_a_version(finds: Finds) -> None:
    """As for compartments: else a filter would find what an export of the patient does not bring."""
    assert finds("Observation?patient=Patient/1", subject={"reference": "Patient/1/_history/3"})
    assert not finds("Observation?patient=Patient/1", subject={"reference": "Patient/1/_history/"})
    assert not finds("Observation?patient=Patient/1", subject={"reference": "Patient/1/_history/3/4"})
