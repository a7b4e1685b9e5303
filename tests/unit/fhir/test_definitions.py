from __future__ import annotations

import json
from pathlib import Path as File

import pytest

from fhirferry.fhir import definitions, types
from fhirferry.fhir.definitions import Definitions, Element, Path, load
from fhirferry.model.errors import RequestError


@pytest.fixture(params=definitions.RELEASES)
def each(request: pytest.FixtureRequest) -> Definitions:
    return load(request.param)


def test_types_are_those_of_the_release(each: Definitions) -> None:
    assert each.types == {"R4": types.R4, "R4B": types.R4B}[each.release]
    assert not each.types & {"Resource", "DomainResource", "Element"}


def test_L28_an_unknown_type_is_refused_by_name_and_the_nearest_suggested(each: Definitions) -> None:
    for ask in (each.parameters, each.compartment, each.elements, each.references, each.check_type):
        with pytest.raises(RequestError, match="no resource type 'Observaton'; did you mean 'Observation'"):
            ask("Observaton")
    with pytest.raises(RequestError, match="'patient'; did you mean 'Patient'"):
        each.check_type("patient")
    with pytest.raises(RequestError, match=r"'Xyzzy'$"):
        each.check_type("Xyzzy")


def test_an_unknown_search_parameter_is_refused_by_name_and_the_nearest_suggested(each: Definitions) -> None:
    with pytest.raises(RequestError, match="Observation has no search parameter 'cod'; did you mean 'code'"):
        each.parameter("Observation", "cod")
    with pytest.raises(RequestError, match="'_lastupdated'; did you mean '_lastUpdated'"):
        each.parameter("Patient", "_lastupdated")


def test_an_unknown_release_is_refused() -> None:
    with pytest.raises(RequestError, match="'R5' is not offered; there are R4 and R4B"):
        load("R5")


def test_choices_of_types_are_json_names(each: Definitions) -> None:
    value = each.parameter("Observation", "value-quantity")
    assert value.type == "quantity"
    assert [(p.steps, p.type) for p in value.paths] == [
        (("valueQuantity",), "Quantity"),
        (("valueSampledData",), "SampledData"),
    ]
    date = each.parameter("Observation", "date")
    assert {p.steps[0] for p in date.paths} == {
        "effectiveDateTime", "effectivePeriod", "effectiveTiming", "effectiveInstant",
    }  # fmt: skip
    text = each.parameter("Observation", "value-string").paths
    assert [p.steps for p in text] == [("valueString",), ("valueCodeableConcept", "text")]


def test_conditions_inside_expressions_are_kept(each: Definitions) -> None:
    assert each.parameter("Patient", "phone").paths == (
        Path(steps=("telecom",), type="ContactPoint", where=(0, "system", "phone")),
    )
    assert each.parameter("Observation", "patient").paths == (
        Path(steps=("subject",), type="Reference", only="Patient"),
    )
    (depends, _) = each.parameter("ActivityDefinition", "depends-on").paths
    assert (depends.steps, depends.where) == (("relatedArtifact", "resource"), (0, "type", "depends-on"))
    assert each.parameter("Patient", "deceased").paths == (Path(steps=("deceased",), type="present"),)


def test_parameters_of_every_resource_are_known(each: Definitions) -> None:
    assert each.parameter("Binary", "_id").paths == (Path(steps=("id",), type="string"),)
    assert each.parameter("Basic", "_lastUpdated").paths == (Path(steps=("meta", "lastUpdated"), type="instant"),)
    assert {"_id", "_tag", "_profile", "_security", "_source", "code"} <= each.parameters("Observation")


def test_paths_through_data_types_and_paths_without_a_type_in_front(each: Definitions) -> None:
    assert each.parameter("Patient", "family").paths[0].steps == ("name", "family")
    assert [p.steps for p in each.parameter("InsurancePlan", "name").paths] == [("name",), ("alias",)]


def test_R4B_codeable_references_are_looked_into() -> None:
    found = load("R4B").parameter("ClinicalUseDefinition", "indication").paths
    assert found[0] == Path(steps=("indication", "diseaseSymptomProcedure", "concept"), type="CodeableConcept")


def test_targets_of_references(each: Definitions) -> None:
    assert {"Device", "Group", "Location", "Patient"} <= set(each.parameter("Observation", "subject").targets)
    assert each.parameter("Observation", "focus").targets == ()


def test_B21_patient_compartment(each: Definitions) -> None:
    assert [p.steps for p in each.compartment("Observation")] == [("subject",), ("performer",)]
    assert all(p.only == "Patient" for kind in each.types for p in each.compartment(kind))
    assert [p.steps for p in each.compartment("Appointment")] == [("participant", "actor")]
    assert [p.steps for p in each.compartment("Patient")] == [("link", "other")]
    assert each.compartment("Medication") == ()
    assert len([kind for kind in each.types if each.compartment(kind)]) == 66


def test_B36_mandatory_and_modifier_elements(each: Definitions) -> None:
    assert each.mandatory("Observation") == {"status", "code"}
    assert each.modifiers("Observation") == {"implicitRules", "modifierExtension", "status"}
    assert each.mandatory("MedicationRequest") >= {"medicationCodeableConcept", "medicationReference", "subject"}
    assert each.modifiers("Patient") >= {"active", "deceasedBoolean", "deceasedDateTime", "link"}


def test_elements_come_in_the_specifications_order(each: Definitions) -> None:
    names = [e.name for e in each.elements("Patient")]
    assert names[:4] == ["id", "meta", "implicitRules", "language"]
    assert names.index("identifier") < names.index("name") < names.index("link")
    assert Element(name="birthDate", members=("birthDate",), mandatory=False, modifier=False) in each.elements(
        "Patient"
    )


def test_references_of_a_type(each: Definitions) -> None:
    found = dict(each.references("Patient"))
    assert found["generalPractitioner",] == ("Organization", "Practitioner", "PractitionerRole")
    assert ("link", "other") in found
    assert ("contained",) not in found
    assert dict(each.references("Observation"))["focus",] == ()


@pytest.mark.parametrize("release", definitions.RELEASES)
def test_every_row_can_be_read(release: str) -> None:
    table = load(release)
    for kind in table.types:
        assert table.elements(kind)
        assert table.references(kind) is not None
        for name in table.parameters(kind):
            parameter = table.parameter(kind, name)
            assert all(path.steps and path.type for path in parameter.paths)


@pytest.mark.parametrize("release", ["r4", "r4b"])
def test_the_notice_of_HL7_is_in_the_data(release: str) -> None:
    path = File(definitions.__file__).with_name(f"{release}.json")
    notice = json.loads(path.read_text("utf-8"))["notice"]
    assert "FHIR® is a registered trademark of Health Level Seven International" in notice
    assert "CC0" in notice
    assert path.stat().st_size < 180_000


def test_no_table_is_read_before_somebody_asks() -> None:
    import subprocess
    import sys

    code = "import fhirferry.fhir.types, fhirferry.fhir.definitions as d; assert d.load.cache_info().currsize == 0"
    subprocess.run([sys.executable, "-c", code], check=True)
