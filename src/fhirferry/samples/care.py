"""What is found and given: conditions, allergies, medicines, vaccines."""

from __future__ import annotations

from fhirferry.samples import days
from fhirferry.samples.codes import (
    ALLERGIES,
    DRUGS,
    VACCINES,
    Problem,
    billing,
)
from fhirferry.samples.fragments import (
    HL7,
    PROFILE,
    coding,
    concept,
    meta,
)
from fhirferry.samples.providers import World
from fhirferry.samples.visits import Visit

_ACTIVE, _RESOLVED = (
    concept(coding(HL7 + "condition-clinical", code, name))
    for code, name in (("active", "Active"), ("resolved", "Resolved"))
)
_CATEGORY = HL7 + "condition-category"
_CONDITION = (
    b'{"resourceType":"Condition","id":"%b","meta":{%b,"profile":["'
    + PROFILE.encode()
    + b'%b"]},"clinicalStatus":%b,"verificationStatus":'
    + concept(coding(HL7 + "condition-ver-status", "confirmed", "Confirmed"))
    + b',"category":[%b],"code":%b,"subject":%b,"encounter":%b,"onsetDateTime":"%b",%b"recordedDate":"%b","recorder":%b}\n'
)
_KINDS = (
    (b"condition-problems-health-concerns", concept(coding(_CATEGORY, "problem-list-item", "Problem List Item"))),
    (b"condition-encounter-diagnosis", concept(coding(_CATEGORY, "encounter-diagnosis", "Encounter Diagnosis"))),
)
_REQUEST = (
    b'{"resourceType":"MedicationRequest","id":"%b",'
    + meta(PROFILE + "medicationrequest")
    + b',"status":"%b","intent":"order","category":[{"coding":['
    + coding(HL7 + "medicationrequest-category", "community", "Community")
    + b']}],"reportedBoolean":false,%b,"subject":%b,"encounter":%b,"authoredOn":"%b","requester":%b,%b"dosageInstruction":%b,'
    b'"dispenseRequest":{"numberOfRepeatsAllowed":%d,"quantity":{"value":%d.0,"unit":"%b"},"expectedSupplyDuration":'
    b'{"value":30,"unit":"days","system":"http://unitsofmeasure.org","code":"d"}}}\n'
)
_IMMUNIZATION = (
    b'{"resourceType":"Immunization","id":"%b",'
    + meta(PROFILE + "immunization")
    + b',"status":"completed","vaccineCode":%b,"patient":%b,"encounter":%b,"occurrenceDateTime":"%b","primarySource":true,'
    b'"location":%b,"lotNumber":"L%05d","expirationDate":"%b","site":'
    + concept(coding(HL7 + "v3-ActSite", "LA", "left arm"), text="left arm")
    + b',"route":'
    + concept(coding(HL7 + "v3-RouteOfAdministration", "IM", "Injection, intramuscular"))
    + b',"doseQuantity":{"value":0.50,"unit":"mL","system":"http://unitsofmeasure.org","code":"mL"},'
    b'"performer":[{"actor":%b}]}\n'
)
_ALLERGY = (
    b'{"resourceType":"AllergyIntolerance","id":"%b",'
    + meta(PROFILE + "allergyintolerance")
    + b',"clinicalStatus":'
    + concept(coding(HL7 + "allergyintolerance-clinical", "active", "Active"))
    + b',"verificationStatus":'
    + concept(coding(HL7 + "allergyintolerance-verification", "confirmed", "Confirmed"))
    + b',"type":"allergy","category":["%b"],"criticality":"%b","code":%b,"patient":%b,"encounter":%b,"recordedDate":"%b",'
    b'"recorder":%b,"reaction":[{"manifestation":[%b],"severity":"%b"}]}\n'
)
_INJECTION = billing("90471", "giving a vaccine")


def add_condition(visit: Visit, problem: Problem, *, began: int, lasts: int | None) -> bytes:
    """A condition found at this visit. began: day. lasts: days, None for ever."""
    profile, category = _KINDS[lasts is not None]
    over = lasts is not None and visit.day + lasts < visit.person.ended
    found = visit.add(
        "Condition",
        _CONDITION,
        profile,
        _RESOLVED if over else _ACTIVE,
        category,
        problem.code,
        visit.person.ref,
        visit.ref,
        days.moment(began, visit.minute),
        b'"abatementDateTime":"%b",' % days.moment(visit.day + (lasts or 0), 720) if over else b"",
        visit.start,
        visit.provider.practitioner,
    )
    visit.reasons[found] = problem.code
    return found


def add_prescription(visit: Visit, world: World, drug: int, reason: bytes, *, active: bool) -> None:
    """A medicine, named by its code or by a Medication."""
    dice, medicine = visit.dice, DRUGS[drug]
    what = (
        b'"medicationReference":' + world.drugs[drug]
        if dice.chance(30)
        else b'"medicationCodeableConcept":' + medicine.code
    )
    visit.add(
        "MedicationRequest",
        _REQUEST,
        b"active" if active else dice.pick((b"completed", b"stopped")),
        what,
        visit.person.ref,
        visit.ref,
        visit.at(visit.length - 2),
        visit.provider.practitioner,
        b'"reasonReference":[%b],' % reason if reason else b"",
        medicine.dosage,
        dice.between(0, 5),
        dice.between(1, 6) * 15,
        medicine.form.encode(),
    )


def add_immunizations(visit: Visit) -> None:
    """What the age asks for, some of it."""
    age, dice = visit.person.age(visit.day), visit.dice
    due = [vaccine for vaccine in VACCINES if vaccine.first <= age <= vaccine.last]
    for vaccine in due:
        if dice.chance(70 if age < 18 else 45):
            visit.add(
                "Immunization",
                _IMMUNIZATION,
                vaccine.code,
                visit.person.ref,
                visit.ref,
                visit.at(10),
                visit.place,
                dice.below(100_000),
                days.date(visit.day + dice.between(30, 700)),
                visit.provider.practitioner,
            )
            visit.bill += [(vaccine.billing, 14_052), (_INJECTION, 2_140)]


def add_allergies(visit: Visit) -> None:
    """One to three of them."""
    dice = visit.dice
    first = dice.below(len(ALLERGIES))
    for number in range(dice.between(1, 3)):
        allergy = ALLERGIES[(first + number) % len(ALLERGIES)]
        visit.add(
            "AllergyIntolerance",
            _ALLERGY,
            allergy.category,
            dice.pick((b"low", b"high", b"unable-to-assess")),
            allergy.code,
            visit.person.ref,
            visit.ref,
            visit.start,
            visit.provider.practitioner,
            allergy.reaction,
            dice.pick((b"mild", b"moderate", b"severe")),
        )
