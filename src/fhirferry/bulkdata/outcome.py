"""Issues as FHIR says them: one OperationOutcome per line of an error file (B84, B85)."""

from __future__ import annotations

from typing import Literal

import msgspec

from fhirferry.model.partition import Issue


class _OperationOutcome(msgspec.Struct, frozen=True, gc=False):
    resourceType: Literal["OperationOutcome"]  # noqa: N815 - FHIR's spelling
    issue: tuple[Issue]


def operation_outcome(issue: Issue) -> bytes:
    """One NDJSON line, newline included (https://hl7.org/fhir/R4/operationoutcome.html)."""
    return msgspec.json.encode(_OperationOutcome("OperationOutcome", (issue,))) + b"\n"
