"""A life's encounters: when, of what kind, with whom."""

from __future__ import annotations

import msgspec

from fhirferry.samples import days
from fhirferry.samples.codes import CHRONIC, Problem, billing
from fhirferry.samples.fragments import HL7, PROFILE, SNOMED, Lines, coding, concept, meta, reference
from fhirferry.samples.people import Person
from fhirferry.samples.providers import Provider
from fhirferry.samples.rng import Dice


class Kind(msgspec.Struct, frozen=True):
    """A kind of visit. actor: v3-ActCode. minutes: how long it may take. often: of a hundred."""

    name: str
    often: int
    actor: bytes
    type: bytes
    billing: bytes
    cents: int
    minutes: tuple[int, int]


class Visit(msgspec.Struct):
    """One encounter, while its resources are being made. problem: the last condition found. bill: code and cents of what
    was done. made: References to what was made. reasons: conditions found here, CodeableConcept by Reference."""

    person: Person
    dice: Dice
    out: Lines
    kind: Kind
    day: int
    minute: int
    length: int
    provider: Provider
    place: bytes
    id: bytes
    ref: bytes
    start: bytes
    end: bytes
    reasons: dict[bytes, bytes] = {}
    bill: list[tuple[bytes, int]] = []
    made: list[bytes] = []

    def add(self, kind: str, template: bytes, *slots: object, late: int = 0) -> bytes:
        """One more resource; the template's first two slots are id and stamps. late: made so many days after the visit.
        Its Reference."""
        ident = self.person.ids()
        self.out[kind].append(template % (ident, self.stamp(late), *slots))
        made = b'{"reference":"%b/%b"}' % (kind.encode(), ident)
        self.made.append(made)
        return made

    def stamp(self, late: int = 0) -> bytes:
        """Version and time: soon after the visit for most, years later for some."""
        noise = self.dice.below(1 << 40)
        day = self.day + self.length // 1440 + late
        if noise & 15:
            return b'"versionId":"1","lastUpdated":"%b"' % days.instant(
                min(day + 1 + (noise >> 38), days.END - 1), noise
            )
        day = min(day + 3 + (noise >> 4) % 1200, days.END - 1)
        return b'"versionId":"%d","lastUpdated":"%b"' % (2 + (noise >> 38), days.instant(day, noise >> 6))

    def at(self, minutes: int) -> bytes:
        """A moment after the start, or before it."""
        return days.moment(self.day, self.minute + minutes)


def _kind(
    name: str, often: int, actor: str, snomed: str, shown: str, cpt: str, cents: int, low: int, high: int
) -> Kind:
    display = {"AMB": "ambulatory", "EMER": "emergency", "IMP": "inpatient encounter", "VR": "virtual"}[actor]
    return Kind(
        name,
        often,
        coding(HL7 + "v3-ActCode", actor, display),
        concept(coding(SNOMED, snomed, shown), text=shown),
        billing(cpt, name),
        cents,
        (low, high),
    )


KINDS = [
    _kind("check-up", 46, "AMB", "185349003", "Encounter for check up", "99396", 15_850, 15, 45),
    _kind("office visit", 36, "AMB", "185345009", "Encounter for symptom", "99213", 12_916, 10, 40),
    _kind("call", 8, "VR", "185317003", "Telephone encounter", "99441", 5_675, 5, 20),
    _kind("emergency visit", 7, "EMER", "50849002", "Emergency room admission", "99283", 54_230, 60, 600),
    _kind("hospital stay", 3, "IMP", "32485007", "Hospital admission", "99223", 203_750, 1_800, 20_000),
]
CHECK_UP, OFFICE_VISIT, CALL, EMERGENCY, STAY = KINDS
_OFTEN = [kind for kind in KINDS for _ in range(kind.often)]

_ENCOUNTER = (
    b'{"resourceType":"Encounter","id":"%b",'
    + meta(PROFILE + "encounter")
    + b',"identifier":[{"use":"official","system":"urn:oid:2.16.840.1.113883.19.5.3","value":"%b"}],"status":"finished",'
    b'"class":%b,"type":[%b],"subject":%b,"participant":[{"type":['
    + concept(coding(HL7 + "v3-ParticipationType", "PPRF", "primary performer"), text="primary performer")
    + b'],"period":{"start":"%b","end":"%b"},"individual":%b}],"period":{"start":"%b","end":"%b"},%b'
    b'"location":[{"location":%b,"status":"completed"}],"serviceProvider":%b}\n'
)
_DISCHARGE = (
    b'"hospitalization":{"dischargeDisposition":'
    + concept(coding(HL7 + "discharge-disposition", "home", "Home"), text="Discharged to home")
    + b"},"
)


def chronic_problems(person: Person) -> list[tuple[int, Problem]]:
    """What the person has for life, each with the day on which it began."""
    found = []
    for problem in CHRONIC:
        onset = problem.onset + person.dice.below(30)
        day = person.born + int(onset * days.YEAR) + person.dice.below(365)
        if day < person.ended - 30 and person.dice.chance(problem.percent):
            found.append((day, problem))
    return sorted(found, key=lambda entry: entry[0])


def plan_visits(person: Person, problems: int) -> list[tuple[int, Kind]]:
    """Day and kind of each visit, in time's order; more of them lately, and for the ill."""
    dice = person.dice
    count = dice.between(1, 6) + problems * dice.between(0, 3) + (dice.between(20, 60) if dice.chance(2) else 0)
    start = max(person.born, days.BEGIN) + 5
    span = max(1, person.ended - start - 35)
    moments = sorted(span - span * dice.below(1000) * dice.below(1000) // 1_000_000 for _ in range(count))
    return [(start + moment, dice.pick(_OFTEN)) for moment in moments]


def open_visit(person: Person, day: int, kind: Kind, out: Lines) -> Visit:
    """The visit of that day, before anything happened."""
    dice = person.dice
    minute, length = dice.between(480, 1050), dice.between(*kind.minutes)
    length = min(length, (person.ended - day) * 1440 + 200)
    ident = person.ids()
    clinic = person.clinic
    return Visit(
        person=person,
        dice=dice,
        out=out,
        kind=kind,
        day=day,
        minute=minute,
        length=length,
        provider=dice.pick(clinic.providers),
        place=clinic.hospital if kind in (EMERGENCY, STAY) else clinic.office,
        id=ident,
        ref=reference("Encounter", ident),
        start=days.moment(day, minute),
        end=days.moment(day, minute + length),
        bill=[(kind.billing, kind.cents)],
    )


def add_encounter(visit: Visit) -> None:
    """The Encounter itself, when it is known what was found."""
    more = b""
    if visit.reasons:
        more = b'"reasonCode":[%b],"diagnosis":[%b],' % (
            b",".join(visit.reasons.values()),
            b",".join(b'{"condition":%b}' % found for found in visit.reasons),
        )
    if visit.kind is STAY:
        more += _DISCHARGE
    visit.out["Encounter"].append(
        _ENCOUNTER
        % (
            visit.id,
            visit.stamp(),
            visit.id[-12:],
            visit.kind.actor,
            visit.kind.type,
            visit.person.ref,
            visit.start,
            visit.end,
            visit.provider.practitioner,
            visit.start,
            visit.end,
            more,
            visit.place,
            visit.person.clinic.organization,
        )
    )
    visit.made.append(visit.ref)
