"""What `verify` can find wrong, and its report. No content of a resource is in either, only `Type/id`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from fhirferry.model.instant import Instant
from fhirferry.model.partition import Kind


class FindingKind(StrEnum):
    """Kinds of findings; the text is what reports show."""

    MANIFEST = "manifest"  # the manifest is there and cannot be read, or lists a file twice
    MISSING_FILE = "missing-file"  # listed, not there
    UNLISTED_FILE = "unlisted-file"  # NDJSON that no list names
    LEFTOVER = "leftover"  # an uncommitted part of a run
    SIZE = "size"
    CHECKSUM = "checksum"
    COMPRESSION = "compression"
    COUNT = "count"
    LINE_END = "line-end"  # no newline at the end, or a carriage return
    BLANK_LINE = "blank-line"
    MALFORMED = "malformed"  # not UTF-8, not one JSON object, or not a transaction of DELETEs
    WRONG_TYPE = "wrong-type"
    NO_ID = "no-id"
    NEWER = "newer"  # than the transaction time
    DOUBLED = "doubled"
    DELETED_AND_PRESENT = "deleted-and-present"  # B83
    MISSING = "missing"  # the source shows it at T, the files don't
    EXTRA = "extra"  # the files show it, the source doesn't at T
    DIFFERENT = "different"  # other bytes
    UNCHECKED = "unchecked"  # nothing is wrong that could be seen, but this could not be looked at


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. line counts from 1, 0 = the file as a whole; key is `Type/id`; empty where unknown."""

    kind: FindingKind
    file: str = ""
    line: int = 0
    key: str = ""
    message: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How far verifying has come with one resource type (or with all, in the last pass).

    stage: "files" (done and total in stored bytes), "source" (in resources) or "keys" (in keys; kind and type say
    nothing). Each step of a pass is told with done = 0 before the first moves. resources: seen so far.
    """

    stage: str
    kind: Kind = Kind.OUTPUT
    type: str = ""
    done: int = 0
    total: int
    resources: int = 0


Progress = Callable[[Step], None]


class Outcome(StrEnum):
    """What verifying came to."""

    HOLDS = "holds"
    DIFFERS = "differs"
    CANNOT_TELL = "cannot-tell"  # nothing differs, but not everything could be looked at


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result. files: read. resources: with type and id, in output files; versions: superseded ones, in theirs; deletions:
    in deleted files; issues: lines of error files. bytes: as stored, raw_bytes: of NDJSON. compared: resources, versions and
    deletions that the source showed, None without one. counts: every finding, by kind; findings: the first of each kind, in
    the order they were found.
    """

    job: str | None
    request: str
    transaction_time: Instant | None
    files: int
    resources: int
    versions: int = 0
    deletions: int
    issues: int
    bytes: int
    raw_bytes: int
    compared: int | None
    counts: dict[FindingKind, int]
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """DIFFERS outweighs CANNOT_TELL."""
        if self.counts.keys() - {FindingKind.UNCHECKED}:
            return Outcome.DIFFERS
        return Outcome.CANNOT_TELL if self.counts else Outcome.HOLDS


class Findings:
    """Counts all findings and keeps the first `most` of each kind; those are told to `listener` at once."""

    def __init__(self, most: int, listener: Callable[[Finding], None] | None) -> None:
        self.counts: dict[FindingKind, int] = {}
        self.first: list[Finding] = []
        self._most = most
        self._listener = listener

    def __call__(self, kind: FindingKind, message: str, *, file: str = "", line: int = 0, key: str = "") -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] > self._most:
            return
        finding = Finding(kind=kind, file=file, line=line, key=key, message=message)
        self.first.append(finding)
        if self._listener is not None:
            self._listener(finding)
