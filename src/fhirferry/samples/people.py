"""One person: the Patient, and the Coverage that pays."""

from __future__ import annotations

import msgspec

from fhirferry.samples import days
from fhirferry.samples.fragments import HL7, PROFILE, US_CORE, Lines, coding, concept, literal, meta, quoted, reference
from fhirferry.samples.names import CULTURES, HISPANIC, NICKNAMES, NOT_HISPANIC, RACES, address
from fhirferry.samples.providers import Clinic, World
from fhirferry.samples.rng import Dice, Ids

MRN = b"urn:oid:2.16.840.1.113883.19.5.1"
MEMBER = b"urn:oid:2.16.840.1.113883.19.5.2"
GEOLOCATION = b"http://hl7.org/fhir/StructureDefinition/geolocation"


class Person(msgspec.Struct):
    """Somebody with a history. ref: Reference. born, ended: days; ended is the day of death, or of the end of
    all histories. height: in millimetres, grown up. bulk: usual BMI in hundredths. covers: since when, Coverage, insurer."""

    index: int
    dice: Dice
    ids: Ids
    id: bytes
    ref: bytes
    name: str
    woman: bool
    born: int
    ended: int
    died: bool
    clinic: Clinic
    height: int
    bulk: int
    covers: list[tuple[int, bytes, bytes]] = []

    def age(self, day: int) -> int:
        """Years, whole ones."""
        return max(0, int((day - self.born) / days.YEAR))

    def cover(self, day: int) -> tuple[bytes, bytes]:
        """Who paid then: Coverage and insurer."""
        return next(cover[1:] for cover in reversed(self.covers) if cover[0] <= day)


_TYPE = HL7 + "v2-0203"
_PATIENT = (
    b'{"resourceType":"Patient","id":"%b",'
    + meta(PROFILE + "patient")
    + b',"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">%b</div>"},"extension":[%b],'
    b'"identifier":[%b],"active":true,"name":[%b],"telecom":[{"system":"phone","value":"555-%03d-%04d","use":"%b"},'
    b'{"system":"email","value":"p%d@mail.example"}],"gender":"%b","birthDate":"%b",%b"address":[{"extension":[{"url":"'
    + GEOLOCATION
    + b'","extension":[{"url":"latitude","valueDecimal":%d.%04d},{"url":"longitude","valueDecimal":-%d.%04d}]}],"use":"home",'
    b'"line":[%b],"city":%b,"state":"%b","postalCode":"%b","country":"US"}],"maritalStatus":%b,"multipleBirthBoolean":%b,'
    b'"contact":[{"relationship":[%b],"name":{"text":%b},"telecom":[{"system":"phone","value":"555-%03d-%04d"}]}],'
    b'"communication":[{"language":%b,"preferred":true}],"generalPractitioner":[%b],"managingOrganization":%b}\n'
)
_RECORD = b'{"use":"usual","type":%b,"system":"%b","value":"MRN-%%08d","assigner":%%b}' % (
    literal(concept(coding(_TYPE, "MR", "Medical record number"), text="Medical record number")),
    MRN,
)
_SOCIAL = b'{"type":%b,"system":"http://hl7.org/fhir/sid/us-ssn","value":"999-%%02d-%%04d"}' % literal(
    concept(coding(_TYPE, "SS", "Social Security number"), text="Social Security number")
)
_LICENCE = b'{"type":%b,"system":"urn:oid:2.16.840.1.113883.4.3.25","value":"S%%08d"}' % literal(
    concept(coding(_TYPE, "DL", "Driver's license number"), text="Driver's license number")
)
_MARITAL = [
    concept(coding(HL7 + "v3-MaritalStatus", code, name), text=name)
    for code, name in (("S", "Never Married"), ("M", "Married"), ("D", "Divorced"), ("W", "Widowed"))
]
_EMERGENCY = concept(coding(HL7 + "v2-0131", "C", "Emergency Contact"))
_OMB = "urn:oid:2.16.840.1.113883.6.238"
_EXTENSION = b'{"url":"%b","extension":[{"url":"ombCategory","valueCoding":%b},{"url":"text","valueString":%b}]}'
_BIRTHSEX = b'{"url":"%bStructureDefinition/us-core-birthsex","valueCode":"%%b"}' % US_CORE.encode()
_RACES = [_EXTENSION % (f"{PROFILE}race".encode(), coding(_OMB, code, name), quoted(name)) for code, name in RACES]
_ETHNICITIES = {
    hispanic: _EXTENSION % (f"{PROFILE}ethnicity".encode(), coding(_OMB, code, name), quoted(name))
    for hispanic, (code, name) in ((True, HISPANIC), (False, NOT_HISPANIC))
}
_MAIDEN = b'{"url":"http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName","valueString":%b}'
_LANGUAGES = {
    culture.language: concept(coding("urn:ietf:bcp:47", *culture.language), text=culture.language[1])
    for culture in CULTURES
}

_COVERAGE = (
    b'{"resourceType":"Coverage","id":"%b",'
    + meta(PROFILE + "coverage")
    + b',"identifier":[{"type":'
    + concept(coding(_TYPE, "MB", "Member Number"))
    + b',"system":"'
    + MEMBER
    + b'","value":"%b"}],"status":"%b","type":'
    + concept(coding(HL7 + "v3-ActCode", "HIP", "health insurance plan policy"))
    + b',"subscriber":%b,"subscriberId":"%b","beneficiary":%b,"relationship":'
    + concept(coding(HL7 + "subscriber-relationship", "self", "Self"))
    + b',"period":{"start":"%b"%b},"payor":[%b],"class":[{"type":'
    + concept(coding(HL7 + "coverage-class", "plan", "Plan"))
    + b',"value":"%b","name":%b}]}\n'
)


def make_person(world: World, index: int) -> Person:
    """Who patient `index` of this world is."""
    dice = Dice(world.seed, "Patient", index)
    ids = Ids(world.seed, "Patient", index)
    ident = ids()
    age_days = dice.below(34_500) if dice.chance(50) else dice.bell(200, 31_000)
    born = days.END - 30 - age_days
    died = age_days > 15_000 and dice.chance(age_days / 2_000)
    ended = days.END - dice.between(1, min(age_days // 3, 5_000)) if died else days.END
    return Person(
        index=index,
        dice=dice,
        ids=ids,
        id=ident,
        ref=reference("Patient", ident),
        name="",
        woman=dice.chance(51),
        born=born,
        ended=ended,
        died=died,
        clinic=dice.pick(world.clinics),
        height=dice.bell(1520, 1960),
        bulk=dice.bell(1800, 3900),
    )


def add_patient(person: Person, out: Lines) -> None:
    """The Patient; gives the person a name."""
    dice, age = person.dice, person.age(person.ended)
    culture = dice.pick(CULTURES)
    given = culture.women if person.woman else culture.men
    first, second, family = dice.pick(given), dice.pick(given), dice.pick(culture.families)
    person.name = f"{first} {family}"
    names = b'{"use":"official","text":%b,"family":%b,"given":[%b,%b]}' % (
        quoted(f"{first} {second} {family}"),
        quoted(family),
        quoted(first),
        quoted(second),
    )
    married = age > 22 and dice.chance(60)
    if married and person.woman:
        names += b',{"use":"maiden","family":%b,"given":[%b,%b]}' % (
            quoted(dice.pick(culture.families)),
            quoted(first),
            quoted(second),
        )
    if dice.chance(3):
        names += b',{"use":"nickname","text":%b}' % quoted(dice.pick(NICKNAMES))
    identifiers = [_RECORD % (person.index + 1, person.clinic.organization)]
    if dice.chance(90):
        identifiers.append(_SOCIAL % (dice.between(10, 99), dice.between(1000, 9999)))
    if age > 17 and dice.chance(80):
        identifiers.append(_LICENCE % (99_900_000 + dice.below(100_000)))
    race = dice.below(len(_RACES)) if dice.chance(8) else culture.race
    mother = f"{dice.pick(culture.women)} {dice.pick(culture.families)}"
    extensions = (
        _RACES[race],
        _ETHNICITIES[culture.hispanic ^ dice.chance(4)],
        _BIRTHSEX % (b"F" if person.woman else b"M"),
        _MAIDEN % quoted(mother),
    )
    line, place = address(dice)
    gender, born = b"female" if person.woman else b"male", days.date(person.born)
    practitioner = dice.pick(person.clinic.providers).practitioner
    shown = quoted(person.name)[1:-1]
    out["Patient"].append(
        _PATIENT
        % (
            person.id,
            b'"versionId":"%d","lastUpdated":"%b"'
            % (dice.between(1, 30), days.instant(person.ended - 1 - dice.below(20), dice.below(1 << 40))),
            b"%b, %b, born %b" % (shown, gender, born),
            b",".join(extensions),
            b",".join(identifiers),
            names,
            dice.between(200, 999),
            dice.below(10_000),
            dice.pick((b"home", b"mobile")),
            person.index + 1,
            gender,
            born,
            b'"deceasedDateTime":"%b",' % days.moment(person.ended, dice.below(1440)) if person.died else b"",
            *divmod(place.latitude + dice.below(300), 10_000),
            *divmod(place.longitude + dice.below(300), 10_000),
            quoted(line),
            quoted(place.city),
            place.state.encode(),
            place.postal.encode(),
            _MARITAL[1 if married else 0 if age < 30 else dice.pick((0, 2, 3))],
            b"true" if dice.chance(3) else b"false",
            _EMERGENCY,
            quoted(mother),
            dice.between(200, 999),
            dice.below(10_000),
            _LANGUAGES[culture.language],
            practitioner,
            person.clinic.organization,
        )
    )


def add_coverage(person: Person, world: World, out: Lines) -> None:
    """The insurances of a life, one after the other."""
    dice, start = person.dice, person.born
    while True:
        changes = person.ended - start > 9_000 and dice.chance(40)
        ident, payer = person.ids(), dice.below(len(world.payers))
        end = dice.between(start + 3_000, person.ended - 3_000) if changes else None
        member = b"M%07d-%02d" % (dice.below(10_000_000), person.index % 100)
        updated = max(days.BEGIN, start, end or person.ended - dice.between(1, 900))
        out["Coverage"].append(
            _COVERAGE
            % (
                ident,
                b'"versionId":"%d","lastUpdated":"%b"'
                % (dice.between(1, 3), days.instant(updated, dice.below(1 << 40))),
                member,
                b"cancelled" if changes else b"active",
                person.ref,
                member,
                person.ref,
                days.date(start),
                b',"end":"%b"' % days.date(end) if end is not None else b"",
                world.payers[payer],
                b"P-%03d" % dice.below(1000),
                quoted(dice.pick(("Gold", "Silver", "Bronze Plus", "Basic Care"))),
            )
        )
        person.covers.append((start, reference("Coverage", ident), world.payers[payer]))
        if end is None:
            return
        start = end
