"""A slice of a job that can be exported by itself, and what reading it gives."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """What the lines of a file are. Each kind is a list of the manifest, but HISTORY, which is part of `output`."""

    OUTPUT = "output"
    HISTORY = "history"  # versions that were superseded by T: several of a resource
    DELETED = "deleted"
    ERROR = "error"


BLOCKS = "Patients"
"""Stands where a type does, for lines of all types, patient by patient. No type of FHIR has this name."""


class PartitionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a source hands out when it is asked how a job can be cut.

    kind: OUTPUT, HISTORY, or DELETED for a slice of deletions (its pages hold transaction Bundles, B82). The engine itself plans
        ERROR: issues that concern the whole request.
    resource_type: the type of the resources (of those deleted, for DELETED); BLOCKS for organised output.
    bounds: opaque to everyone but the source; plain JSON values; holds all that reading needs, T included.
    bytes: what reading it will about give; 0 where the source cannot say. Small ones share a unit of work.
    round: 0 for what the request selects; n for what is named by what round n - 1 exported (included references,
        Provenance).
    """

    kind: Kind = Kind.OUTPUT
    resource_type: str
    bounds: Mapping[str, Any]
    bytes: int = 0
    round: int = 0


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """A planned slice as the ledger keeps it. Numbers count from 0 in planning order.

    continuation: where the next unit of work starts; None before the first (S48).
    done: no unit of work is left.
    attempt: failures of units of this partition since its last commit.
    """

    job_id: str
    number: int
    plan: PartitionPlan
    continuation: str | None = None
    done: bool = False
    attempt: int = 0


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """Something the reader of the export must know; becomes an OperationOutcome line in an error file (B84, B85).

    severity, code: FHIR's issue-severity and issue-type. diagnostics: names the resource by `Type/id`, never quotes it.
    """

    severity: str = "error"
    code: str = "processing"
    diagnostics: str


class Block(msgspec.Struct, frozen=True):
    """Lines of a page that are a patient's, one behind the other (B78). patient: the id. bytes: with newlines."""

    patient: str
    lines: int
    bytes: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One read of a partition (S18).

    body: NDJSON, UTF-8, every line ended by a newline; may be empty (a stretch where nothing is visible).
    count: lines in `body` (for output: resources; for deletions: Bundles).
    continuation: what the next read must be given; None = the partition's end (S50).
    issues: resources that could not be read; they are not in `body` (L34).
    blocks: of organised output, whose the lines are: all of them, in their order, and no two of one patient. Headers are
        not in `body`: they are the engine's, which knows where a file begins.
    rest: bytes of the block in which the page breaks off that are still to come; where it did not begin with this page
        perhaps only 1. 0: the page ends with a block.
    """

    body: bytes
    count: int
    continuation: str | None
    issues: tuple[Issue, ...] = ()
    blocks: tuple[Block, ...] = ()
    rest: int = 0


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a type the export will hold: resources, and bytes of NDJSON (newlines included)."""

    resources: int
    bytes: int
