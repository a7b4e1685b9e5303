"""How `verify` speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirferry.cli.words import counted
from fhirferry.model.instant import format_instant
from fhirferry.model.quantity import format_size

if TYPE_CHECKING:
    from fhirferry.engine.verify_findings import Finding, VerifyReport


def finding_text(finding: Finding) -> str:
    """`Patient-1.ndjson:17: doubled: Patient/a: already in …`"""
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    return ": ".join(filter(None, (place, str(finding.kind), finding.key, finding.message)))


def verify_page(report: VerifyReport) -> str:
    """How a verification ended."""
    read = [
        counted(report.files, "file"),
        counted(report.resources, "resource"),
        *([counted(report.versions, "earlier version")] if report.versions else []),
        counted(report.deletions, "deletion"),
        format_size(report.raw_bytes),
    ]
    lines = [f"Read {', '.join(read)}."]
    if report.transaction_time is not None:
        lines.append(f"As of {format_instant(report.transaction_time)}.")
    if report.compared is not None:
        lines.append(f"Compared with {report.compared:,} resources and deletions of the store.")
    if report.issues:
        lines.append(f"The error files tell of {counted(report.issues, 'issue')}.")
    if report.counts:
        told = ", ".join(f"{count:,} {kind}" for kind, count in report.counts.items())
        lines.append(f"Found: {told}.")
    ends = {
        "holds": "All holds.",
        "differs": "It differs.",
        "cannot-tell": "Nothing differs, but not all could be seen.",
    }
    lines.append(ends[report.outcome])
    return "\n".join(lines)
