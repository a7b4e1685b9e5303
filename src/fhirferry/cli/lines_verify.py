"""JSON lines of `verify`; see lines.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fhirferry.cli.lines import Line, instant

if TYPE_CHECKING:
    from fhirferry.engine.verify_findings import Finding, VerifyReport


class FindingLine(Line, frozen=True, kw_only=True, tag="finding"):
    """Something that `verify` found. line counts from 1, 0 = the file as a whole; key: `Type/id`, empty if unknown."""

    kind: str
    file: str
    line: int
    key: str
    message: str

    @classmethod
    def of(cls, finding: Finding) -> FindingLine:
        return cls(kind=finding.kind, file=finding.file, line=finding.line, key=finding.key, message=finding.message)


class VerifyLine(Line, frozen=True, kw_only=True, tag="verify"):
    """How `verify` ended. outcome: holds, differs or cannot-tell. findings: how many of each kind; the first of each
    kind came as lines of their own. versions: superseded ones. compared: resources, versions and deletions of the store, null
    without --against."""

    outcome: str
    job: str | None
    transaction_time: str | None
    files: int
    resources: int
    versions: int
    deletions: int
    issues: int
    bytes: int
    raw_bytes: int
    compared: int | None
    findings: Mapping[str, int]

    @classmethod
    def of(cls, report: VerifyReport) -> VerifyLine:
        return cls(
            outcome=report.outcome,
            job=report.job,
            transaction_time=instant(report.transaction_time),
            files=report.files,
            resources=report.resources,
            versions=report.versions,
            deletions=report.deletions,
            issues=report.issues,
            bytes=report.bytes,
            raw_bytes=report.raw_bytes,
            compared=report.compared,
            findings={str(kind): count for kind, count in report.counts.items()},
        )
