"""Odd corners, all of them right by FHIR's rules: what breaks readers that were only shown the usual."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator

from fhirferry.samples.fragments import LOINC, coding, concept, reference
from fhirferry.samples.groups import group_id, make_group
from fhirferry.samples.providers import World
from fhirferry.samples.rng import Dice, patient_id

Odd = tuple[str, Iterable[bytes]]
"""Resource type, and one line in pieces."""

LARGE = 25_000_000
"""Bytes of the largest resource, about."""
_PIECE = 3 * 100_000
DEEP = 60
LONG = 1_000_000
"""Characters, close to the most that FHIR allows in a string."""
LONG_ID = b"Odd.id-64.%b" % b"-.0123456789.abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:54]

_DOCUMENT = (
    b'{"resourceType":"DocumentReference","id":"large","meta":{"versionId":"1","lastUpdated":"2024-02-29T23:59:59.999Z"},'
    b'"status":"current","type":' + concept(coding(LOINC, "11526-1"), text="Scanned record") + b',"subject":%b,'
    b'"content":[{"attachment":{"contentType":"application/octet-stream","size":%d,"data":"'
)
_ESCAPED = (
    rb'{"resourceType":"Patient","id":"%b","meta":{"versionId":"1","lastUpdated":"2016-12-31T23:59:59.999999+14:00"},'
    rb'"name":[{"text":"Ren\u00e9e \ud83d\ude42 \u5f20\/\u5F20 \"Q\\\" O\u0027Neil","family":"O\u0027Neil",'
    rb'"given":["Ren\u00E9e"],"_given":[{"extension":[{"url":"urn:oid:2.16.840.1.113883.19.5.9",'
    rb'"valueString":"\u0645\u0631\u064a\u0645\ttab\nline"}]}]}]}'
    b"\n"
)
_NUMBERS = ("1E-7", "1.0e+3", "-0.00", "100000000000000000000.10", "0.00000000000000000000000000000000000001", "1.50")
_VALUE = b'{"code":{"text":"Number %d"},"valueQuantity":{"value":%b}}'
_OBSERVATION = (
    b'{"resourceType":"Observation","id":"%b","meta":{"versionId":"1"},"status":"final","code":{"text":"Odd numbers"},'
    b'"subject":%b,"component":[%b],"note":[{"text":"%b"}]}\n'
)
_BASIC = (
    b'{"resourceType":"Basic","id":"deep","extension":[%b],"code":{"text":"Extensions in extensions"},"subject":%b}\n'
)
_QUESTIONS = b'{"resourceType":"Questionnaire","id":"deep","status":"draft","item":[%b]}\n'
_DESCRIBED = (
    b'{"resourceType":"Group","id":"%b","type":"person","actual":false,"name":"Described, not listed","quantity":0,'
    b'"characteristic":[{"code":{"text":"Has been to the moon"},"valueBoolean":true,"exclude":false}]}\n'
)


def make_odd(world: World) -> Iterator[Odd]:
    """The odd corners of a set with at least one patient."""
    seed = world.seed
    patient = reference("Patient", patient_id(seed, 0))
    yield "DocumentReference", _large(patient, Dice(seed, "large"))
    yield "Patient", [_ESCAPED % LONG_ID]
    numbers = b",".join(_VALUE % (place, number.encode()) for place, number in enumerate(_NUMBERS))
    yield (
        "Observation",
        [_OBSERVATION % (LONG_ID, reference("Patient", LONG_ID), numbers, b"0123456789" * (LONG // 10))],
    )
    extension = b'{"url":"urn:oid:2.16.840.1.113883.19.5.9","valueBoolean":true}'
    item = b'{"linkId":"0","type":"boolean"}'
    for depth in range(DEEP):
        extension = b'{"url":"urn:oid:2.16.840.1.113883.19.5.9","extension":[%b]}' % extension
        item = b'{"linkId":"%d","type":"group","item":[%b]}' % (depth + 1, item)
    yield "Basic", [_BASIC % (extension, patient)]
    yield "Questionnaire", [_QUESTIONS % item]
    here, there, itself = (group_id(seed, name) for name in ("loop-a", "loop-b", "loop"))
    for ident, other in ((here, there), (there, here), (itself, itself)):
        members = [b'{"entity":{"reference":"Group/%b"}}' % other, b'{"entity":%b}' % patient]
        yield "Group", [make_group(world, ident, "Runs in a circle", members)]
    yield "Group", [_DESCRIBED % group_id(seed, "described")]


def _large(patient: bytes, dice: Dice) -> Iterator[bytes]:
    pieces = LARGE * 3 // 4 // _PIECE
    yield _DOCUMENT % (patient, pieces * _PIECE)
    for _ in range(pieces):
        yield b64encode(dice.noise(_PIECE))
    yield b'"}}]}\n'
