"""Organised output: files made of blocks, each a header and the resources of one patient (B51, B77-B80).

https://build.fhir.org/ig/HL7/bulk-data/export.html, "Organizing output by resource". A header is a Parameters resource
without an id, so it can be no resource of a store.
"""

from __future__ import annotations

import msgspec

_START = b'{"resourceType":"Parameters","parameter":[{"name":"header","valueReference":{"reference":"Patient/'
_END = b'"}}]}\n'
LONGEST = len(_START) + 64 + len(_END)
"""Bytes of a header, at most: an id has 64 characters."""


class _Reference(msgspec.Struct, gc=False):
    reference: str = ""


class _Parameter(msgspec.Struct, gc=False, rename="camel"):
    name: str = ""
    value_reference: _Reference | None = None


class _Parameters(msgspec.Struct, gc=False):
    resourceType: str = ""  # noqa: N815 - FHIR's spelling
    parameter: list[_Parameter] = []


_parameters = msgspec.json.Decoder(_Parameters).decode


def header(patient: str) -> bytes:
    """The line that begins a block, newline included. patient: an id: letters, digits, '-' and '.', nothing to escape."""
    return _START + patient.encode() + _END


def patient_of(line: bytes | memoryview) -> str | None:
    """The id that a header refers to, of ours or of another server; None for any other line."""
    try:
        found = _parameters(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if found.resourceType != "Parameters":
        return None
    for parameter in found.parameter:
        if parameter.name == "header" and parameter.value_reference is not None:
            kind, _, ident = parameter.value_reference.reference.rpartition("/")
            return ident if kind.rpartition("/")[2] == "Patient" and ident else None
    return None
