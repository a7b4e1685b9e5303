"""A file that a unit of work wrote, and the same file as the ledger lists it."""

from __future__ import annotations

import msgspec

from fhirferry.model.partition import Kind


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the export (S24). It is whole and durable at the destination before anybody lists it.

    kind, type: list of the manifest, and the resource type of its lines ("Bundle" for deleted, "OperationOutcome" for error,
        BLOCKS for organised output).
    part: the name under which its run wrote it; holds the run's token, so two runs never collide (L15).
    name: the name it is published under, relative to the destination; empty until the commit numbers it. Equal to
        `part` where a destination cannot rename.
    sequence: counts from 1 per kind and type, without gaps.
    count: lines, without the headers of blocks. bytes: as stored. raw_bytes: of the NDJSON, before compression.
    sha256: hex, of the stored bytes.
    partition: number of the partition it came from.
    patients: whose its first and its last block are, in organised output. A block that is split shows by that: the same
        patient ends one file and begins another.
    """

    kind: Kind
    type: str
    part: str
    name: str = ""
    sequence: int = 0
    count: int
    bytes: int
    raw_bytes: int
    sha256: str
    partition: int
    patients: tuple[str, str] | None = None
