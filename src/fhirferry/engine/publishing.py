"""From committed parts to what the client sees: final names, SHA256SUMS, manifest.json.

All of it follows from the ledger alone and may be repeated: whoever takes a job over publishes what its predecessor
had committed, and writes the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from fhirferry.bulkdata.manifest import MANIFEST, SUMS, manifest, sha256sums
from fhirferry.destinations.protocol import Destination
from fhirferry.faultpoints import reach
from fhirferry.model.job import ExportJobRecord, JobSettings
from fhirferry.model.layout import folder_of
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind

_FOLDER = {Kind.HISTORY: "history", Kind.DELETED: "deleted", Kind.ERROR: "error"}


def final_name(file: OutputFile, sequence: int, settings: JobSettings) -> str:
    """`Patient-1.ndjson`, in the folders of the layout (S65); superseded versions, deletions and issues lie in folders of their
    own, the same in every layout, so that whoever reads the others reads each resource once, as it is at T (B96)."""
    return f"{_stem(file.kind, file.type, settings)}-{sequence}{_suffix(settings)}"


def part_stem(kind: Kind, resource_type: str, number: int, settings: JobSettings) -> tuple[str, str]:
    """Stem and suffix of a run's file, drawn anew: where nothing is renamed, readers see both. number: the partition's."""
    return f"{_stem(kind, resource_type, settings)}-{number}-{os.urandom(8).hex()}", _suffix(settings)


def _stem(kind: Kind, resource_type: str, settings: JobSettings) -> str:
    folder = _FOLDER.get(kind) or folder_of(settings.layout, resource_type)
    return f"{folder}{'/' * bool(folder)}{resource_type}"


def _suffix(settings: JobSettings) -> str:
    return ".ndjson.gz" if settings.compression == "gzip" else ".ndjson"


def publish(destination: Destination, files: Iterable[OutputFile]) -> None:
    """Give committed files their final names (idempotent)."""
    if not destination.renames:
        return
    for file in files:
        destination.publish(file.part, file.name)
        reach("published")


def finish(destination: Destination, record: ExportJobRecord, files: Sequence[OutputFile]) -> None:
    """Write the checksums and, last of all, the manifest of a sealed job."""
    destination.sync()
    content = manifest(record, files)
    destination.put(record.id, SUMS, sha256sums(files, content))
    reach("sums-written")
    destination.put(record.id, MANIFEST, content)
    reach("manifest-written")


def published_names(files: Iterable[OutputFile]) -> list[str]:
    """Everything that a job leaves at its destination, in the order in which it should go: the manifest first."""
    return [MANIFEST, SUMS, *(f.name for f in files)]
