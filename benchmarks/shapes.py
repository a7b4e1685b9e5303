"""The resources that the benchmark makes up, as data: Synthea's shapes, shares and sizes, small types left out.

In a text `$name` is replaced by a value of that name, a text that is only `#name` by a value that is no JSON string
(a number, an object). Digits behind a name make it another value of the same sort: `#money1`, `#money2`.
"""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

HL7 = "http://terminology.hl7.org/CodeSystem"
BLUE_BUTTON = "https://bluebutton.cms.gov/resources"
SYNTHEA = "https://github.com/synthetichealth/synthea"

SYSTEMS = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "cvx": "http://hl7.org/fhir/sid/cvx",
}
# Sort of value -> code system and the codes that one of is taken.
CODES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "vital": (
        "loinc",
        [
            ("8302-2", "Body Height"),
            ("29463-7", "Body Weight"),
            ("39156-5", "Body Mass Index"),
            ("8867-4", "Heart rate"),
            ("2339-0", "Glucose"),
            ("6690-2", "Leukocytes [#/volume] in Blood by Automated count"),
            ("718-7", "Hemoglobin [Mass/volume] in Blood"),
            ("72514-3", "Pain severity - 0-10 verbal numeric rating [Score] - Reported"),
        ],
    ),
    "panel": (
        "loinc",
        [
            ("58410-2", "Complete blood count (hemogram) panel - Blood by Automated count"),
            ("57698-3", "Lipid Panel"),
            ("51990-0", "Basic Metabolic Panel"),
        ],
    ),
    "visit": (
        "snomed",
        [
            ("410620009", "Well child visit (procedure)"),
            ("162673000", "General examination of patient (procedure)"),
            ("50849002", "Emergency room admission (procedure)"),
            ("185345009", "Encounter for symptom"),
        ],
    ),
    "disorder": (
        "snomed",
        [
            ("39848009", "Whiplash injury to neck"),
            ("444814009", "Viral sinusitis (disorder)"),
            ("59621000", "Hypertension"),
            ("271737000", "Anemia (disorder)"),
        ],
    ),
    "procedure": (
        "snomed",
        [
            ("430193006", "Medication Reconciliation (procedure)"),
            ("76601001", "Intramuscular injection"),
            ("23426006", "Measurement of respiratory function (procedure)"),
        ],
    ),
    "drug": (
        "rxnorm",
        [
            ("313820", "Acetaminophen 160 MG Chewable Tablet"),
            ("314076", "lisinopril 10 MG Oral Tablet"),
            ("860975", "24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet"),
        ],
    ),
    "vaccine": (
        "cvx",
        [
            ("140", "Influenza, seasonal, injectable, preservative free"),
            ("113", "Td (adult) preservative free"),
        ],
    ),
}
WORDS = {
    "given": ["Ramón", "Ana", "Tomas", "Björn", "Zoë", "Łucja", "伟"],
    "family": ["Sarabia", "Véliz", "Müller", "Nguyễn"],
    "insurer": ["Aetna", "Humana", "Medicare", "Blue Cross Blue Shield", "NO_INSURANCE"],
    "unit": ["cm", "kg", "kg/m2", "/min", "mg/dL", "10*3/uL", "{score}"],
}

PATIENT = {"reference": "Patient/$patient"}
ENCOUNTER = {"reference": "Encounter/$encounter"}
DOCTOR = {"reference": "Practitioner/$practitioner"}
PLACE = {"reference": "Organization/$organization", "display": "PCP$number"}
PERIOD = {"start": "$dayT15:38:27-04:00", "end": "$dayT16:08:27-04:00"}


def coded(system: str, code: str, display: str = "") -> Shape:
    """A CodeableConcept; its text is the display."""
    coding = {"system": system, "code": code}
    return {"coding": [{**coding, "display": display}], "text": display} if display else {"coding": [coding]}


def money(name: str) -> Shape:
    """A Money of a made-up value."""
    return {"value": f"#{name}", "currency": "USD"}


def observation(_: int) -> Shape:
    return {
        "status": "final",
        "category": [coded(f"{HL7}/observation-category", "vital-signs", "vital-signs")],
        "code": "#vital",
        "subject": PATIENT,
        "encounter": ENCOUNTER,
        "effectiveDateTime": "$dayT15:38:27-04:00",
        "issued": "$dayT15:38:27.139-04:00",
        "valueQuantity": {"value": "#money", "unit": "$unit", "system": "http://unitsofmeasure.org", "code": "$unit"},
    }


def claim(items: int) -> Shape:
    return {
        "status": "active",
        "type": coded(f"{HL7}/claim-type", "institutional"),
        "use": "claim",
        "patient": PATIENT,
        "billablePeriod": PERIOD,
        "created": "$dayT16:08:27-04:00",
        "provider": PLACE,
        "priority": coded(f"{HL7}/processpriority", "normal"),
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "$insurer"}}],
        "item": [
            {"sequence": 1, "productOrService": "#visit", "encounter": [ENCOUNTER]},
            *(
                {
                    "sequence": k,
                    "diagnosisSequence": [k],
                    "productOrService": f"#disorder{k}",
                    "net": money(f"money{k}"),
                }
                for k in range(2, items + 1)
            ),
        ],
        "total": money("money"),
    }


def encounter(_: int) -> Shape:
    return {
        "status": "finished",
        "class": {"system": f"{HL7}/v3-ActCode", "code": "AMB"},
        "type": ["#visit"],
        "subject": {**PATIENT, "display": "$given $family"},
        "participant": [
            {
                "type": [coded(f"{HL7}/v3-ParticipationType", "PPRF", "primary performer")],
                "period": PERIOD,
                "individual": {**DOCTOR, "display": "Dr. $given1 $family1"},
            }
        ],
        "period": PERIOD,
        "serviceProvider": PLACE,
    }


def explanation_of_benefit(items: int) -> Shape:
    amounts = {
        "line_coinsrnc_amt": "Line Beneficiary Coinsurance Amount",
        "line_prvdr_pmt_amt": "Line Provider Payment Amount",
        "line_sbmtd_chrg_amt": "Line Submitted Charge Amount",
    }
    return {
        "contained": [
            {
                "resourceType": "ServiceRequest",
                "id": "referral",
                "status": "completed",
                "intent": "order",
                "subject": PATIENT,
                "requester": DOCTOR,
                "performer": [DOCTOR],
            },
            {
                "resourceType": "Coverage",
                "id": "coverage",
                "status": "active",
                "type": {"text": "$insurer"},
                "beneficiary": PATIENT,
                "payor": [{"display": "$insurer"}],
            },
        ],
        "identifier": [
            {"system": f"{BLUE_BUTTON}/variables/clm_id", "value": "$claim"},
            {"system": f"{BLUE_BUTTON}/identifier/claim-group", "value": "99999999999"},
        ],
        "status": "active",
        "type": coded(f"{HL7}/claim-type", "institutional"),
        "use": "claim",
        "patient": PATIENT,
        "billablePeriod": PERIOD,
        "created": "$dayT16:08:27-04:00",
        "insurer": {"display": "$insurer"},
        "provider": DOCTOR,
        "referral": {"reference": "$contained_referral"},
        "claim": {"reference": "Claim/$claim"},
        "outcome": "complete",
        "careTeam": [
            {
                "sequence": 1,
                "provider": DOCTOR,
                "role": coded(f"{HL7}/claimcareteamrole", "primary", "Primary Care Practitioner"),
            }
        ],
        "insurance": [{"focal": True, "coverage": {"reference": "$contained_coverage", "display": "$insurer"}}],
        "item": [
            {
                "sequence": k,
                "category": coded(f"{BLUE_BUTTON}/variables/line_cms_type_srvc_cd", "1", "Medical care"),
                "productOrService": f"#visit{k}",
                "servicedPeriod": PERIOD,
                "locationCodeableConcept": coded(f"{HL7}/ex-serviceplace", "21", "Inpatient Hospital"),
                "encounter": [ENCOUNTER],
                "net": money(f"money{k}"),
                "adjudication": [
                    {
                        "category": coded(
                            f"{BLUE_BUTTON}/codesystem/adjudication", f"{BLUE_BUTTON}/variables/{v}", text
                        ),
                        "amount": money(f"money{k}{n}"),
                    }
                    for n, (v, text) in enumerate(amounts.items())
                ],
            }
            for k in range(1, items + 1)
        ],
        "total": [
            {"category": coded(f"{HL7}/adjudication", "submitted", "Submitted Amount"), "amount": money("money")}
        ],
        "payment": {"amount": money("money9")},
    }


def medication_request(_: int) -> Shape:
    return {
        "status": "stopped",
        "intent": "order",
        "medicationCodeableConcept": "#drug",
        "subject": PATIENT,
        "encounter": ENCOUNTER,
        "authoredOn": "$dayT14:38:27-05:00",
        "requester": {**DOCTOR, "display": "Dr. $given $family"},
        "dosageInstruction": [
            {"sequence": 1, "timing": {"repeat": {"frequency": 1, "period": 1.0, "periodUnit": "d"}}}
        ],
    }


def procedure(_: int) -> Shape:
    return {
        "status": "completed",
        "code": "#procedure",
        "subject": PATIENT,
        "encounter": ENCOUNTER,
        "performedPeriod": PERIOD,
    }


def immunization(_: int) -> Shape:
    return {
        "status": "completed",
        "vaccineCode": "#vaccine",
        "patient": PATIENT,
        "encounter": ENCOUNTER,
        "occurrenceDateTime": "$dayT15:38:27-04:00",
        "primarySource": True,
    }


def diagnostic_report(results: int) -> Shape:
    return {
        "status": "final",
        "category": [coded(f"{HL7}/v2-0074", "LAB", "Laboratory")],
        "code": "#panel",
        "subject": PATIENT,
        "encounter": ENCOUNTER,
        "effectiveDateTime": "$dayT15:38:27-04:00",
        "issued": "$dayT15:38:27.139-04:00",
        "result": [
            {"reference": f"Observation/$observation{k}", "display": CODES["vital"][1][k % 8][1]}
            for k in range(results)
        ],
    }


def condition(_: int) -> Shape:
    return {
        "clinicalStatus": coded(f"{HL7}/condition-clinical", "resolved"),
        "verificationStatus": coded(f"{HL7}/condition-ver-status", "confirmed"),
        "code": "#disorder",
        "subject": PATIENT,
        "encounter": ENCOUNTER,
        "onsetDateTime": "$dayT14:38:27-05:00",
        "recordedDate": "$dayT14:38:27-05:00",
    }


def organization(_: int) -> Shape:
    return {
        "identifier": [{"system": SYNTHEA, "value": "$id"}],
        "active": True,
        "type": [coded(f"{HL7}/organization-type", "prov", "Healthcare Provider")],
        "name": "PCP$number",
        "telecom": [{"system": "phone", "value": "555-$number"}],
        "address": [
            {"line": ["$number MAIN ST"], "city": "BOSTON", "state": "MA", "postalCode": "02108", "country": "US"}
        ],
    }


def care_plan(activities: int) -> Shape:
    return {
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">Plan of $given.\n<ul><li>exercise</li></ul></div>',
        },
        "status": "active",
        "intent": "order",
        "category": ["#procedure"],
        "subject": PATIENT,
        "encounter": ENCOUNTER,
        "period": {"start": "$day"},
        "activity": [
            {"detail": {"code": f"#procedure{k}", "status": "in-progress", "location": {"display": "PCP$number"}}}
            for k in range(activities)
        ],
    }


def patient(_: int) -> Shape:
    return {
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">Generated by <a href="' + SYNTHEA + '">Synthea</a>.\n'
            "Version identifier: v2.5.0\n . Person seed: $number Population seed: 1588766244164</div>",
        },
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                "valueAddress": {"city": "Guadalajara", "state": "Jalisco", "country": "MX"},
            },
            {
                "url": "http://synthetichealth.github.io/synthea/disability-adjusted-life-years",
                "valueDecimal": "#money",
            },
        ],
        "identifier": [
            {"system": SYNTHEA, "value": "$id"},
            {
                "type": coded(f"{HL7}/v2-0203", "MR", "Medical Record Number"),
                "system": "http://hospital.smarthealthit.org",
                "value": "$id",
            },
            {
                "type": coded(f"{HL7}/v2-0203", "DL", "Driver's License"),
                "system": "urn:oid:2.16.840.1.113883.4.3.25",
                "value": "S$number",
            },
        ],
        "name": [{"use": "official", "family": "$family", "given": ["$given"]}],
        "telecom": [{"system": "phone", "value": "555-$number", "use": "home"}],
        "gender": "female",
        "birthDate": "$day",
        "address": [{"line": ["$number Elm Street"], "city": "Boston", "state": "Massachusetts", "country": "US"}],
        "maritalStatus": coded(f"{HL7}/v3-MaritalStatus", "S", "Never Married"),
        "multipleBirthBoolean": False,
        "communication": [{"language": coded("urn:ietf:bcp:47", "es", "Spanish")}],
    }


# Type -> share per mille, shape, and the numbers of repeated parts it comes with.
SHAPES = {
    "Observation": (430, observation, (1,)),
    "Claim": (157, claim, (1, 2, 3, 5)),
    "Encounter": (94, encounter, (1,)),
    "ExplanationOfBenefit": (94, explanation_of_benefit, (1, 1, 2, 3)),
    "MedicationRequest": (65, medication_request, (1,)),
    "Procedure": (48, procedure, (1,)),
    "Immunization": (38, immunization, (1,)),
    "DiagnosticReport": (25, diagnostic_report, (4, 8, 12)),
    "Condition": (20, condition, (1,)),
    "Organization": (18, organization, (1,)),
    "CarePlan": (8, care_plan, (2, 4)),
    "Patient": (3, patient, (1,)),
}
