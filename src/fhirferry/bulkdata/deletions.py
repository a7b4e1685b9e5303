"""Deletions in an export: a line of a `deleted` file is a transaction Bundle (B82).

https://hl7.org/fhir/uv/bulkdata/STU2/export.html#response---complete-status, field `deleted`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

BUNDLE_ENTRIES = 1000
"""Most deletions in one Bundle: a reader takes a Bundle as a whole."""


def deletion_bundle(resource_type: str, ids: Iterable[str]) -> bytes:
    """One Bundle that deletes `resource_type/id` for each id, as compact JSON without a newline."""
    entry = [{"request": {"method": "DELETE", "url": f"{resource_type}/{one}"}} for one in ids]
    return msgspec.json.encode({"resourceType": "Bundle", "type": "transaction", "entry": entry})
