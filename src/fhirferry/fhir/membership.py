"""From a resource to the patients whose compartments it is in (B21, S8): by the references that R4's compartment names.

What counts as a reference to Patient x: `Patient/x`, of a version too (`Patient/x/_history/3`), and the same behind any
http base. Whose server wrote the base makes no difference, because a store knows a resource by type and id alone: two
servers whose ids collide do not fit into one store. No reference to a patient are contained ones (`#x`), `urn:uuid:`
(importing has made `Patient/x` of those that it could), conditional ones and those by identifier only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import msgspec

from fhirferry.fhir.definitions import load

_OPEN_OBJECT, _OPEN_LIST = b"{["


class Reference(msgspec.Struct, gc=False):
    """As much of a FHIR Reference as can be followed."""

    reference: str = ""


_reference = msgspec.json.Decoder(Reference).decode
_one_or_more = msgspec.json.Decoder(Reference | list[Reference]).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_address = re.compile(
    r"(?:[Hh][Tt][Tt][Pp][Ss]?://[^?#]+/)?([A-Z][A-Za-z]*)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"
).fullmatch


@lru_cache(maxsize=4096)  # what belongs to one patient often stands together
def target(reference: str) -> tuple[str, str]:
    """Type and id that a reference means; empty ones when it means none that can be known."""
    found = _address(reference)
    return ("", "") if found is None else (found[1], found[2])


def patients_of(kind: str, ident: str, members: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
    """Ids of the patients in whose compartments the resource `kind/ident` with these root members is, each once.

    A Patient is in its own. Of a Group one patient stands for all its members: nobody reads Groups by patient (L2), and
    there may be a million. A value of another shape than FHIR's is no reference.
    """
    found = {ident: None} if kind == "Patient" else {}
    for member, steps in _ways(kind):
        raw = members.get(member)
        if raw is None:
            continue
        for reference in _references(raw, steps) if steps else _direct(raw):
            meant, patient = target(reference)
            if meant == "Patient":
                found[patient] = None
                if kind == "Group":
                    return (patient,)
    return tuple(found)


def in_body(kind: str, ident: str, body: bytes) -> tuple[str, ...]:
    """`patients_of` a resource in one piece; none when it is no JSON object."""
    try:
        members = _members(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()
    return patients_of(kind, ident, members)


@lru_cache(maxsize=1)
def types() -> frozenset[str]:
    """The types that can be in a patient's compartment; R4B's are the same."""
    definitions = load("R4")
    return frozenset(kind for kind in definitions.types if definitions.compartment(kind))


def ways(kind: str) -> frozenset[tuple[str, ...]]:
    """The steps from the root to each reference that counts; none for a type that is in no compartment."""
    return frozenset((member, *steps) for member, steps in _ways(kind))


@lru_cache(maxsize=256)
def _ways(kind: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Root members to look into, and the steps from there."""
    if kind not in types():
        return ()
    return tuple((path.steps[0], path.steps[1:]) for path in load("R4").compartment(kind))


def _direct(raw: msgspec.Raw) -> Iterable[str]:
    """What nearly every resource has: its references right behind the root, in FHIR's shape."""
    try:
        value = _one_or_more(raw)
    except msgspec.ValidationError:
        return _references(raw, ())
    return (value.reference,) if type(value) is Reference else [entry.reference for entry in value]


def _references(raw: msgspec.Raw, steps: tuple[str, ...]) -> Iterator[str]:
    """Only what lies on the way is decoded: no number, however odd, is looked at."""
    opening = memoryview(raw)[0]
    try:
        if opening == _OPEN_LIST:
            for entry in _entries(raw):
                yield from _references(entry, steps)
        elif opening == _OPEN_OBJECT:
            if not steps:
                yield _reference(raw).reference
            elif (value := _members(raw).get(steps[0])) is not None:
                yield from _references(value, steps[1:])
    except msgspec.ValidationError:
        return  # `reference` is no string
