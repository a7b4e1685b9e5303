"""What is done and found in these histories: real codes of things that are common."""

from __future__ import annotations

import msgspec

from fhirferry.samples.fragments import CPT, CVX, HL7, ICD10, RXNORM, SNOMED, coding, concept, quoted, table


class Problem(msgspec.Struct, frozen=True):
    """A condition. code: CodeableConcept. drugs: indexes into DRUGS. onset: years of age from which on it may begin.
    percent: so many people get it. panel: the laboratory panel that follows it, empty for none. services: indexes
    into HOSPITAL."""

    name: str
    code: bytes
    drugs: list[int]
    onset: int = 0
    percent: int = 0
    panel: str = ""
    services: list[int] = []


class Drug(msgspec.Struct, frozen=True):
    """A medicine. form: of the dose, as the label says it."""

    name: str
    code: bytes
    form: str
    dosage: bytes


class Service(msgspec.Struct, frozen=True):
    """Something that is done and paid for. code: what it is to the clinic, billing: to the payer, both CodeableConcept.
    since: years of age."""

    name: str
    code: bytes
    billing: bytes
    cents: int
    since: int = 0
    women: bool = False
    implant: bytes = b""


class Vaccine(msgspec.Struct, frozen=True):
    """A vaccine. first, last: years of age at which it is given."""

    name: str
    code: bytes
    billing: bytes
    first: int
    last: int


class Allergy(msgspec.Struct, frozen=True):
    """What somebody is allergic to. category: as AllergyIntolerance.category has it."""

    code: bytes
    category: bytes
    reaction: bytes


def billing(cpt: str, text: str) -> bytes:
    """A procedure as payers code it. CPT's own texts are not free to copy."""
    return concept(coding(CPT, cpt), text=text)


_TIMES = (
    ("Take once a day", b'{"frequency":1,"period":1,"periodUnit":"d"}'),
    ("Take twice a day", b'{"frequency":2,"period":1,"periodUnit":"d"}'),
    ("Take every six hours as needed", b'{"frequency":1,"period":6,"periodUnit":"h"}'),
)
_ROUTES = {
    "tablet": coding(SNOMED, "26643006", "Oral route"),
    "capsule": coding(SNOMED, "26643006", "Oral route"),
    "puff": coding(SNOMED, "447694001", "Respiratory tract route"),
}


def _dosage(form: str, time: int) -> bytes:
    text, repeat = _TIMES[time]
    needed = b"true" if time == 2 else b"false"
    return (
        b'[{"sequence":1,"text":%b,"timing":{"repeat":%b},"asNeededBoolean":%b,"route":{"coding":[%b]},"doseAndRate":[{"type":'
        b'%b,"doseQuantity":{"value":1.0,"unit":"%b","system":"http://unitsofmeasure.org","code":"{%b}"}}]}]'
        % (
            quoted(text),
            repeat,
            needed,
            _ROUTES[form],
            concept(coding(HL7 + "dose-rate-type", "ordered", "Ordered")),
            form.encode(),
            form.encode(),
        )
    )


DRUGS = [
    Drug(name, concept(coding(RXNORM, code, name), text=name), form, _dosage(form, int(time)))
    for code, name, form, time in table("""
314076 | lisinopril 10 MG Oral Tablet | tablet | 0
310798 | hydrochlorothiazide 25 MG Oral Tablet | tablet | 0
197361 | amlodipine 5 MG Oral Tablet | tablet | 0
861007 | metformin hydrochloride 500 MG Oral Tablet | tablet | 1
312961 | simvastatin 20 MG Oral Tablet | tablet | 0
617310 | atorvastatin 20 MG Oral Tablet | tablet | 0
745679 | 200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler | puff | 2
895994 | 120 ACTUAT fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler | puff | 1
966222 | levothyroxine sodium 0.075 MG Oral Tablet | tablet | 0
312938 | sertraline 100 MG Oral Tablet | tablet | 0
855332 | warfarin sodium 5 MG Oral Tablet | tablet | 0
309362 | clopidogrel 75 MG Oral Tablet | tablet | 0
197604 | digoxin 0.125 MG Oral Tablet | tablet | 0
313782 | acetaminophen 325 MG Oral Tablet | tablet | 2
310965 | ibuprofen 200 MG Oral Tablet | tablet | 2
308182 | amoxicillin 250 MG Oral Capsule | capsule | 1
834061 | penicillin V potassium 250 MG Oral Tablet | tablet | 1
849574 | naproxen sodium 220 MG Oral Tablet | tablet | 2
""")
]


def _problem(
    snomed: str,
    name: str,
    icd: str,
    shown: str,
    drugs: str,
    onset: str = "0",
    percent: str = "0",
    panel: str = "",
    services: str = "",
) -> Problem:
    code = concept(coding(SNOMED, snomed, name), coding(ICD10, icd, shown), text=name)
    return Problem(name, code, _numbers(drugs), int(onset), int(percent), panel, _numbers(services))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


CHRONIC = [
    _problem(*row)
    for row in table("""
59621000 | Essential hypertension | I10 | Essential (primary) hypertension | 0 1 2 | 35 | 38 | BMP
44054006 | Type 2 diabetes mellitus | E11.9 | Type 2 diabetes mellitus without complications | 3 | 40 | 14 | A1C
55822004 | Hyperlipidemia | E78.5 | Hyperlipidemia, unspecified | 4 5 | 35 | 28 | LIPID
195967001 | Asthma | J45.909 | Unspecified asthma, uncomplicated | 6 7 | 4 | 9 |
40930008 | Hypothyroidism | E03.9 | Hypothyroidism, unspecified | 8 | 30 | 6 | TSH
35489007 | Depressive disorder | F32.A | Depression, unspecified | 9 | 16 | 12 |
49436004 | Atrial fibrillation | I48.91 | Unspecified atrial fibrillation | 10 12 | 60 | 9 | BMP
414545008 | Ischemic heart disease | I25.9 | Chronic ischemic heart disease, unspecified | 11 5 | 55 | 10 | LIPID
396275006 | Osteoarthritis | M19.90 | Unspecified osteoarthritis, unspecified site | 17 13 | 50 | 22 |
709044004 | Chronic kidney disease | N18.9 | Chronic kidney disease, unspecified | 0 | 55 | 9 | BMP
37796009 | Migraine | G43.909 | Migraine, unspecified, not intractable, without status migrainosus | 14 | 14 | 11 |
414916001 | Obesity | E66.9 | Obesity, unspecified |  | 12 | 22 | A1C
""")
]

ACUTE = [
    _problem(*row)
    for row in table("""
444814009 | Viral sinusitis | J01.90 | Acute sinusitis, unspecified | 13
195662009 | Acute viral pharyngitis | J02.9 | Acute pharyngitis, unspecified | 13
10509002 | Acute bronchitis | J20.9 | Acute bronchitis, unspecified | 13 6
65363002 | Otitis media | H66.90 | Otitis media, unspecified, unspecified ear | 15
38822007 | Cystitis | N30.90 | Cystitis, unspecified without hematuria | 15
43878008 | Streptococcal sore throat | J02.0 | Streptococcal pharyngitis | 16
279039007 | Low back pain | M54.50 | Low back pain, unspecified | 14 17
44465007 | Sprain of ankle | S93.409A | Sprain of unspecified ligament of unspecified ankle, initial encounter | 14
""")
]
SEVERE = [
    _problem(*row)
    for row in table("""
233604007 | Pneumonia | J18.9 | Pneumonia, unspecified organism | 15 | 0 | 0 | CBC | 0
22298006 | Myocardial infarction | I21.9 | Acute myocardial infarction, unspecified | 11 5 | 45 | 0 | BMP | 1
74400008 | Appendicitis | K37 | Unspecified appendicitis | 13 | 5 | 0 | CBC | 4
44465007 | Sprain of ankle | S93.409A | Sprain of unspecified ligament of unspecified ankle, initial encounter | 14 | 3 | 0 | | 3
283371005 | Laceration of forearm | S51.819A | Laceration w/o foreign body of unsp forearm, init | 13 | 1 | 0 | | 2
239873007 | Osteoarthritis of knee | M17.9 | Osteoarthritis of knee, unspecified | 17 | 55 | 0 | | 5
27885002 | Complete atrioventricular block | I44.2 | Atrioventricular block, complete | 11 | 60 | 0 | BMP | 6 1
""")
]


def _service(snomed: str, name: str, cpt: str, plain: str, cents: str, since: str = "0", *more: str) -> Service:
    who, implant = (*more, "", "")[:2]
    device = concept(coding(SNOMED, *implant.split(maxsplit=1)), text=implant.partition(" ")[2]) if implant else b""
    code = concept(coding(SNOMED, snomed, name), text=name)
    return Service(name, code, billing(cpt, plain), int(cents), int(since), who == "women", device)


OFFICE = [
    _service(*row)
    for row in table("""
430193006 | Medication reconciliation | 1111F | medicines reviewed | 1200
171207006 | Depression screening | 96127 | brief screening questionnaire | 2650 | 12
29303009 | Electrocardiographic procedure | 93000 | electrocardiogram with report | 5850 | 30
127783003 | Spirometry | 94010 | spirometry | 7425 | 6
76601001 | Intramuscular injection | 96372 | injection | 3399
73761001 | Colonoscopy | 45378 | colonoscopy | 98750 | 45
71651007 | Mammography | 77067 | screening mammography | 21050 | 40 | women
""")
]
HOSPITAL = [
    _service(*row)
    for row in table("""
399208008 | Plain X-ray of chest | 71046 | chest X-ray, two views | 18900
29303009 | Electrocardiographic procedure | 93000 | electrocardiogram with report | 5850
288086009 | Suture open wound | 12001 | simple repair of a wound | 26350
274474001 | Bone immobilization | 29515 | short leg splint | 19025
80146002 | Appendectomy | 44970 | appendectomy, laparoscopic | 1245000
609588000 | Total replacement of knee joint | 27447 | total knee replacement | 3150000 | 0 | | 53350007 Prosthesis
307280005 | Implantation of cardiac pacemaker | 33208 | pacemaker with two leads | 2480000 | 0 | | 14106009 Cardiac pacemaker
""")
]

VACCINES = [
    Vaccine(name, concept(coding(CVX, cvx, name), text=name), billing(cpt, plain), int(first), int(last))
    for cvx, name, cpt, plain, first, last in table("""
08 | Hep B, adolescent or pediatric | 90744 | hepatitis B vaccine, child | 0 | 1
20 | DTaP | 90700 | DTaP vaccine | 0 | 6
10 | IPV | 90713 | polio vaccine | 0 | 6
49 | Hib (PRP-OMP) | 90647 | Hib vaccine | 0 | 1
119 | rotavirus, monovalent | 90681 | rotavirus vaccine | 0 | 0
03 | MMR | 90707 | MMR vaccine | 1 | 6
21 | varicella | 90716 | chickenpox vaccine | 1 | 6
83 | Hep A, ped/adol, 2 dose | 90633 | hepatitis A vaccine, child | 1 | 3
62 | HPV, quadrivalent | 90649 | HPV vaccine | 11 | 15
114 | meningococcal MCV4P | 90734 | meningococcal vaccine | 11 | 16
115 | Tdap | 90715 | Tdap vaccine | 11 | 65
140 | Influenza, seasonal, injectable, preservative free | 90656 | influenza vaccine | 1 | 120
140 | Influenza, seasonal, injectable, preservative free | 90656 | influenza vaccine | 20 | 120
43 | Hep B, adult | 90746 | hepatitis B vaccine, adult | 25 | 65
33 | pneumococcal polysaccharide vaccine, 23 valent | 90732 | pneumococcal vaccine | 65 | 120
""")
]

_REACTIONS = (
    concept(coding(SNOMED, "247472004", "Wheal"), text="Hives"),
    concept(coding(SNOMED, "271807003", "Eruption of skin"), text="Rash"),
    concept(coding(SNOMED, "267036007", "Dyspnea"), text="Shortness of breath"),
    concept(coding(SNOMED, "39579001", "Anaphylaxis"), text="Anaphylaxis"),
)
ALLERGIES = [
    Allergy(concept(coding(system, code, name), text=text), category.encode(), _REACTIONS[int(reaction)])
    for system, code, name, text, category, reaction in table(f"""
{RXNORM} | 7980 | penicillin G | Penicillin | medication | 1
{RXNORM} | 1191 | aspirin | Aspirin | medication | 2
{SNOMED} | 762952008 | Peanut | Peanut | food | 3
{SNOMED} | 735029006 | Shellfish | Shellfish | food | 0
{SNOMED} | 256277009 | Grass pollen | Grass pollen | environment | 2
{SNOMED} | 260147004 | House dust mite | House dust mite | environment | 2
{SNOMED} | 111088007 | Latex | Latex | environment | 0
""")
]
