"""What is measured: LOINC codes, UCUM units, ranges; each compiled into a template of its Observation."""

from __future__ import annotations

import msgspec

from fhirferry.samples.codes import billing
from fhirferry.samples.fragments import (
    HL7,
    LOINC,
    PROFILE,
    UCUM,
    coding,
    concept,
    literal,
    meta,
    quoted,
    table,
)

# id, version and time, subject, encounter, time, performer: what all Observations are given in this order.
_HEAD = b'{"resourceType":"Observation","id":"%%b",%b,"status":"final","category":[%b],"code":%b,"subject":%%b,"encounter":%%b,'
_WHEN = b'"effectiveDateTime":"%b","issued":"%b","performer":[%b],'


class Measure(msgspec.Struct, frozen=True):
    """A quantity. low, high: the usual range, in units of the last of `places` decimals. observation: a template with
    slots for id, stamps, subject, encounter, time twice, performer, value, and (laboratory) its interpretation."""

    name: str
    low: int
    high: int
    places: int
    observation: bytes


class Panel(msgspec.Struct, frozen=True):
    """A laboratory order: what it measures, its code as a report and as a bill."""

    name: str
    code: bytes
    billing: bytes
    cents: int
    measures: list[Measure]


def category(code: str, display: str) -> bytes:
    """Observation.category"""
    return concept(coding(HL7 + "observation-category", code, display))


def head(profile: str, kind: bytes, code: bytes) -> bytes:
    """An Observation's template up to its value."""
    profiled = meta(PROFILE + profile) if profile else b'"meta":{%b}'
    return _HEAD % (profiled, literal(kind), literal(code)) + _WHEN


def quantity(unit: str, code: str) -> bytes:
    """A Quantity's template, a slot for its value."""
    return b'{"value":%%b,"unit":%b,"system":"%b","code":%b}' % (
        literal(quoted(unit)),
        UCUM.encode(),
        literal(quoted(code)),
    )


def _scaled(text: str) -> tuple[int, int]:
    whole, _, rest = text.partition(".")
    return int(whole + rest), len(rest)


VITAL = category("vital-signs", "Vital Signs")
LABORATORY = category("laboratory", "Laboratory")
SOCIAL = category("social-history", "Social History")
SURVEY = category("survey", "Survey")


def _vital(profile: str, code: bytes, unit: str, ucum: str, low: str, high: str, name: str) -> Measure:
    (least, places), (most, _) = _scaled(low), _scaled(high)
    return Measure(
        name, least, most, places, head(profile, VITAL, code) + b'"valueQuantity":' + quantity(unit, ucum) + b"}\n"
    )


VITALS = {
    name: _vital(profile, concept(coding(LOINC, loinc, display), text=display), unit, ucum, low, high, name)
    for name, profile, loinc, display, unit, ucum, low, high in table("""
height | body-height | 8302-2 | Body height | cm | cm | 48.0 | 200.0
weight | body-weight | 29463-7 | Body weight | kg | kg | 2.50 | 160.00
bmi | bmi | 39156-5 | Body mass index (BMI) [Ratio] | kg/m2 | kg/m2 | 14.00 | 45.00
pulse | heart-rate | 8867-4 | Heart rate | /min | /min | 55 | 105
breath | respiratory-rate | 9279-1 | Respiratory rate | /min | /min | 12 | 20
heat | body-temperature | 8310-5 | Body temperature | Cel | Cel | 36.1 | 39.4
""")
}
VITALS["oxygen"] = _vital(
    "pulse-oximetry",
    concept(
        coding(LOINC, "2708-6", "Oxygen saturation in Arterial blood"),
        coding(LOINC, "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
        text="Oxygen saturation by pulse oximetry",
    ),
    "%",
    "%",
    "93",
    "100",
    "oxygen",
)
PAIN_NAME = "Pain severity - 0-10 verbal numeric rating [Score] - Reported"
PAIN = (
    head("", SURVEY, concept(coding(LOINC, "72514-3", PAIN_NAME), text=PAIN_NAME))
    + b'"valueQuantity":'
    + quantity("{score}", "{score}")
    + b"}\n"
)

# A slot more behind the performer: the device, or nothing. Then systolic and diastolic.
BLOOD_PRESSURE = (
    head(
        "blood-pressure",
        VITAL,
        concept(
            coding(LOINC, "85354-9", "Blood pressure panel with all children optional"), text="Blood pressure panel"
        ),
    )
    + b'%b"component":['
    + b",".join(
        b'{"code":%b,"valueQuantity":%b}' % (literal(concept(coding(LOINC, code, name))), quantity("mm[Hg]", "mm[Hg]"))
        for code, name in (("8480-6", "Systolic blood pressure"), ("8462-4", "Diastolic blood pressure"))
    )
    + b"]}\n"
)

SMOKING = (
    head("smokingstatus", SOCIAL, concept(coding(LOINC, "72166-2", "Tobacco smoking status"), text="Smoking status"))
    + b'"valueCodeableConcept":%b}\n'
)
SMOKERS = [
    concept(coding("http://snomed.info/sct", code, name), text=name)
    for code, name in (("266919005", "Never smoker"), ("8517006", "Ex-smoker"), ("449868002", "Smokes tobacco daily"))
]

INTERPRETATION = {code: concept(coding(HL7 + "v3-ObservationInterpretation", code)) for code in "LNH"}


def _lab(row: list[str]) -> Measure:
    loinc, display, unit, low, high = row
    (least, places), (most, _) = _scaled(low), _scaled(high)
    bound = b'{"value":%b,"unit":' + literal(quoted(unit)) + b"}"
    range_ = b'"referenceRange":[{"low":%b,"high":%b}]' % (bound % low.encode(), bound % high.encode())
    observation = (
        head("observation-lab", LABORATORY, concept(coding(LOINC, loinc, display), text=display))
        + b'"valueQuantity":'
        + quantity(unit, unit)
        + b',"interpretation":[%b],'
        + literal(range_)
        + b"}\n"
    )
    return Measure(display, least, most, places, observation)


def _panel(loinc: str, name: str, cpt: str, plain: str, cents: int, rows: str) -> Panel:
    code = concept(coding(LOINC, loinc, name), text=name)
    return Panel(name, code, billing(cpt, plain), cents, [_lab(row) for row in table(rows)])


PANELS = {
    "CBC": _panel(
        "58410-2",
        "CBC panel - Blood by Automated count",
        "85027",
        "complete blood count",
        1089,
        """
6690-2 | Leukocytes [#/volume] in Blood by Automated count | 10*3/uL | 4.50 | 11.00
789-8 | Erythrocytes [#/volume] in Blood by Automated count | 10*6/uL | 4.10 | 5.90
718-7 | Hemoglobin [Mass/volume] in Blood | g/dL | 12.0 | 17.5
4544-3 | Hematocrit [Volume Fraction] of Blood by Automated count | % | 36.0 | 50.0
787-2 | MCV [Entitic volume] by Automated count | fL | 80.0 | 100.0
777-3 | Platelets [#/volume] in Blood by Automated count | 10*3/uL | 150 | 400
""",
    ),
    "BMP": _panel(
        "51990-0",
        "Basic metabolic panel - Blood",
        "80048",
        "basic metabolic panel",
        1444,
        """
2345-7 | Glucose [Mass/volume] in Serum or Plasma | mg/dL | 70 | 100
3094-0 | Urea nitrogen [Mass/volume] in Serum or Plasma | mg/dL | 7.0 | 20.0
2160-0 | Creatinine [Mass/volume] in Serum or Plasma | mg/dL | 0.60 | 1.50
2951-2 | Sodium [Moles/volume] in Serum or Plasma | mmol/L | 136 | 145
2823-3 | Potassium [Moles/volume] in Serum or Plasma | mmol/L | 3.50 | 5.10
2075-0 | Chloride [Moles/volume] in Serum or Plasma | mmol/L | 98 | 107
17861-6 | Calcium [Mass/volume] in Serum or Plasma | mg/dL | 8.50 | 10.50
""",
    ),
    "LIPID": _panel(
        "57698-3",
        "Lipid panel with direct LDL - Serum or Plasma",
        "80061",
        "lipid panel",
        2290,
        """
2093-3 | Cholesterol [Mass/volume] in Serum or Plasma | mg/dL | 125 | 200
2571-8 | Triglyceride [Mass/volume] in Serum or Plasma | mg/dL | 50 | 150
18262-6 | Cholesterol in LDL [Mass/volume] in Serum or Plasma by Direct assay | mg/dL | 50 | 130
2085-9 | Cholesterol in HDL [Mass/volume] in Serum or Plasma | mg/dL | 40 | 80
""",
    ),
    "A1C": _panel(
        "4548-4",
        "Hemoglobin A1c/Hemoglobin.total in Blood",
        "83036",
        "hemoglobin A1c",
        1650,
        "4548-4 | Hemoglobin A1c/Hemoglobin.total in Blood | % | 4.0 | 6.5",
    ),
    "TSH": _panel(
        "3016-3",
        "Thyrotropin [Units/volume] in Serum or Plasma",
        "84443",
        "thyroid stimulating hormone",
        2840,
        "3016-3 | Thyrotropin [Units/volume] in Serum or Plasma | m[IU]/L | 0.400 | 4.000",
    ),
}

# One Observation whose results are components: the dipstick. Slots of the values: gravity, pH, protein, glucose, blood.
_STRIP = (
    ("5811-5", "Specific gravity of Urine by Test strip", b'"valueQuantity":' + quantity("{ratio}", "{ratio}")),
    ("5803-2", "pH of Urine by Test strip", b'"valueQuantity":' + quantity("[pH]", "[pH]")),
    ("20454-5", "Protein [Presence] in Urine by Test strip", b'"valueCodeableConcept":%b'),
    ("25428-4", "Glucose [Presence] in Urine by Test strip", b'"valueCodeableConcept":%b'),
    ("5794-3", "Hemoglobin [Presence] in Urine by Test strip", b'"valueCodeableConcept":%b'),
)
STRIP_CODE = concept(coding(LOINC, "24357-6", "Urinalysis macro (dipstick) panel - Urine"), text="Urinalysis, dipstick")
STRIP_BILLING = billing("81003", "urinalysis by dipstick")
STRIP = (
    head("observation-lab", LABORATORY, STRIP_CODE)
    + b'"component":['
    + b",".join(
        b'{"code":%b,%b}' % (literal(concept(coding(LOINC, code, name), text=name)), value)
        for code, name, value in _STRIP
    )
    + b"]}\n"
)
PRESENCE = [
    concept(coding("http://snomed.info/sct", code, name), text=name)
    for code, name in (("260385009", "Negative"), ("441614007", "Present one plus out of three plus"))
]

# An analyser's running total: a number that no double can hold.
COUNTER = head("", LABORATORY, concept(text="Photons counted since installation")) + (
    b'"valueQuantity":{"value":%b,"unit":"{count}","system":"http://unitsofmeasure.org","code":"{count}"}}\n'
)
