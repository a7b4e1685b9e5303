"""What somebody asked for: one `$export`, checked and canonical."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant

NDJSON = "application/fhir+ndjson"
LEVELS = ("system", "patient", "group")
ASSOCIATED = ("LatestProvenanceResources", "RelevantProvenanceResources", "_deleted", "_history")
RELEASES = ("R4", "R4B")

_is_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_is_type = re.compile(r"[A-Z][A-Za-z]*").fullmatch
_is_element = re.compile(r"(?:[A-Z][A-Za-z]*\.)?[a-z][A-Za-z0-9]*(?:\[x\])?").fullmatch
_SETS = ("types", "patients", "type_filters", "elements", "include_associated_data", "include_referenced")


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `$export` request. Equal requests have equal fields: what is a set is sorted and free of doubles.

    url: the full kick-off URL as the client sent it (B69); empty for library calls, which have none.
    level: "system", "patient" or "group" (S8). group_id: whose members; with level "group" only.
    types: `_type`, None for all (B32, B33).
    since: `_since`, exclusive lower bound on the change of a resource (B28, S47).
    until: `_until`, exclusive upper bound (B31).
    patients: ids of the patients to narrow to (B39, B40); None for all of the level. Never an empty list: who read no
        ids does not mean everybody (L1).
    type_filters: `_typeFilter`, each like `Observation?code=…`, in the form of `fhir.search`.
    elements: `_elements`, each like `id` or `Patient.name`.
    include_associated_data: names of ASSOCIATED (B42).
    patient_list: SHA-256 in hex of the ids, one a line, where they are so many that the ledger keeps them beside the
        record; `patients` is None then.
    include_referenced: types to bring along when something exported refers to them, over `reference_depth` steps; None
        for what is usual at the level (`transforms.asking.USUALLY_REFERENCED`).
    organize_output_by: None, or "Patient" (B51).
    new_members: "full": all data of patients who joined since the export that `since` continues; "since": what
        changed (B29).
    left_members: "keep": nothing is said of patients who left since then; "delete": what they have is listed as deleted.
    handling: "strict", or "lenient" about what is not understood and cannot widen disclosure (B50).
    passed_over: what was left out of a lenient request at its kick-off, each as text (B16).
    release: of FHIR, for what names mean: "R4" or "R4B".
    """

    url: str = ""
    level: str = "system"
    group_id: str | None = None
    types: tuple[str, ...] | None = None
    since: Instant | None = None
    until: Instant | None = None
    patients: tuple[str, ...] | None = None
    patient_list: str | None = None
    type_filters: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    include_associated_data: tuple[str, ...] = ()
    include_referenced: tuple[str, ...] | None = None
    reference_depth: int = 1
    organize_output_by: str | None = None
    new_members: str = "since"
    left_members: str = "keep"
    handling: str = "strict"
    passed_over: tuple[str, ...] = ()
    release: str = "R4"
    output_format: str = NDJSON

    def __post_init__(self) -> None:
        problems = [*self._wrong_values(), *self._wrong_together()]
        if problems:
            raise RequestError("; ".join(problems))
        for name in _SETS:
            values = getattr(self, name)
            if values is not None:
                msgspec.structs.force_setattr(self, name, tuple(sorted(set(values))))

    @property
    def has_cohort(self) -> bool:
        """Whether certain patients are meant, whom somebody has to name: the members of a Group, or a list."""
        return self.level == "group" or self.has_list

    @property
    def has_list(self) -> bool:
        """Whether patients are named one by one."""
        return self.patients is not None or self.patient_list is not None

    @property
    def rounds(self) -> int:
        """So many rounds may follow what the request selects, each for what the one before it names."""
        depth = self.reference_depth if self.include_referenced else 0
        return depth + bool(self.provenance)

    @property
    def provenance(self) -> str | None:
        """Which Provenance comes along: "all" or "latest" of each resource that is exported, the wider one where both
        are asked for (B43, B44); None: those of the level, as any other type (B45)."""
        if "RelevantProvenanceResources" in self.include_associated_data:
            return "all"
        return "latest" if "LatestProvenanceResources" in self.include_associated_data else None

    @property
    def history_after(self) -> Instant | None:
        """Superseded versions whose life ended after this come along, those of patients who are taken whole always; None:
        none do."""
        if "_history" not in self.include_associated_data:
            return None
        return 0 if self.since is None or self.new_members == "full" else self.since

    @property
    def selective(self) -> bool:
        """Whether resources are left out or cut by what is in them."""
        return bool(self.type_filters or self.elements)

    def hash(self, requestor: str) -> str:
        """SHA-256 in hex of the canonical request and who asked (S81). The URL is not part of it: the fields are."""
        canonical = msgspec.structs.replace(self, url="")
        return hashlib.sha256(msgspec.json.encode([requestor, canonical])).hexdigest()

    def _wrong_values(self) -> Iterator[str]:
        """Each value by itself."""
        for name, value, known in (
            ("level", self.level, LEVELS),
            ("organizeOutputBy", self.organize_output_by, (None, "Patient")),
            ("new members", self.new_members, ("full", "since")),
            ("left members", self.left_members, ("keep", "delete")),
            ("handling", self.handling, ("strict", "lenient")),
            ("FHIR release", self.release, RELEASES),
            ("output format", self.output_format, (NDJSON,)),
        ):
            if value not in known:
                yield f"{name} {value!r} is not offered; there is {', '.join(filter(None, known))}"
        for value in self.include_associated_data:
            if value not in ASSOCIATED:
                yield f"includeAssociatedData {value!r} is not offered; there is {', '.join(ASSOCIATED)}"
        if self.types is not None and not self.types:
            yield "an empty list of types would export nothing; leave it out to export all types"
        for name, types in (("_type", self.types or ()), ("included references", self.include_referenced or ())):
            for value in types:
                if not _is_type(value):
                    yield f"{name}: {value!r} is not a resource type; write it like Patient or Observation"
        if self.group_id is not None and not _is_id(self.group_id):
            yield "the group is not named by an id: 1 to 64 letters, digits, '-' and '.'"
        if self.patients is not None and not self.patients:
            yield "an empty list of patients would export nothing; leave it out to export all patients"
        wrong = sum(not _is_id(value) for value in self.patients or ())
        if wrong:
            yield f"{wrong} of the patients are not named by an id: 1 to 64 letters, digits, '-' and '.'"
        for value in self.elements:
            if not _is_element(value):
                yield f"_elements: {value!r} is not an element at the root; write it like id or Patient.name"
        if not all(self.type_filters):
            yield "a _typeFilter is empty; write it like Observation?code=8480-6"
        if self.reference_depth < 1:
            yield f"the depth of references is {self.reference_depth}; it is at least 1"

    def _wrong_together(self) -> Iterator[str]:
        """What contradicts each other."""
        if self.level == "group" and self.group_id is None:
            yield "an export of a group needs the group's id"
        if self.level != "group" and self.group_id is not None:
            yield f"a group was named in an export of level {self.level!r}; ask for level 'group'"
        if self.level == "system" and self.has_list:
            yield "patients can be named in an export of patients or of a group, not in one of the system"
        if self.level == "system" and self.organize_output_by is not None:
            yield "organizeOutputBy=Patient needs an export of patients or of a group"
        if self.patients is not None and self.patient_list is not None:
            yield "patients are named twice: in the request and in a list beside it"
        if self.new_members == "full" and not (self.has_cohort and self.since is not None):
            yield "new members in full need an export of a group or of named patients, with _since"
        if self.left_members == "delete" and not (self.has_cohort and self.since is not None):
            yield "members who left can be listed as deleted in an export of a group or of named patients, with _since"
        if self.since is not None and self.until is not None and self.since >= self.until:
            yield "_since must be earlier than _until"
