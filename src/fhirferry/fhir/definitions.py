"""What FHIR says about its resource types, as data: search parameters, the Patient compartment, elements, references.

The tables `r4.json` and `r4b.json` lie beside this module; scripts/make_definitions.py writes them and tells their form.
A table is read at the first call of `load`, and a row is cut into its parts when somebody asks for it.

Derived from the HL7 FHIR specification 4.0.1 and 4.3.0, which HL7 publishes under CC0 1.0. FHIR® is a registered
trademark of Health Level Seven International; its use here is no endorsement by HL7.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import final

import msgspec

from fhirferry.model.errors import RequestError

RELEASES = ("R4", "R4B")


@final
class Path(msgspec.Struct, frozen=True, kw_only=True):
    """Where values stand in a resource's JSON. Lists on the way mean: each of their entries.

    steps: member names from the root, a choice by its JSON name: ("component", "valueQuantity").
    type: the data type found there (`Quantity`); `present` for the boolean: is there a value, and is it not false.
    where: (index of a step, member, value): of that step's entries only those that have the member with this value.
    only: references to this type alone count; "" for all.
    system: the code system of a `code`, which has none in JSON; "" where the specification names no single one.
    """

    steps: tuple[str, ...]
    type: str
    where: tuple[int, str, str] | None = None
    only: str = ""
    system: str = ""


@final
class SearchParameter(msgspec.Struct, frozen=True, kw_only=True):
    """A search parameter of one resource type.

    type: number, date, string, token, reference, composite, quantity, uri or special.
    paths: empty where there is nothing to look at in the resource alone (composite, special, `_text`, `_query`).
    targets: resource types that a reference parameter may point to; empty for any.
    """

    name: str
    type: str
    paths: tuple[Path, ...] = ()
    targets: tuple[str, ...] = ()


@final
class Element(msgspec.Struct, frozen=True, kw_only=True):
    """A root element. members: its names in JSON, several for a choice (`value`: valueQuantity, valueString, …)."""

    name: str
    members: tuple[str, ...]
    mandatory: bool
    modifier: bool


class _Table(msgspec.Struct):
    version: str
    parameters: dict[str, dict[str, str]]
    compartment: dict[str, str]
    elements: dict[str, str]
    references: dict[str, str]


@final
class Definitions:
    """One release of FHIR. Every question about a type raises RequestError when there is no such type.

    release: "R4" or "R4B". version: "4.0.1" or "4.3.0". types: all concrete resource types.
    """

    def __init__(self, release: str, table: _Table) -> None:
        self.release = release
        self.version = table.version
        self.types = frozenset(table.elements)
        self._table = table

    def check_type(self, kind: str) -> None:
        """RequestError with the nearest right name when `kind` is not a resource type of this release (L28)."""
        if kind not in self.types:
            raise RequestError(f"{self.release} has no resource type {kind!r}{nearest(kind, self.types)}")

    def parameters(self, kind: str) -> frozenset[str]:
        """Names of the search parameters of a type, those of every resource among them (`_id`, `_lastUpdated`, …)."""
        self.check_type(kind)
        return frozenset(self._table.parameters["Resource"]) | frozenset(self._table.parameters[kind])

    def parameter(self, kind: str, name: str) -> SearchParameter:
        """The search parameter `name` of a type. RequestError with the nearest right name when there is none."""
        self.check_type(kind)
        row = self._table.parameters[kind].get(name) or self._table.parameters["Resource"].get(name)
        if row is None:
            known = self.parameters(kind)
            raise RequestError(f"{kind} has no search parameter {name!r}{nearest(name, known)}")
        head, _, targets = row.partition(" | ")
        found, *paths = head.split()
        return SearchParameter(name=name, type=found, paths=tuple(map(_path, paths)), targets=tuple(targets.split()))

    def compartment(self, kind: str) -> tuple[Path, ...]:
        """Paths of the references that put a resource of this type into the compartment of the Patient they point to.

        Empty: the type is in no patient's compartment by its references. A Patient is also in its own compartment,
        which no path says; those of its `link` are here.
        """
        self.check_type(kind)
        paths: dict[Path, None] = {}
        for name in self._table.compartment.get(kind, "").split():
            for path in self.parameter(kind, name).paths:
                if path.type == "Reference" and path.only in ("", "Patient"):
                    paths[msgspec.structs.replace(path, only="Patient")] = None
        return tuple(paths)

    def elements(self, kind: str) -> tuple[Element, ...]:
        """Root elements of a type in the order of the specification; `resourceType` is none."""
        self.check_type(kind)
        return tuple(map(_element, self._table.elements[kind].split()))

    def mandatory(self, kind: str) -> frozenset[str]:
        """JSON names of the root elements that every resource of the type must have."""
        return frozenset(m for e in self.elements(kind) if e.mandatory for m in e.members)

    def modifiers(self, kind: str) -> frozenset[str]:
        """JSON names of the root elements that change the meaning of others (`status`, `modifierExtension`, …)."""
        return frozenset(m for e in self.elements(kind) if e.modifier for m in e.members)

    def references(self, kind: str) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """(steps, target types) of every element of the type that is a Reference; no target types: to anything.

        References inside data types are not among them (Identifier.assigner, Annotation.author, extensions), nor those
        of contained resources.
        """
        self.check_type(kind)
        cut = (entry.partition(">") for entry in self._table.references.get(kind, "").split())
        return tuple((tuple(path.split(".")), tuple(filter(None, targets.split(",")))) for path, _, targets in cut)


@lru_cache(maxsize=len(RELEASES))
def load(release: str = "R4") -> Definitions:
    """The definitions of "R4" or "R4B"; read once. RequestError for any other release."""
    if release not in RELEASES:
        raise RequestError(f"FHIR release {release!r} is not offered; there are {' and '.join(RELEASES)}")
    # Not importlib.resources: it would cost more time than reading the table.
    with open(os.path.join(os.path.dirname(__file__), f"{release.lower()}.json"), "rb") as file:  # noqa: PTH118, PTH120, PTH123
        return Definitions(release, msgspec.json.decode(file.read(), type=_Table))


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known name is like it."""
    from difflib import get_close_matches  # costs 2 ms, needed for mistakes only

    names = {k.lower(): k for k in sorted(known)}
    found = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f"; did you mean {names[found[0]]!r}?" if found else ""


def _path(text: str) -> Path:
    way, _, leaf = text.partition(":")
    leaf, _, system = leaf.partition("@")
    kind, _, only = leaf.partition(">")
    where = None
    steps = way.split(".")
    for index, step in enumerate(steps):
        if step.endswith("]"):
            steps[index], _, condition = step[:-1].partition("[")
            member, _, value = condition.partition("=")
            where = (index, member, value)
    return Path(steps=tuple(steps), type=kind, where=where, only=only, system=system)


def _element(text: str) -> Element:
    name = text.rstrip("!?")
    flags = text[len(name) :]
    base, _, choices = name.rstrip("]").partition("[")
    members = tuple(base + kind for kind in choices.split(",")) if choices else (base,)
    return Element(name=base, members=members, mandatory="!" in flags, modifier="?" in flags)
