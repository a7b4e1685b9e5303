"""Records as the JSON documents that a ledger keeps, and back. Version tag and heartbeat stand outside of them."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from fhirferry.model.errors import StoreDamaged
from fhirferry.model.instant import Instant
from fhirferry.model.job import SCHEMA_VERSION, ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Partition
from fhirferry.settings import file_url

_T = TypeVar("_T")

_encoder = msgspec.json.Encoder()
_record = msgspec.json.Decoder(ExportJobRecord)
_partition = msgspec.json.Decoder(Partition)
_file = msgspec.json.Decoder(OutputFile)


def write_record(record: ExportJobRecord) -> str:
    """The record without version tag and heartbeat."""
    return _encoder.encode(msgspec.structs.replace(record, version=0, heartbeat=None)).decode()


def read_record(document: str, version: int, heartbeat: Instant | None) -> ExportJobRecord:
    """The record with its version tag and heartbeat. StoreDamaged when the document is none."""
    record = _read(_record, document, "job")
    if record.schema_version < SCHEMA_VERSION:
        record = _of_today(record)
    return msgspec.structs.replace(record, version=version, heartbeat=heartbeat)


def _of_today(record: ExportJobRecord) -> ExportJobRecord:
    place = record.destination_uri
    scheme, _, path = place.partition("://")
    if record.schema_version < 2 and scheme == "file":
        place = file_url(path)
    root = record.destination_root or place
    return msgspec.structs.replace(record, destination_uri=place, destination_root=root, schema_version=SCHEMA_VERSION)


def write(document: Partition | OutputFile) -> str:
    """A partition or a file."""
    return _encoder.encode(document).decode()


def read_partition(document: str) -> Partition:
    """StoreDamaged when the document is no partition."""
    return _read(_partition, document, "partition")


def read_file(document: str) -> OutputFile:
    """StoreDamaged when the document is no file."""
    return _read(_file, document, "file")


def _read(decoder: msgspec.json.Decoder[_T], document: str, noun: str) -> _T:
    try:
        return decoder.decode(document)
    except msgspec.DecodeError as error:
        raise StoreDamaged(f"the ledger holds a {noun} that cannot be read: {error}") from error
