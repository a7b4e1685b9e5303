"""Who cares and who pays: organizations, places, people; the medicines and machines that all share."""

from __future__ import annotations

import msgspec

from fhirferry.samples import days
from fhirferry.samples.codes import DRUGS
from fhirferry.samples.fragments import (
    HL7,
    NUCC,
    PROFILE,
    SNOMED,
    Lines,
    coding,
    concept,
    lines,
    meta,
    quoted,
    reference,
)
from fhirferry.samples.names import CULTURES, address
from fhirferry.samples.rng import Dice, shared_id

NPI = b"http://hl7.org/fhir/sid/us-npi"
MOST_CLINICS = 400
"""A world of providers has an end; more patients then share it."""
PER_CLINIC = 6

PAYERS = ("Medicare", "Medicaid", "Bluefield Health", "Harbor Mutual", "Granite State Cooperative", "Señora Salud")
_SPECIALTIES = (
    ("207Q00000X", "Family Medicine Physician"),
    ("207R00000X", "Internal Medicine Physician"),
    ("208000000X", "Pediatrics Physician"),
    ("207RC0000X", "Cardiovascular Disease Physician"),
    ("363LF0000X", "Family Nurse Practitioner"),
    ("208D00000X", "General Practice Physician"),
)
_KINDS = ("Community Hospital", "Medical Center", "Family Practice", "Clínica", "Health Partners")

_ORGANIZATION = (
    b'{"resourceType":"Organization","id":"%b",'
    + meta(PROFILE + "organization")
    + b',"identifier":[%b],"active":true,"type":[%b],"name":%b,"telecom":[{"system":"phone","value":"%b","use":"work"},'
    b'{"system":"email","value":"contact@%b.example","use":"work"}],"address":[%b]}\n'
)
_LOCATION = (
    b'{"resourceType":"Location","id":"%b",'
    + meta(PROFILE + "location")
    + b',"status":"active","name":%b,"mode":"instance","type":[%b],"telecom":[{"system":"phone","value":"%b","use":"work"}],'
    b'"address":%b,"physicalType":%b,"position":{"longitude":-%d.%04d,"latitude":%d.%04d},"managingOrganization":%b}\n'
)
_PRACTITIONER = (
    b'{"resourceType":"Practitioner","id":"%b",'
    + meta(PROFILE + "practitioner")
    + b',"identifier":[%b],"active":true,"name":[{"use":"official","text":%b,"family":%b,"given":[%b],"prefix":["Dr."]}],'
    b'"telecom":[{"system":"phone","value":"%b","use":"work"}],"address":[%b],"gender":"%b",'
    b'"communication":[{"coding":[%b]}]}\n'
)
_ROLE = (
    b'{"resourceType":"PractitionerRole","id":"%b",'
    + meta(PROFILE + "practitionerrole")
    + b',"active":true,"period":{"start":"%b"},"practitioner":%b,"organization":%b,"code":[{"coding":[%b]}],'
    b'"specialty":[{"coding":[%b]}],"location":[%b],"telecom":[{"system":"phone","value":"%b","use":"work"}]}\n'
)
_MEDICATION = (
    b'{"resourceType":"Medication","id":"%b",'
    + meta(PROFILE + "medication")
    + b',"code":%b,"status":"active","form":{"text":"%b"}}\n'
)
_CUFF = (
    b'{"resourceType":"Device","id":"%b","meta":{%b},"status":"active","manufacturer":"Fictitious Instruments","serialNumber":'
    b'"BP-%06d","deviceName":[{"name":"Blood pressure monitor","type":"user-friendly-name"}],"type":%b,"owner":%b,'
    b'"location":%b}\n'
)
_CUFF_TYPE = concept(coding(SNOMED, "258057004", "Non-invasive blood pressure monitor"), text="Blood pressure monitor")
_PROVIDER_TYPE = concept(coding(HL7 + "organization-type", "prov", "Healthcare Provider"), text="Healthcare provider")
_PAYER_TYPE = concept(coding(HL7 + "organization-type", "pay", "Payer"), text="Payer")
_SITE = concept(coding(HL7 + "location-physical-type", "si", "Site"))
_CLINIC_TYPE = concept(coding(HL7 + "v3-RoleCode", "PC", "Primary care clinic"))
_HOSPITAL_TYPE = concept(coding(HL7 + "v3-RoleCode", "HOSP", "Hospital"))


class Provider(msgspec.Struct, frozen=True):
    """A practitioner where they work, as References."""

    name: str
    practitioner: bytes
    role: bytes


class Clinic(msgspec.Struct, frozen=True):
    """An organization with its places, people and blood pressure monitor."""

    name: str
    organization: bytes
    office: bytes
    hospital: bytes
    cuff: bytes
    providers: list[Provider]


class World(msgspec.Struct, frozen=True):
    """All that patients share. drugs, payers: References."""

    seed: int
    clinics: list[Clinic]
    drugs: list[bytes]
    payers: list[bytes]


def make_world(seed: int, patients: int) -> tuple[World, Lines]:
    """The providers for so many patients, and their resources."""
    out = lines()
    drugs = [_medication(seed, index, out) for index in range(len(DRUGS))]
    payers = [_payer(seed, index, out) for index in range(len(PAYERS))]
    clinics = [_clinic(seed, index, out) for index in range(min(MOST_CLINICS, 2 + patients // 60))]
    return World(seed, clinics, drugs, payers), out


def npi(number: int) -> bytes:
    """A National Provider Identifier with a right check digit (Luhn over 80840 and nine digits)."""
    nine = 100_000_000 + number % 100_000_000
    total = 24
    for place, digit in enumerate(map(int, str(nine))):
        total += digit if place % 2 else digit * 2 - 9 * (digit > 4)
    return b"%d%d" % (nine, -total % 10)


def _stamp(dice: Dice) -> bytes:
    day = days.END - dice.between(30, 5000)
    return b'"versionId":"%d","lastUpdated":"%b"' % (
        dice.between(1, 4),
        days.instant(day, dice.below(1 << 40)),
    )


def _phone(dice: Dice) -> bytes:
    return b"555-%03d-%04d" % (dice.between(200, 999), dice.below(10_000))


def _address(dice: Dice) -> tuple[bytes, int, int]:
    line, place = address(dice)
    text = b'{"use":"work","line":[%b],"city":%b,"state":"%b","postalCode":"%b","country":"US"}' % (
        quoted(line),
        quoted(place.city),
        place.state.encode(),
        place.postal.encode(),
    )
    return text, place.latitude + dice.below(400), place.longitude + dice.below(400)


def _identifier(system: bytes, value: bytes) -> bytes:
    return b'{"system":"%b","value":"%b"}' % (system, value)


def _medication(seed: int, index: int, out: Lines) -> bytes:
    ident, drug = shared_id(seed, "Medication", index), DRUGS[index]
    out["Medication"].append(
        _MEDICATION % (ident, _stamp(Dice(seed, "Medication", index)), drug.code, drug.form.encode())
    )
    return reference("Medication", ident, drug.name)


def _payer(seed: int, index: int, out: Lines) -> bytes:
    ident, dice = shared_id(seed, "Payer", index), Dice(seed, "Payer", index)
    out["Organization"].append(
        _ORGANIZATION
        % (
            ident,
            _stamp(dice),
            _identifier(b"urn:oid:2.16.840.1.113883.6.300", b"%05d" % dice.below(100_000)),
            _PAYER_TYPE,
            quoted(PAYERS[index]),
            _phone(dice),
            b"payer%d" % index,
            _address(dice)[0],
        )
    )
    return reference("Organization", ident, PAYERS[index])


def _clinic(seed: int, index: int, out: Lines) -> Clinic:
    dice = Dice(seed, "Clinic", index)
    where, latitude, longitude = _address(dice)
    name = f"{dice.pick(dice.pick(CULTURES).families)} {dice.pick(_KINDS)}"
    ident = shared_id(seed, "Organization", index)
    organization = reference("Organization", ident)
    out["Organization"].append(
        _ORGANIZATION
        % (
            ident,
            _stamp(dice),
            _identifier(NPI, npi(50_000_000 + index)),
            _PROVIDER_TYPE,
            quoted(name),
            _phone(dice),
            b"clinic%d" % index,
            where,
        )
    )
    places = []
    for number, (kind, title) in enumerate(((_CLINIC_TYPE, "Office"), (_HOSPITAL_TYPE, "Hospital"))):
        place, shown = shared_id(seed, "Location", index * 2 + number), f"{name}, {title}"
        spot = (*divmod(longitude + number * 7, 10_000), *divmod(latitude + number * 3, 10_000))
        out["Location"].append(
            _LOCATION % (place, _stamp(dice), quoted(shown), kind, _phone(dice), where, _SITE, *spot, organization)
        )
        places.append(reference("Location", place))
    cuff = shared_id(seed, "Device", index)
    out["Device"].append(_CUFF % (cuff, _stamp(dice), dice.below(1_000_000), _CUFF_TYPE, organization, places[0]))
    providers = [
        _provider(seed, index * PER_CLINIC + number, organization, places, where, out) for number in range(PER_CLINIC)
    ]
    return Clinic(name, organization, places[0], places[1], reference("Device", cuff), providers)


def _provider(seed: int, index: int, organization: bytes, places: list[bytes], where: bytes, out: Lines) -> Provider:
    dice = Dice(seed, "Practitioner", index)
    culture, woman = dice.pick(CULTURES), dice.chance(50)
    family, given = dice.pick(culture.families), dice.pick(culture.women if woman else culture.men)
    name = f"Dr. {given} {family}"
    ident, role = shared_id(seed, "Practitioner", index), shared_id(seed, "PractitionerRole", index)
    practitioner = reference("Practitioner", ident)
    specialty = coding(NUCC, *_SPECIALTIES[index % PER_CLINIC])
    out["Practitioner"].append(
        _PRACTITIONER
        % (
            ident,
            _stamp(dice),
            _identifier(NPI, npi(index)),
            quoted(name),
            quoted(family),
            quoted(given),
            _phone(dice),
            where,
            b"female" if woman else b"male",
            coding("urn:ietf:bcp:47", *culture.language),
        )
    )
    since = days.date(days.END - dice.between(400, 12_000))
    out["PractitionerRole"].append(
        _ROLE
        % (
            role,
            _stamp(dice),
            since,
            practitioner,
            organization,
            specialty,
            specialty,
            b",".join(places),
            _phone(dice),
        )
    )
    return Provider(name, practitioner, reference("PractitionerRole", role, name))
