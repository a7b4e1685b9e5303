"""A second opinion on every export: which resources with which bytes a request means, and which deletions it tells.

Plain loops over all versions that a store ever had, decoded whole. Nothing of fhirferry decides anything here: the
compartments are those of R4 for the types of `worlds.py`, written down once more, and a filter means what `worlds.py`
says that it means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fhirferry.model.request import ExportRequest

Filters = Mapping[str, tuple[str, Callable[[Any], bool]]]
"""Text of a `_typeFilter`: the type, and whether a resource of it is meant."""

COMPARTMENT = {
    "Patient": ("link.other",),
    "Observation": ("subject", "performer"),
    "Encounter": ("subject",),
    "Condition": ("subject", "asserter"),
    "AllergyIntolerance": ("patient", "recorder", "asserter"),
    "Appointment": ("participant.actor",),
    "Group": ("member.entity",),
    "Provenance": ("target",),
}
USUAL = {"Device", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"}
STAYS = {  # of each type: mandatory, or a modifier
    "Patient": {"active", "deceasedBoolean", "link"},
    "Observation": {"status", "code"},
    "Encounter": {"status", "class"},
    "Condition": {"clinicalStatus", "subject"},
    "AllergyIntolerance": {"clinicalStatus", "patient"},
    "Appointment": {"status", "participant"},
    "Group": {"type", "actual"},
    "Provenance": {"target", "recorded", "agent"},
}
ALWAYS = {"resourceType", "id", "meta", "implicitRules", "modifierExtension"}
CHOICES = {"value": {"valueQuantity", "valueString"}, "deceased": {"deceasedBoolean"}}
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}

_literal = re.compile(r"(?:https?://.+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]+)?").fullmatch


@dataclass
class Version:
    """body None: a deletion; it belongs to whom its predecessor did. ended: None while it is the newest."""

    type: str
    id: str
    body: bytes | None
    changed: int
    patients: set[str]
    targets: set[str]
    ended: int | None = None

    @property
    def content(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class History:
    """All versions, oldest first. vague: deletions of Provenance may have lost what they were about (pruned before any
    export asked)."""

    versions: list[Version] = field(default_factory=list)
    vague: bool = False

    def add(self, kind: str, ident: str, body: bytes | None, changed: int) -> None:
        before = self.newest(kind, ident)
        if before is not None:
            before.ended = changed
        if body is not None:
            content = json.loads(body)
            patients = {i for path in COMPARTMENT.get(kind, ()) for k, i in literals(content, path) if k == "Patient"}
            patients |= {ident} if kind == "Patient" else set()
            targets = {f"{k}/{i}" for k, i in literals(content, "target")} if kind == "Provenance" else set()
        elif before is not None:
            patients, targets = before.patients, before.targets
        self.versions.append(Version(kind, ident, body, changed, patients, targets))

    def newest(self, kind: str, ident: str) -> Version | None:
        return next((v for v in reversed(self.versions) if (v.type, v.id) == (kind, ident)), None)

    def at(self, t: int) -> dict[str, Version]:
        """What T shows, deletions too."""
        return {f"{v.type}/{v.id}": v for v in self.versions if v.changed <= t and (v.ended is None or t < v.ended)}


@dataclass
class Before:
    """What a finished export leaves to the one that continues it."""

    cohort: set[str]
    names: set[str]


@dataclass
class Expected:
    """output: bytes by `Type/id`. perhaps: deletions that may be told or not. nobody: there is a cohort, and it is empty."""

    output: dict[str, bytes]
    deleted: set[str]
    perhaps: set[str]
    selected: set[str]
    nobody: bool
    after: Before


class Refused(Exception):
    """The request names a Group or a patient that is not there."""


def export(
    history: History, request: ExportRequest, patients: Iterable[str] | None, t: int, before: Before | None, f: Filters
) -> Expected:
    """patients: those that were named, however that was done."""
    return _Export(history, request, None if patients is None else set(patients), t, before, f).run()


class _Export:
    def __init__(
        self,
        history: History,
        request: ExportRequest,
        named: set[str] | None,
        t: int,
        before: Before | None,
        f: Filters,
    ) -> None:
        self.there = history.at(t)
        self.order = {id(v): place for place, v in enumerate(history.versions)}
        self.vague = history.vague
        self.q, self.t, self.before, self.filters = request, t, before, f
        self.named = named
        self.members = members(self.there, request.group_id, named, t)
        self.whole: set[str] = set()
        self.left: set[str] = set()
        if before is not None and self.members is not None:
            self.whole = self.members - before.cohort if request.new_members == "full" else set()
            self.left = before.cohort - self.members if request.left_members == "delete" else set()
        told = -1 if "_deleted" in request.include_associated_data else None
        self.told = request.since if request.since is not None else told
        asked = request.include_associated_data
        self.provenance = next((n for n in ("Relevant", "Latest") if f"{n}ProvenanceResources" in asked), None)
        types = request.include_referenced
        if types is None and request.level != "system":
            types = tuple(USUAL if request.types is None else USUAL.intersection(request.types))
        self.follow = set(types or ())
        self.depth = request.reference_depth if self.follow else 0

    def run(self) -> Expected:
        selected, deleted, perhaps = set[str](), set[str](), set[str]()
        for name, v in self.there.items():
            share, sure = self.share(v)
            if share is None:
                continue
            if share == "left":
                if v.body is not None or self.is_new(v, self.told):
                    (deleted if sure or v.body is not None else perhaps).add(name)
            elif v.body is None:
                if self.told is not None and self.is_new(v, self.told) and self.is_early(v):
                    (deleted if sure else perhaps).add(name)
            elif self.is_early(v) and (share == "whole" or self.is_new(v, self.q.since)):
                selected.add(name)
        carried = self.before.names if self.before else set()
        names = dict.fromkeys(carried, 1)
        output = self.lines(selected)
        self.name(output, 0, names)
        given = set(selected)
        for round_ in range(1, self.depth + bool(self.provenance) + 1):
            out, gone = set[str](), set[str]()
            for name in [name for name, r in names.items() if r == round_]:
                v = self.there.get(name)
                if v is None or name in given or self.is_foreign(v):
                    continue
                if v.body is not None and (name not in carried or self.is_new(v, self.q.since)):
                    out.add(name)
                elif v.body is None and name in carried and self.told is not None and self.is_new(v, self.told):
                    gone.add(name)
            given |= out
            deleted |= gone - perhaps
            lines = self.lines(out)
            self.name(lines, round_, names)
            output.update(lines)
        nobody = self.members is not None and not self.members
        return Expected(
            output, deleted, perhaps - deleted, selected, nobody, Before(self.members or set(), carried | set(names))
        )

    # Whose

    @property
    def has_cohort(self) -> bool:
        return self.members is not None

    def share(self, v: Version) -> tuple[str | None, bool]:
        """How much the request takes of a version, and whether that is sure: "since", "whole", "left", None for nothing."""
        if self.q.types is not None and v.type not in self.q.types:
            return None, True
        if v.type == "Provenance" and self.provenance:
            return None, True
        if self.q.level == "system":
            return "since", True
        if v.type not in COMPARTMENT:
            return None, True
        if v.type == "Group" and self.has_cohort:
            own = self.named is None and v.id == self.q.group_id and bool(self.members)
            return ("since" if own else None), True
        whose = set(v.patients)
        if v.type == "Provenance":
            for name in v.targets:
                target = self.there.get(name)
                if target is not None and (target.type != "Group" or not self.has_cohort):
                    whose |= target.patients
        share = self.widest(whose)
        sure = not (self.vague and v.body is None and v.type == "Provenance" and self.widest(v.patients) != share)
        return share, sure

    def widest(self, whose: set[str]) -> str | None:
        if not self.has_cohort:
            return "since" if whose else None
        members = self.members or set()
        return "whole" if whose & self.whole else "since" if whose & members else "left" if whose & self.left else None

    def is_foreign(self, v: Version) -> bool:
        """Of somebody who is not meant (B39); a Group tells who else is in it (L2)."""
        if self.q.level == "system":
            return False
        return v.type == "Group" or (self.members is not None and bool(v.patients - self.members))

    # When

    @staticmethod
    def is_new(v: Version, since: int | None) -> bool:
        return since is None or v.changed > since

    def is_early(self, v: Version) -> bool:
        return self.q.until is None or v.changed < self.q.until

    # What

    def lines(self, names: Iterable[str]) -> dict[str, bytes]:
        """What goes out of them."""
        out = {}
        for name in names:
            v = self.there[name]
            asked = [self.filters[text] for text in self.q.type_filters]
            tests = [test for kind, test in asked if kind == v.type]
            if v.body is not None and (not tests or any(test(v.content) for test in tests)):
                out[name] = cut(v.type, v.body, self.q.elements)
        return out

    def name(self, lines: Mapping[str, bytes], round_: int, names: dict[str, int]) -> None:
        """Add what lines of a round name for the next one."""
        for name, line in lines.items():
            about = name.startswith("Provenance/")
            found = set[str]()
            if round_ - about < self.depth:
                found |= {f"{k}/{i}" for k, i in references(json.loads(line)) if k in self.follow}
            if self.provenance and not about and round_ <= self.depth:
                found |= self.about(name)
            for each in found:
                names.setdefault(each, round_ + 1)

    def about(self, name: str) -> set[str]:
        found = [v for v in self.there.values() if v.body is not None and name in v.targets]
        if self.provenance == "Latest" and found:
            found = [max(found, key=lambda v: (v.content.get("recorded", ""), v.changed, self.order[id(v)]))]
        return {f"Provenance/{v.id}" for v in found}


def members(there: Mapping[str, Version], group_id: str | None, named: set[str] | None, t: int) -> set[str] | None:
    """Whom a request means; None where that is no question of who."""
    found: set[str] | None = None
    if group_id is not None:
        first = there.get(f"Group/{group_id}")
        if first is None or first.body is None:
            raise Refused
        found = set()
        waiting, seen = [group_id], set[str]()
        while waiting:
            ident = waiting.pop()
            group = there.get(f"Group/{ident}")
            if ident in seen or group is None or group.content.get("active") is False:
                continue
            seen.add(ident)
            for member in group.content.get("member", []):
                if member.get("inactive") or not within(member.get("period", {}), t):
                    continue
                for kind, one in literals(member, "entity"):
                    if kind == "Patient":
                        found.add(one)
                    elif kind == "Group":
                        waiting.append(one)
    if named is not None:
        absent = {p for p in named if getattr(there.get(f"Patient/{p}"), "body", None) is None}
        if absent or (found is not None and named - found):
            raise Refused
        found = named
    return found


def within(period: Mapping[str, str], t: int) -> bool:
    """Days, both of them included."""
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t)).date().isoformat()
    return period.get("start", "") <= day <= period.get("end", "9999")


def literals(content: Any, path: str) -> Iterator[tuple[str, str]]:
    """Types and ids that the references at a path mean."""
    nodes = [content]
    for step in path.split("."):
        below = [node.get(step, []) for node in nodes]
        nodes = [each for one in below for each in (one if isinstance(one, list) else [one])]
    for node in nodes:
        found = _literal(node.get("reference", ""))
        if found:
            yield found[1], found[2]


def references(node: Any) -> Iterator[tuple[str, str]]:
    """Of the whole tree."""
    if isinstance(node, list):
        for each in node:
            yield from references(each)
    elif isinstance(node, dict):
        if isinstance(node.get("reference"), str):
            yield from literals({"it": node}, "it")
        for each in node.values():
            yield from references(each)


def cut(kind: str, body: bytes, elements: Iterable[str]) -> bytes:
    """What `_elements` leaves, every token as it was."""
    asked = {text.rpartition(".")[2] for text in elements if "." not in text or text.startswith(f"{kind}.")}
    if not asked:
        return body
    keep = ALWAYS | STAYS.get(kind, set()) | asked
    for name in asked:
        keep |= CHOICES.get(name, set())
    number = "\ue000{}\ue001".format  # numbers keep their digits
    content = json.loads(body, parse_float=number)
    left = {name: value for name, value in content.items() if name in keep}
    tags = left["meta"].get("tag", [])
    left["meta"]["tag"] = tags if SUBSETTED in tags else [*tags, SUBSETTED]
    text = json.dumps(left, separators=(",", ":"), ensure_ascii=False)
    return re.sub('"\ue000(.*?)\ue001"', r"\1", text).encode()
