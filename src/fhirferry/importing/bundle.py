"""Bundles unpacked: entries become resources and deletions, `urn:uuid:` references become `Type/id`.

Entries stay bytes; only ids and addresses are decoded. Two passes, because a reference may point forward. Conditional
references (`Practitioner?identifier=…`) stay as they are: there is nothing to search in yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import IO, final

import msgspec

from fhirferry.fhir.resource import Deletion, Resource, ResourceError, read_resource
from fhirferry.importing.splitting import Splitter, Unsplit

UNPACKED = frozenset({"transaction", "batch", "collection", "searchset"})
"""A document, message, history or subscription Bundle means something as a whole and is stored as one resource."""
URN = "urn:uuid:"
BACKSLASH = ord("\\")

Data = bytes | memoryview


@final
class Bad(msgspec.Struct, frozen=True, array_like=True, tag_field="kind", tag=3):
    """Something that was not taken: the line it stands in (1-based; 0 = the file as a whole), and why."""

    line: int
    reason: str


Item = Resource | Deletion | Bad


class _Bundle(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 (the standard's spelling, here and below)
    type: msgspec.Raw = msgspec.Raw(b"")
    entry: msgspec.Raw = msgspec.Raw(b"[]")


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""


class _Search(msgspec.Struct):
    mode: str = ""


class _Entry(msgspec.Struct):
    fullUrl: str = ""  # noqa: N815
    resource: msgspec.Raw = msgspec.Raw(b"")
    request: _Request = msgspec.field(default_factory=_Request)
    search: _Search = msgspec.field(default_factory=_Search)


class _Named(msgspec.Struct):
    resourceType: str = ""  # noqa: N815
    id: str | None = None


class _Address(msgspec.Struct):
    """An entry as the first pass sees it."""

    fullUrl: str = ""  # noqa: N815
    resource: _Named | None = None
    request: _Request = msgspec.field(default_factory=_Request)


class _Ids(msgspec.Struct):
    """What the first pass learns. addresses: urn:uuid:… -> Type/id. missing: entry -> type and id of a resource that
    comes without an id."""

    addresses: dict[bytes, bytes] = {}
    missing: dict[int, tuple[str, str]] = {}


_bundle = msgspec.json.Decoder(_Bundle).decode
_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_entry = msgspec.json.Decoder(_Entry).decode
_address = msgspec.json.Decoder(_Address).decode
_string = msgspec.json.Decoder(str).decode
_url = re.compile(r"(?:.*/)?([A-Z][A-Za-z]*)/([A-Za-z0-9\-.]{1,64})").fullmatch
# A whole string, and not a member's name. A quote inside a string has a backslash before it: see _resolve.
_links = re.compile(rb'"urn:uuid:[^"\\]*"(?!\s*:)')
_string_value = re.compile(rb'"value"\s*:\s*\Z')

_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def unpack(data: Data, line: int) -> Iterator[Item] | None:
    """What a Bundle holds, entry by entry; None when the data is anything else (broken JSON too).

    A bad entry becomes a Bad that names it; the others go on. `data` is kept until the iterator ends.
    """
    try:
        bundle = _bundle(data)
        if bundle.resourceType != "Bundle" or _string(bundle.type) not in UNPACKED:
            return None
        entries = _entries(bundle.entry)
    except _BROKEN:
        return None
    ids = _Ids()
    for number, raw in enumerate(entries):
        _learn(ids, number, raw)
    return _unpacked(entries, ids, line)


def unpack_file(file: IO[bytes], start: int) -> Iterator[Item] | None:
    """The same for a document that lies in a file from `start` to its end, read twice through a window: memory grows
    by the addresses only. None also when it cannot be cut; `unpack` finds out more."""
    ids = _Ids()
    members: dict[str, bytes] = {}
    place = None
    try:
        split = Splitter(file, start)
        more = split.take(b"{")
        while more:
            name = _string(split.value())
            if name in members or not split.take(b":"):
                return None
            if name == "entry" and split.take(b"["):
                place = split.tell()
                for number, raw in enumerate(split.elements()):
                    _learn(ids, number, raw)
                members[name] = b""
            else:
                members[name] = split.value()
            more = split.take(b",")
        if not split.take(b"}") or not split.ended() or place is None:
            return None
        if _string(members["resourceType"]) != "Bundle" or _string(members["type"]) not in UNPACKED:
            return None
    except (Unsplit, KeyError, *_BROKEN):
        return None
    again = Splitter(file, place)
    return _unpacked(again.elements(), ids, 0)


def _unpacked(entries: Iterable[Data | msgspec.Raw], ids: _Ids, line: int) -> Iterator[Item]:
    for number, raw in enumerate(entries):
        try:
            entry = _entry(raw)
            if entry.search.mode != "outcome" and (item := _item(entry, number, ids)) is not None:
                yield item
        except ResourceError as error:
            yield Bad(line, f"Bundle.entry[{number}]: {error.message}")
        except _BROKEN as error:
            reason = str(error) if isinstance(error, msgspec.MsgspecError) else "not readable"
            yield Bad(line, f"Bundle.entry[{number}]: {reason}")


def _learn(ids: _Ids, number: int, raw: Data | msgspec.Raw) -> None:
    try:
        entry = _address(raw)
    except _BROKEN:
        return  # the second pass reports it
    if entry.resource is None:
        return
    uuid = entry.fullUrl.removeprefix(URN) if entry.fullUrl.startswith(URN) else None
    ident = entry.resource.id
    if ident is None:
        put = _url(entry.request.url) if entry.request.method == "PUT" else None
        ident = put[2] if put else uuid
        if ident is not None:
            ids.missing[number] = entry.resource.resourceType, ident
    if uuid is not None:
        ids.addresses[entry.fullUrl.encode()] = f"{entry.resource.resourceType}/{ident}".encode()


def _item(entry: _Entry, number: int, ids: _Ids) -> Resource | Deletion | None:
    method = entry.request.method
    if method == "DELETE":
        match = _url(entry.request.url)
        if match is None:
            raise ResourceError("DELETE of something else than Type/id")
        return Deletion(match[1], match[2])
    if method == "PATCH":
        raise ResourceError("PATCH is not taken; only whole resources are")
    if not entry.resource:
        if method in ("GET", "HEAD"):
            return None
        raise ResourceError("holds no resource")
    body = bytes(entry.resource)
    if number in ids.missing:
        body = _insert_id(body, *ids.missing[number])
    return read_resource(_resolve(body, ids.addresses))


def _insert_id(body: bytes, kind: str, ident: str) -> bytes:
    body = msgspec.json.format(body, indent=-1)
    head = f'{{"resourceType":"{kind}",'.encode()
    cut = len(head) if body.startswith(head) else 1
    return b"".join((body[:cut], b'"id":', msgspec.json.encode(ident), b",", body[cut:]))


def _resolve(body: bytes, addresses: dict[bytes, bytes]) -> bytes:
    """Replace whole string values that address an entry, as the rules for transactions say
    (https://hl7.org/fhir/R4/http.html#trules): references, uri, url, oid, uuid. `value` alone (Identifier.value) is
    of type string: an identifier keeps what it identifies."""
    if b'"urn:uuid:' not in body:
        return body

    def replace(match: re.Match[bytes]) -> bytes:
        whole, start = match[0], match.start()
        address = addresses.get(whole[1:-1])
        inside = body[start - 1] == BACKSLASH
        if address is None or inside or _string_value.search(body, max(0, start - 64), start):
            return whole
        return b'"' + address + b'"'

    return _links.sub(replace, body)
