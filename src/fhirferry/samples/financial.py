"""What it costs: a Claim for every visit, and the ExplanationOfBenefit that answers it."""

from __future__ import annotations

from fhirferry.samples import days
from fhirferry.samples.codes import billing
from fhirferry.samples.fragments import HL7, coding, concept, money
from fhirferry.samples.visits import EMERGENCY, STAY, Visit

_TYPES = {
    False: concept(coding(HL7 + "claim-type", "professional", "Professional")),
    True: concept(coding(HL7 + "claim-type", "institutional", "Institutional")),
}
_PLACE = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
_OFFICE = concept(coding(_PLACE, "11", "Office"))
_PLACES = {
    EMERGENCY.name: concept(coding(_PLACE, "23", "Emergency Room - Hospital")),
    STAY.name: concept(coding(_PLACE, "21", "Inpatient Hospital")),
}
_CARE_TEAM = b'[{"sequence":1,"provider":%%b,"role":%b}]' % concept(
    coding(HL7 + "claimcareteamrole", "primary", "Primary provider")
)
_DIAGNOSIS = b'{"sequence":%%d,"diagnosisReference":%%b,"type":[%b]}' % concept(
    coding(HL7 + "ex-diagnosistype", "principal", "Principal Diagnosis")
)
_CLAIM = (
    b'{"resourceType":"Claim","id":"%b","meta":{%b},"status":"active","type":%b,"use":"claim","patient":%b,"billablePeriod":'
    b'{"start":"%b","end":"%b"},"created":"%b","insurer":%b,"provider":%b,"priority":'
    + concept(coding(HL7 + "processpriority", "normal", "Normal"))
    + b',"facility":%b,"careTeam":%b,%b"insurance":[{"sequence":1,"focal":true,"coverage":%b}],"item":[%b],"total":%b}\n'
)
_ITEM = b'{"sequence":%d,"careTeamSequence":[1],%b"productOrService":%b,"servicedDate":"%b","net":%b%b}'
_EOB = (
    b'{"resourceType":"ExplanationOfBenefit","id":"%b","meta":{%b},"identifier":[{"system":"urn:oid:2.16.840.1.113883.19.5.5",'
    b'"value":"%b"}],"status":"active","type":%b,"use":"claim","patient":%b,"billablePeriod":{"start":"%b","end":"%b"},'
    b'"created":"%b","insurer":%b,"provider":%b,"facility":%b,"claim":%b,"outcome":"complete","disposition":'
    b'"Processed in full","careTeam":%b,%b"insurance":[{"focal":true,"coverage":%b}],"item":[%b],"total":[%b],'
    b'"payment":{"type":'
    + concept(coding(HL7 + "ex-paymenttype", "complete", "Complete"))
    + b',"date":"%b","amount":%b}}\n'
)
_EOB_ITEM = (
    b'{"sequence":%d,"careTeamSequence":[1],%b"category":'
    + concept(coding(HL7 + "ex-benefitcategory", "1", "Medical Care"))
    + b',"productOrService":%b,"servicedDate":"%b","locationCodeableConcept":%b,"quantity":{"value":%d},"net":%b%b,'
    b'"adjudication":[%b]}'
)
_AMOUNTS = [
    b'{"category":%b,"amount":{"value":%%d.%%02d,"currency":"USD"}}' % concept(coding(HL7 + "adjudication", code))
    for code in ("submitted", "eligible", "copay", "benefit")
]
_ADJUDICATION = b",".join(_AMOUNTS)
_DAILY = (
    (billing("99232", "hospital care, another day"), 10_575),
    (billing("94760", "pulse oximetry"), 1_212),
    (billing("96365", "infusion, first hour"), 23_040),
    (billing("36415", "drawing of blood"), 900),
    (billing("97110", "therapeutic exercise"), 4_385),
)


def add_claims(visit: Visit) -> None:
    """The Claim, and what the insurer made of it."""
    dice, person = visit.dice, visit.person
    if visit.kind is STAY:
        for _ in range(1 + visit.length // 1440):
            visit.bill += _DAILY[: dice.between(1, len(_DAILY))]
    coverage, insurer = person.cover(visit.day)
    diagnoses = b""
    if visit.reasons:
        found = b",".join(_DIAGNOSIS % (number, reason) for number, reason in enumerate(visit.reasons, 1))
        diagnoses = b'"diagnosis":[%b],' % found
    link = b'"diagnosisSequence":[1],' if diagnoses else b""
    institutional = visit.kind in (EMERGENCY, STAY)
    team = _CARE_TEAM % visit.provider.practitioner
    items, answers, totals = _items(visit, link)
    total = totals[0]
    who = (_TYPES[institutional], person.ref, visit.start, visit.end)
    claim = visit.add(
        "Claim",
        _CLAIM,
        *who,
        visit.end,
        insurer,
        person.clinic.organization,
        visit.place,
        team,
        diagnoses,
        coverage,
        items,
        money(total),
    )
    ended = visit.day + visit.length // 1440
    settled = min(ended + dice.between(2, 40), days.END - 1)
    amounts = b",".join(amount % divmod(cents, 100) for amount, cents in zip(_AMOUNTS, totals, strict=True))
    visit.add(
        "ExplanationOfBenefit",
        _EOB,
        visit.id,
        *who,
        days.moment(settled, 600),
        insurer,
        person.clinic.organization,
        visit.place,
        claim,
        team,
        diagnoses,
        coverage,
        answers,
        amounts,
        days.date(settled),
        money(totals[-1]),
        late=settled - ended,
    )


def _items(visit: Visit, link: bytes) -> tuple[bytes, bytes, list[int]]:
    """Items of the claim, of the answer, and the sums of the answer's amounts in cents."""
    dice, place = visit.dice, _PLACES.get(visit.kind.name, _OFFICE)
    items, answers, totals = [], [], [0] * len(_AMOUNTS)
    encounter = b',"encounter":[%b]' % visit.ref
    date = days.date(visit.day)
    for number, (code, cents) in enumerate(visit.bill, 1):
        eligible = cents * dice.between(60, 100) // 100
        copay = eligible * dice.between(0, 2) // 10
        benefit = eligible - copay
        totals = [totals[0] + cents, totals[1] + eligible, totals[2] + copay, totals[3] + benefit]
        net = money(cents)
        first = encounter if number == 1 else b""
        items.append(_ITEM % (number, link, code, date, net, first))
        adjudication = _ADJUDICATION % (
            *divmod(cents, 100),
            *divmod(eligible, 100),
            *divmod(copay, 100),
            *divmod(benefit, 100),
        )
        answers.append(_EOB_ITEM % (number, link, code, date, place, 1, net, first, adjudication))
    return b",".join(items), b",".join(answers), totals
