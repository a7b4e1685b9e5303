"""What is written down: notes as text attachments, and Provenance, which says who wrote what."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

from fhirferry.samples.fragments import HL7, LOINC, PROFILE, US_CORE, coding, concept, meta, quoted
from fhirferry.samples.visits import STAY, Visit

_DOCUMENT = (
    b'{"resourceType":"DocumentReference","id":"%b",'
    + meta(PROFILE + "documentreference")
    + b',"identifier":[{"system":"urn:oid:2.16.840.1.113883.19.5.4","value":"%b"}],"status":"current","docStatus":"final",'
    b'"type":%b,"category":['
    + concept(coding(US_CORE + "CodeSystem/us-core-documentreference-category", "clinical-note", "Clinical Note"))
    + b'],"subject":%b,"date":"%b","author":[%b],"custodian":%b,"content":[{"attachment":{"contentType":'
    b'"text/plain; charset=utf-8","language":"en-US","data":"%b","size":%d,"hash":"%b","title":%b,"creation":"%b"},"format":'
    b'{"system":"http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode","code":"urn:ihe:iti:xds:2017:mimeTypeSufficient",'
    b'"display":"mimeType Sufficient"}}],"context":{"encounter":[%b],"period":{"start":"%b","end":"%b"}}}\n'
)
_NOTES = {
    stay: (title, concept(coding(LOINC, code, title), text=title))
    for stay, code, title in ((False, "11506-3", "Progress note"), (True, "18842-5", "Discharge summary"))
}
_PROVENANCE = (
    b'{"resourceType":"Provenance","id":"%b",'
    + meta(PROFILE + "provenance")
    + b',"target":[%b],"recorded":"%b","activity":'
    + concept(coding(HL7 + "v3-DataOperation", "CREATE", "create"))
    + b',"agent":[{"type":'
    + concept(coding(HL7 + "provenance-participant-type", "author", "Author"))
    + b',"who":%b,"onBehalfOf":%b},{"type":'
    + concept(coding(US_CORE + "CodeSystem/us-core-provenance-participant-type", "transmitter", "Transmitter"))
    + b',"who":%b}]}\n'
)
_SENTENCES = [
    line.strip()
    for line in """
The patient is alert and oriented and in no acute distress.
Heart sounds are regular, without murmurs; lungs are clear on both sides.
The abdomen is soft; there is no tenderness and no mass.
No fever, chills or night sweats; weight has been steady since the last visit.
Medicines were gone through one by one; none is missed more than once a week.
Sleep is fair, appetite is good, mood is described as "so-so".
Temperature at home stayed below 38 °C, measured twice a day.
Was told to come back at once if breathing gets worse or the pain returns (≥ 7 of 10).
Laboratory results of last month were discussed; creatinine 1.50 mg/dL → 1.30 mg/dL.
Walks about 2½ km a day and has given up sugar in the coffee – café crème being the exception.
The family history was reviewed; nothing new.
An interpreter took part; questions were answered in the language of the household.
Blood pressure at home: 128/79, 131/82, 126/77; the log was copied into the chart.
Follow-up in three months, earlier if needed; influenza vaccine offered.
There is mild swelling of the left ankle (Ø 1 cm more than right), no redness.
The wound has closed well; stitches were removed without difficulty.
""".strip().splitlines()
]


def add_note(visit: Visit) -> None:
    """What the clinician wrote: half a page for a visit, pages for a stay."""
    dice, stay = visit.dice, visit.kind is STAY
    title, code = _NOTES[stay]
    paragraphs = dice.between(12, 60) if stay else dice.between(1, 4) * dice.between(1, 3)
    text = _note(visit, title, paragraphs).encode()
    written = visit.at(visit.length + 5)
    visit.add(
        "DocumentReference",
        _DOCUMENT,
        visit.id,
        code,
        visit.person.ref,
        written,
        visit.provider.practitioner,
        visit.person.clinic.organization,
        b64encode(text),
        len(text),
        b64encode(sha1(text, usedforsecurity=False).digest()),
        quoted(f"{title}, {visit.person.name}"),
        written,
        visit.ref,
        visit.start,
        visit.end,
    )


def _note(visit: Visit, title: str, paragraphs: int) -> str:
    dice, person = visit.dice, visit.person
    parts = [
        f"{title.upper()}\n{person.name}, {person.age(visit.day)} years\n{visit.provider.name}, {person.clinic.name}"
    ]
    for _ in range(paragraphs):
        first, count = dice.below(len(_SENTENCES)), dice.between(2, 6)
        parts.append(" ".join((_SENTENCES * 2)[first : first + count]))
    return "\n\n".join(parts) + "\n"


def add_provenance(visit: Visit) -> None:
    """Who made all that came of this visit."""
    visit.add(
        "Provenance",
        _PROVENANCE,
        b",".join(visit.made),
        visit.at(visit.length + 30),
        visit.provider.practitioner,
        visit.person.clinic.organization,
        visit.person.clinic.organization,
    )
