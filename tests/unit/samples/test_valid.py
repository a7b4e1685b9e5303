"""FHIR R4 holds: elements that are required, codes of required bindings, no empty thing anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fhirferry.fhir.definitions import load
from fhirferry.samples.providers import npi
from tests.unit.samples.conftest import Resources

# Element -> required in every resource (1..1 or 1..*); `a.b`: b is required in every a. US Core's additions included.
REQUIRED = {
    "Patient": "identifier name gender birthDate identifier.system identifier.value",
    "Encounter": "status class type subject period participant.individual location.location",
    "Condition": "clinicalStatus verificationStatus category code subject",
    "Observation": "status category code subject effectiveDateTime component.code",
    "MedicationRequest": "status intent subject requester authoredOn",
    "Medication": "code",
    "Procedure": "status code subject performedPeriod performer.actor",
    "Immunization": "status vaccineCode patient occurrenceDateTime primarySource performer.actor",
    "AllergyIntolerance": "clinicalStatus code patient reaction.manifestation",
    "DiagnosticReport": "status category code subject effectiveDateTime issued",
    "DocumentReference": "status type category subject content content.attachment",
    "CarePlan": "text status intent category subject activity.detail activity.detail.status",
    "CareTeam": "status subject participant participant.role participant.member",
    "Claim": "status type use patient created provider priority insurance insurance.sequence insurance.focal "
    "insurance.coverage item.sequence item.productOrService careTeam.sequence careTeam.provider diagnosis.sequence "
    "diagnosis.diagnosisReference",
    "ExplanationOfBenefit": "status type use patient created insurer provider outcome insurance insurance.focal "
    "insurance.coverage item.sequence item.productOrService item.adjudication.category total.category total.amount "
    "careTeam.sequence careTeam.provider diagnosis.sequence diagnosis.diagnosisReference",
    "Coverage": "status beneficiary relationship payor class.type class.value subscriberId",
    "Practitioner": "identifier name name.family",
    "PractitionerRole": "practitioner organization telecom",
    "Organization": "active name identifier",
    "Location": "name position.longitude position.latitude",
    "Device": "type status deviceName.name deviceName.type",
    "Provenance": "target recorded agent agent.who agent.type",
    "Group": "type actual",
}
# Required bindings that occur here.
CODES = {
    "Encounter.status": "finished",
    "Observation.status": "final",
    "MedicationRequest.status": "active completed stopped",
    "MedicationRequest.intent": "order",
    "Procedure.status": "completed",
    "Immunization.status": "completed",
    "AllergyIntolerance.criticality": "low high unable-to-assess",
    "AllergyIntolerance.type": "allergy",
    "DiagnosticReport.status": "final",
    "DocumentReference.status": "current",
    "DocumentReference.docStatus": "final",
    "CarePlan.status": "active",
    "CarePlan.intent": "plan",
    "CareTeam.status": "active",
    "Claim.status": "active",
    "Claim.use": "claim",
    "ExplanationOfBenefit.status": "active",
    "ExplanationOfBenefit.use": "claim",
    "ExplanationOfBenefit.outcome": "complete",
    "Coverage.status": "active cancelled",
    "Patient.gender": "male female",
    "Practitioner.gender": "male female",
    "Location.status": "active",
    "Location.mode": "instance",
    "Device.status": "active",
    "Group.type": "person practitioner",
}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
INSTANTS = ("lastUpdated", "issued", "recorded", "DocumentReference.date")
DATETIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
SYSTEM = re.compile(r"(https?://|urn:oid:|urn:ietf:)\S+")


def at(value: Any, path: list[str]) -> Iterator[Any]:
    """What stands at a path, in every element of every list; None where it is missing."""
    if isinstance(value, list):
        for part in value:
            yield from at(part, path)
    elif not path:
        yield value
    elif path[0] in value:
        yield from at(value[path[0]], path[1:])
    elif len(path) == 1:
        yield None


def walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, value
    if isinstance(value, dict):
        for key, part in value.items():
            yield from walk(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part, name)


@pytest.mark.parametrize("kind", REQUIRED)
def test_required_elements_are_there(resources: Resources, kind: str) -> None:
    for each in resources[kind]:
        for element in REQUIRED[kind].split():
            assert None not in list(at(each, element.split("."))), f"{kind}.{element}"
            assert element.count(".") or element in each


@pytest.mark.parametrize("element", CODES)
def test_codes_of_required_bindings(resources: Resources, element: str) -> None:
    kind, _, name = element.partition(".")
    found = {each.get(name) for each in resources[kind]} - {None}
    assert found <= set(CODES[element].split())


@pytest.mark.parametrize("which", ["resources", "odd_resources"])
def test_nothing_is_empty_and_every_value_has_its_form(which: str, request: pytest.FixtureRequest) -> None:
    for found in request.getfixturevalue(which).values():
        for each in found:
            assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", each["id"])
            for name, value in walk(each):
                assert value not in ("", None, [], {}), name
                is_instant = name in INSTANTS or f"{each['resourceType']}.{name}" in INSTANTS
                if is_instant:
                    assert INSTANT.fullmatch(value), name
                elif name in ("start", "end", "created", "birthDate") or name.endswith(("DateTime", "Date")):
                    assert DATETIME.fullmatch(value), name
                elif name == "system" and isinstance(value, str) and value not in ("phone", "email"):
                    assert SYSTEM.fullmatch(value), value
                elif name == "value" and isinstance(value, str) and value[:1].isdigit() and "." in value:
                    assert DECIMAL.fullmatch(value), value


def test_medication_is_told_by_code_or_by_reference_never_both(resources: Resources) -> None:
    ways = {
        ("medicationReference" in each, "medicationCodeableConcept" in each) for each in resources["MedicationRequest"]
    }
    assert ways == {(True, False), (False, True)}


def test_an_observation_has_a_value_or_components(resources: Resources) -> None:
    for each in resources["Observation"]:
        values = [name for name in each if name.startswith("value")]
        assert len(values) + ("component" in each) == 1


def test_a_condition_that_ended_is_not_active(resources: Resources) -> None:
    for each in resources["Condition"]:
        status = each["clinicalStatus"]["coding"][0]["code"]
        assert status == ("resolved" if "abatementDateTime" in each else "active")
        assert each["onsetDateTime"] <= each.get("abatementDateTime", "9")


def test_sequences_that_are_named_are_there(resources: Resources) -> None:
    for each in resources["Claim"] + resources["ExplanationOfBenefit"]:
        diagnoses = {one["sequence"] for one in each.get("diagnosis", [])}
        team = {one["sequence"] for one in each["careTeam"]}
        for item in each["item"]:
            assert set(item.get("diagnosisSequence", [])) <= diagnoses
            assert set(item["careTeamSequence"]) <= team


def test_provider_numbers_have_a_right_check_digit() -> None:
    """Luhn over 80840 and the number; 1234567893 is the example of the standard."""
    assert npi(23_456_789) == b"1234567893"


def test_profiles_are_of_us_core(resources: Resources) -> None:
    plain = {"Claim", "ExplanationOfBenefit", "Group", "Device"}  # of Device only what is implanted has one
    for kind, found in resources.items():
        profiled = [each for each in found if "profile" in each["meta"]]
        assert profiled or kind in plain
        for each in profiled:
            assert each["meta"]["profile"][0].startswith("http://hl7.org/fhir/us/core/StructureDefinition/us-core-")


@pytest.mark.parametrize("which", ["resources", "odd_resources"])
def test_root_elements_and_targets_of_references_are_those_of_r4(which: str, request: pytest.FixtureRequest) -> None:
    """Against HL7's own definitions."""
    r4 = load("R4")
    for kind, found in request.getfixturevalue(which).items():
        elements = r4.elements(kind)
        known = {"resourceType", *(member for element in elements for member in element.members)}
        mandatory = [set(element.members) for element in elements if element.mandatory]
        targets = dict(r4.references(kind))
        for each in found:
            assert {name.removeprefix("_") for name in each} <= known
            assert all(members & each.keys() for members in mandatory)
            for steps, target in references(each):
                allowed = targets[steps]
                assert not allowed or target in allowed, steps


def references(value: Any, steps: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str) and steps[-1] != "assigner":  # a data type's, not among them
            yield steps, value["reference"].partition("/")[0]
        for name, part in value.items():
            yield from references(part, (*steps, name))
    elif isinstance(value, list):
        for part in value:
            yield from references(part, steps)
