"""Who cares together, and what for: teams and plans."""

from __future__ import annotations

from fhirferry.samples import days
from fhirferry.samples.codes import Problem
from fhirferry.samples.fragments import LOINC, PROFILE, SNOMED, US_CORE, coding, concept, meta, quoted
from fhirferry.samples.visits import Visit

_TEAM = (
    b'{"resourceType":"CareTeam","id":"%b",'
    + meta(PROFILE + "careteam")
    + b',"status":"active","category":['
    + concept(coding(LOINC, "LA28865-6", "Longitudinal care-coordination focused care team"))
    + b'],"name":%b,"subject":%b,"encounter":%b,"period":{"start":"%b"},"participant":[%b],"reasonReference":[%b],'
    b'"managingOrganization":[%b]}\n'
)
_PARTICIPANT = b'{"role":[%b],"member":%b,"period":{"start":"%b"%b}}'
_ROLES = [
    concept(coding(SNOMED, code, name), text=name)
    for code, name in (
        ("116154003", "Patient"),
        ("446050000", "Primary care physician"),
        ("223366009", "Healthcare professional"),
        ("224891009", "Healthcare services"),
    )
]
_PLAN = (
    b'{"resourceType":"CarePlan","id":"%b",'
    + meta(PROFILE + "careplan")
    + b',"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">Care plan for %b: %b.</div>"},'
    b'"status":"active","intent":"plan","category":['
    + concept(coding(US_CORE + "CodeSystem/careplan-category", "assess-plan"))
    + b'],"title":%b,"subject":%b,"encounter":%b,"period":{"start":"%b"},"created":"%b","author":%b,"contributor":[%b],'
    b'"careTeam":[%b],"addresses":[%b],"activity":[%b]}\n'
)
_ACTIVITY = b'{"detail":{"kind":"ServiceRequest","code":%b,"status":"%b","location":%b,"performer":[%b]}}'
_ACTIVITIES = [
    (name, concept(coding(SNOMED, code, name), text=name))
    for code, name in (
        ("229065009", "Exercise therapy"),
        ("160670007", "Diabetic diet"),
        ("698360004", "Diabetes self management plan"),
        ("91251008", "Physical therapy procedure"),
        ("228557008", "Cognitive and behavioral therapy"),
        ("183051005", "Recommendation to rest"),
    )
]


def add_plan(visit: Visit, problem: Problem, condition: bytes) -> None:
    """A CareTeam, and the CarePlan that it follows."""
    dice, person, since = visit.dice, visit.person, days.date(visit.day)
    members = [
        person.ref,
        visit.provider.practitioner,
        dice.pick(person.clinic.providers).role,
        person.clinic.organization,
    ]
    until = min(visit.day + 400, person.ended)
    team = visit.add(
        "CareTeam",
        _TEAM,
        quoted(f"Care team for {person.name}: {problem.name.lower()}"),
        person.ref,
        visit.ref,
        since,
        b",".join(
            _PARTICIPANT % (role, member, since, b',"end":"%b"' % days.date(until) if number == 2 else b"")
            for number, (role, member) in enumerate(zip(_ROLES, members, strict=True))
        ),
        condition,
        person.clinic.organization,
    )
    first = dice.below(len(_ACTIVITIES))
    chosen = [_ACTIVITIES[(first + number) % len(_ACTIVITIES)] for number in range(dice.between(1, 3))]
    visit.add(
        "CarePlan",
        _PLAN,
        quoted(problem.name)[1:-1],
        quoted("; ".join(name for name, _ in chosen))[1:-1],
        quoted(f"{problem.name}: care plan"),
        person.ref,
        visit.ref,
        since,
        visit.start,
        visit.provider.practitioner,
        members[2],
        team,
        condition,
        b",".join(
            _ACTIVITY % (code, dice.pick((b"in-progress", b"completed")), visit.place, visit.provider.practitioner)
            for _, code in chosen
        ),
    )
