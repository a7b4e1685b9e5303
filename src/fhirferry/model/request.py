"""What somebody asked for: one `$export`, checked and canonical."""

from __future__ import annotations

import hashlib

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant

NDJSON = "application/fhir+ndjson"


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `$export` request. Equal requests have equal fields: `types` is sorted and free of doubles.

    url: the full kick-off URL as the client sent it (B69); empty for library calls, which have none.
    level: "system" (the levels "patient" and "group" come with their own issue).
    types: `_type`, None for all (B32, B33).
    since: `_since`, exclusive lower bound on the change of a resource (B28, S47).
    until: `_until`, exclusive upper bound (B31).
    """

    url: str = ""
    level: str = "system"
    types: tuple[str, ...] | None = None
    since: Instant | None = None
    until: Instant | None = None
    output_format: str = NDJSON

    def __post_init__(self) -> None:
        if self.level != "system":
            raise RequestError(f"level {self.level!r} is not offered; the one level is 'system'")
        if self.output_format != NDJSON:
            raise RequestError(f"output format {self.output_format!r} is not offered; the one format is {NDJSON}")
        if self.types is not None:
            if not self.types:
                raise RequestError("an empty list of types would export nothing; leave it out to export all types")
            for name in self.types:
                if not (name.isascii() and name.isalpha() and name[0].isupper()):
                    raise RequestError(f"_type: {name!r} is not a resource type; write it like Patient or Observation")
            msgspec.structs.force_setattr(self, "types", tuple(sorted(set(self.types))))
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise RequestError("_since must be earlier than _until")

    def hash(self, requestor: str) -> str:
        """SHA-256 in hex of the canonical request and who asked (S81). The URL is not part of it: the fields are."""
        canonical = msgspec.structs.replace(self, url="")
        return hashlib.sha256(msgspec.json.encode([requestor, canonical])).hexdigest()
