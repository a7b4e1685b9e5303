"""An object's bytes, in requests that are small enough to be tried again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from fhirferry.destinations.addresses import BucketAddress
from fhirferry.destinations.bucket_errors import sorted_errors
from fhirferry.destinations.names import CHUNK

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

FETCH = 8 * CHUNK
"""Bytes that are asked for at once."""


def read_object(
    store: ObjectStore, address: BucketAddress, name: str, found: ObjectMeta, start: int, end: int
) -> Iterator[bytes]:
    """The bytes from start to end of the version that was found, in chunks of at most CHUNK."""
    whole = start == 0 and end == found["size"] <= FETCH
    for at in range(start, end, FETCH):
        with sorted_errors(address, name):
            try:
                wanted = None if whole else (at, min(at + FETCH, end))
                piece = memoryview(obstore.get(store, address.key(name), options=_options(found, wanted)).bytes())
            except BaseError as error:
                if "non-partial" not in str(error):
                    raise
                piece = None
        if piece is None:
            yield from _skimmed(store, address, name, found, at, end)
            return
        yield from _cut(piece)


def _skimmed(
    store: ObjectStore, address: BucketAddress, name: str, found: ObjectMeta, start: int, end: int
) -> Iterator[bytes]:
    """Of a store that knows no ranges: the whole goes by, and the rest of it is dropped."""
    at = 0
    with sorted_errors(address, name):
        for chunk in obstore.get(store, address.key(name), options=_options(found, None)).stream(CHUNK):
            piece = memoryview(chunk)
            yield from _cut(piece[max(0, start - at) : max(0, end - at)])
            at += len(piece)


def _cut(piece: memoryview) -> Iterator[bytes]:
    for at in range(0, len(piece), CHUNK):
        yield bytes(piece[at : at + CHUNK])


def _options(found: ObjectMeta, wanted: tuple[int, int] | None) -> GetOptions:
    options: GetOptions = {}
    if wanted is not None:
        options["range"] = wanted
    if found["e_tag"] is not None:
        options["if_match"] = found["e_tag"]
    return options
