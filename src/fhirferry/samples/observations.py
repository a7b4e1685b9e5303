"""What is measured at a visit: vital signs, laboratory panels, habits."""

from __future__ import annotations

from fhirferry.samples.fragments import HL7, PROFILE, coding, concept, decimal, meta
from fhirferry.samples.measures import (
    BLOOD_PRESSURE,
    COUNTER,
    INTERPRETATION,
    PAIN,
    PRESENCE,
    SMOKERS,
    SMOKING,
    STRIP,
    STRIP_BILLING,
    STRIP_CODE,
    VITALS,
    Measure,
    Panel,
)
from fhirferry.samples.visits import CHECK_UP, STAY, Visit

COUNTED = b"100000000000000000000.1"
_REPORT = (
    b'{"resourceType":"DiagnosticReport","id":"%b",'
    + meta(PROFILE + "diagnosticreport-lab")
    + b',"status":"final","category":['
    + concept(coding(HL7 + "v2-0074", "LAB", "Laboratory"))
    + b'],"code":%b,"subject":%b,"encounter":%b,"effectiveDateTime":"%b","issued":"%b","performer":[%b],'
    b'"resultsInterpreter":[%b],"result":[%b],"conclusion":"%b"}\n'
)
_HEIGHT, _WEIGHT, _BMI = VITALS["height"], VITALS["weight"], VITALS["bmi"]
_PULSE, _BREATH, _HEAT, _OXYGEN = VITALS["pulse"], VITALS["breath"], VITALS["heat"], VITALS["oxygen"]


def add_vitals(visit: Visit, *, hypertension: bool) -> None:
    """A blood pressure always, the others as it comes."""
    dice = visit.dice
    high = dice.bell(125, 175) if hypertension else dice.bell(95, 138)
    _pressure(visit, high, high - dice.between(30, 55))
    if visit.kind is CHECK_UP:
        age = min(visit.person.age(visit.day), 18)
        height = 520 + (visit.person.height - 520) * age // 18
        bulk = visit.person.bulk * (12 + age) // 30 if age < 18 else visit.person.bulk + dice.between(-90, 90)
        grams = bulk * height * height // 100_000
        _vital(visit, _HEIGHT, height)
        _vital(visit, _WEIGHT, grams // 10)
        if age > 1:
            _vital(visit, _BMI, grams * 100_000 // (height * height))
    else:
        _vital(visit, _HEAT, dice.bell(_HEAT.low, _HEAT.high))
        if dice.chance(40):
            _vital(visit, _OXYGEN, dice.between(_OXYGEN.low, _OXYGEN.high))
        if dice.chance(50):
            start = visit.start
            visit.add(
                "Observation", PAIN, *_who(visit), start, start, visit.provider.practitioner, b"%d" % dice.below(11)
            )
    if dice.chance(90):
        _vital(visit, _PULSE, dice.bell(_PULSE.low, _PULSE.high))
    if dice.chance(75):
        _vital(visit, _BREATH, dice.bell(_BREATH.low, _BREATH.high))


def add_smoking(visit: Visit, habit: int) -> None:
    """Tobacco: 0 never, 1 formerly, 2 daily."""
    start = visit.start
    visit.add("Observation", SMOKING, *_who(visit), start, start, visit.provider.practitioner, SMOKERS[habit])


def add_panel(visit: Visit, panel: Panel, *, after: int = 30) -> None:
    """A laboratory's results and the report on them; after: minutes from the start."""
    dice, when, performer = visit.dice, visit.at(after), visit.person.clinic.organization
    who = _who(visit)
    results, odd = [], 0
    for measure in panel.measures:
        spread = (measure.high - measure.low) // 5
        value = max(1, dice.bell(measure.low - spread, measure.high + spread))
        mark = "L" if value < measure.low else "H" if value > measure.high else "N"
        odd += mark != "N"
        results.append(
            visit.add(
                "Observation",
                measure.observation,
                *who,
                when,
                when,
                performer,
                decimal(value, measure.places),
                INTERPRETATION[mark],
            )
        )
    _report(visit, panel.code, when, results, b"%d of %d results outside of their range" % (odd, len(results)))
    visit.bill.append((panel.billing, panel.cents))


def add_dipstick(visit: Visit) -> None:
    """A urine test: one Observation with components."""
    dice, when = visit.dice, visit.at(20)
    found = visit.add(
        "Observation",
        STRIP,
        *_who(visit),
        when,
        when,
        visit.person.clinic.organization,
        decimal(dice.between(1003, 1030), 3),
        decimal(dice.between(10, 16) * 5, 1),
        *(PRESENCE[dice.chance(12)] for _ in range(3)),
    )
    _report(visit, STRIP_CODE, when, [found], b"Read by eye")
    visit.bill.append((STRIP_BILLING, 425))


def add_count(visit: Visit) -> None:
    """A number with more digits than a double has."""
    when = visit.at(25)
    visit.add("Observation", COUNTER, *_who(visit), when, when, visit.person.clinic.organization, COUNTED)


def _who(visit: Visit) -> tuple[bytes, bytes]:
    return visit.person.ref, visit.ref


def _vital(visit: Visit, measure: Measure, value: int) -> None:
    start = visit.start
    visit.add(
        "Observation",
        measure.observation,
        visit.person.ref,
        visit.ref,
        start,
        start,
        visit.provider.practitioner,
        decimal(value, measure.places),
    )


def _pressure(visit: Visit, high: int, low: int) -> None:
    start = visit.start
    device = b'"device":%b,' % visit.person.clinic.cuff if visit.kind is not STAY else b""
    visit.add(
        "Observation",
        BLOOD_PRESSURE,
        visit.person.ref,
        visit.ref,
        start,
        start,
        visit.provider.practitioner,
        device,
        b"%d" % high,
        b"%d" % low,
    )


def _report(visit: Visit, code: bytes, when: bytes, results: list[bytes], conclusion: bytes) -> None:
    visit.add(
        "DiagnosticReport",
        _REPORT,
        code,
        *_who(visit),
        when,
        when,
        visit.person.clinic.organization,
        visit.provider.practitioner,
        b",".join(results),
        conclusion,
    )
