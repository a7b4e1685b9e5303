"""What goes between an import and the process that reads for it: orders there, chunks of items back.

A frame is its length in 8 bytes and msgpack. Both ends are the same program, so nothing here needs a version.
"""

from __future__ import annotations

from typing import IO

import msgspec

from fhirferry.fhir.resource import Deletion, Resource
from fhirferry.importing.bundle import Bad
from fhirferry.importing.inputs import Role

LENGTH = 8


class Order(msgspec.Struct, frozen=True):
    """A file to read. path: as the file system spells it."""

    path: bytes
    role: Role
    strict: bool


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Some items of a file, in order. last: the file has no more. read: bytes of the file that went by for them."""

    items: list[Resource | Deletion | Bad]
    last: bool
    read: int


encode_order = msgspec.msgpack.Encoder().encode
encode_chunk = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_chunk = msgspec.msgpack.Decoder(Chunk).decode


def send(stream: IO[bytes], body: bytes) -> None:
    """Write a frame; flushing is the caller's."""
    stream.write(len(body).to_bytes(LENGTH, "big"))
    stream.write(body)


def receive(stream: IO[bytes]) -> bytes | None:
    """The body of the next frame; None when the stream ends before it is whole."""
    head = stream.read(LENGTH)
    length = int.from_bytes(head, "big")
    body = stream.read(length) if len(head) == LENGTH else b""
    return body if len(head) == LENGTH and len(body) == length else None
