"""Pieces of JSON, as bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

Lines = defaultdict[str, list[bytes]]
"""Resource type -> resources, each one line with its newline."""

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
CPT = "http://www.ama-assn.org/go/cpt"
CVX = "http://hl7.org/fhir/sid/cvx"
UCUM = "http://unitsofmeasure.org"
NUCC = "http://nucc.org/provider-taxonomy"
HL7 = "http://terminology.hl7.org/CodeSystem/"
US_CORE = "http://hl7.org/fhir/us/core/"
PROFILE = US_CORE + "StructureDefinition/us-core-"

_DECIMALS = (b"%d", b"%d.%d", b"%d.%02d", b"%d.%03d", b"%d.%04d")


def lines() -> Lines:
    """Room for resources."""
    return defaultdict(list)


def quoted(text: str) -> bytes:
    """A JSON string; characters beyond ASCII stay themselves."""
    return msgspec.json.encode(text)


def coding(system: str, code: str, display: str = "") -> bytes:
    """A Coding."""
    shown = b',"display":' + quoted(display) if display else b""
    return b'{"system":%b,"code":%b%b}' % (quoted(system), quoted(code), shown)


def concept(*codings: bytes, text: str = "") -> bytes:
    """A CodeableConcept."""
    parts = [b'"coding":[%b]' % b",".join(codings)] if codings else []
    if text:
        parts.append(b'"text":' + quoted(text))
    return b"{%b}" % b",".join(parts)


def reference(kind: str, ident: bytes, display: str = "") -> bytes:
    """A Reference within the data set."""
    shown = b',"display":' + quoted(display) if display else b""
    return b'{"reference":"%b/%b"%b}' % (kind.encode(), ident, shown)


def meta(profile: str) -> bytes:
    """A resource's `meta` as part of a template: one slot, for version and time."""
    return b'"meta":{%%b,"profile":["%b"]}' % profile.encode()


def decimal(value: int, places: int) -> bytes:
    """150 with two places: `1.50`. No float comes near it."""
    return _DECIMALS[places] % (divmod(value, 10**places) if places else value)


def money(cents: int) -> bytes:
    """A Money."""
    return b'{"value":%d.%02d,"currency":"USD"}' % divmod(cents, 100)


def literal(text: bytes) -> bytes:
    """Text that goes into a template as it stands."""
    return text.replace(b"%", b"%%")


def table(text: str) -> Iterable[list[str]]:
    """Rows of `a | b | c`."""
    return [[cell.strip() for cell in row.split("|")] for row in text.strip().splitlines()]
