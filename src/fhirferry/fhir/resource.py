"""A FHIR resource as bytes: checked once, compacted, never rebuilt.

Theory of operation. `msgspec.json.format` proves the JSON and drops insignificant white space; every token keeps its
spelling (1.50 stays 1.50). One shallow decode then cuts the top level into raw members: nothing below is looked at.
Joined again they must give the same bytes. They don't when a member is doubled (the decoder kept the last one only),
so a resource that two readers could understand differently is refused.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import final

import msgspec

from fhirferry.fhir.membership import patients_of
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant, format_instant, parse_instant

DIGEST_SIZE = 16
UTF8_PIECE = 1 << 20
COMMA = ord(",")
QUOTE = ord('"')
OPENING, THEN_ID = b'{"resourceType":"', b'","id":"'
_AFTER_OPENING, _TO_ID = len(OPENING), len(THEN_ID)

_sha256 = hashlib.sha256
_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_is_type = re.compile(r"[A-Z][A-Za-z]{0,63}").fullmatch
_is_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch


class ResourceError(RequestError):
    """These bytes are no resource that can be stored. Says why and where, in numbers and names; quotes no content."""


@final
class Resource(msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="kind", tag=1):
    """One resource, proven to be one JSON object in valid UTF-8 with a type and an id.

    body: compact JSON on one line (no newline byte), tokens and their order as they came.
    meta: span [start, end) of the value of the top-level `meta` in body; None where there is none.
    updated, version_id: the given `meta.lastUpdated` and `meta.versionId`.
    digest: 16 bytes of SHA-256 over the content without `meta.versionId` and `meta.lastUpdated` (and without a `meta`
        that is empty then): equal digests mean an equal resource, whoever stamped it.
    patients: ids of those whose compartments it is in (`membership.patients_of`).
    """

    type: str
    id: str
    body: bytes
    meta: tuple[int, int] | None
    updated: Instant | None
    version_id: str | None
    digest: bytes
    patients: tuple[str, ...]


@final
class Deletion(msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="kind", tag=2):
    """The wish that `type/id` be gone."""

    type: str
    id: str


def read_resource(data: bytes | memoryview) -> Resource:
    """Read one resource, pretty printed or compact. Raises ResourceError.

    Refused besides what is no JSON object: invalid UTF-8, lone surrogates, a missing or malformed type or id
    (https://hl7.org/fhir/R4/datatypes.html#id), a `meta` that is no object, a `lastUpdated` that is no instant, a
    doubled member at the top level, a member name written with escapes (no FHIR name needs one), nesting deeper than
    the interpreter's recursion limit.
    """
    try:
        body = msgspec.json.format(data, indent=-1)
        if not body.isascii():
            _check_utf8(body)
        members = _members(body)
    except msgspec.MsgspecError as error:
        raise ResourceError(f"not a resource: {error}") from None
    except RecursionError:
        raise ResourceError("not a resource: nested too deep") from None
    if _encode(members) != body:
        raise ResourceError(_odd_member(body, members))
    kind = _text(members, "resourceType")
    if not _is_type(kind):
        raise ResourceError(f"resourceType ({len(kind)} characters) is no name of letters like Patient")
    ident = _text(members, "id")
    if not _is_id(ident):
        raise ResourceError(f"id ({len(ident)} characters) is not 1 to 64 letters, digits, '-' and '.'")
    patients = patients_of(kind, ident, members)
    raw = members.get("meta")
    if raw is None:
        return Resource(kind, ident, body, None, None, None, _sha256(body).digest()[:DIGEST_SIZE], patients)
    try:
        meta = _members(raw)
    except msgspec.ValidationError:
        raise ResourceError("meta is no JSON object") from None
    updated = version_id = None
    if "lastUpdated" in meta:
        updated = _instant(meta)
        del meta["lastUpdated"]
    if "versionId" in meta:
        version_id = _text(meta, "versionId")
        del meta["versionId"]
    start, end = span = _span(members, raw)
    # Digest as if `meta` without its stamps stood at the end: where it was inserted must not count.
    cut = start - len('"meta":')
    if body[cut - 1] == COMMA:
        cut -= 1
    elif body[end] == COMMA:
        end += 1
    content = b"".join((body[:cut], body[end:], _encode(meta) if meta else b""))
    return Resource(kind, ident, body, span, updated, version_id, _sha256(content).digest()[:DIGEST_SIZE], patients)


def with_meta(resource: Resource, *, version_id: str | None, last_updated: Instant | None) -> bytes:
    """The body with `meta.versionId` and `meta.lastUpdated` set to these; None leaves that member as it came.

    Set members come first in `meta`. A resource without `meta` gets one behind `resourceType` and `id` if these open
    the body, else at its end. All else keeps bytes and order.
    """
    stamps = _stamps(version_id, last_updated)
    body = resource.body
    if not stamps:
        return body
    if resource.meta is None:
        return insert_meta(resource, new_meta(version_id, last_updated))
    start, end = resource.meta
    rest = body[start + 1 : end]
    replaces_version = version_id is not None and resource.version_id is not None
    if replaces_version or (last_updated is not None and resource.updated is not None):
        members = _members(body[start:end])
        if version_id is not None:
            members.pop("versionId", None)
        if last_updated is not None:
            members.pop("lastUpdated", None)
        rest = _encode(members)[1:]
    return b"".join((body[: start + 1], stamps, b"," if len(rest) > 1 else b"", rest, body[end:]))


def new_meta(version_id: str | None, last_updated: Instant | None) -> bytes:
    """A member `meta` for `insert_meta`."""
    return b',"meta":{' + _stamps(version_id, last_updated) + b"}"


def insert_meta(resource: Resource, meta: bytes) -> bytes:
    """The body of a resource without `meta`, with this one in it, where `with_meta` says."""
    body = resource.body
    # Only the marks around them are compared: no other spelling of type and id fits in between.
    kind = _AFTER_OPENING + len(resource.type)
    cut = kind + _TO_ID + len(resource.id)
    if body[:_AFTER_OPENING] != OPENING or body[kind : kind + _TO_ID] != THEN_ID or body[cut] != QUOTE:
        cut = len(body) - 2
    return b"".join((body[: cut + 1], meta, body[cut + 1 :]))


@lru_cache(maxsize=64)  # the resources of a batch get one instant, and nearly all of them version 1
def _stamps(version_id: str | None, last_updated: Instant | None) -> bytes:
    stamps = {}
    if version_id is not None:
        stamps["versionId"] = version_id
    if last_updated is not None:
        stamps["lastUpdated"] = format_instant(last_updated)
    return _encode(stamps)[1:-1]


def _check_utf8(body: bytes) -> None:
    """In pieces: the decoded text of a resource of 25 MB would need up to 100 MB."""
    start = 0
    while start < len(body):
        end = start + UTF8_PIECE
        while end < len(body) and body[end] & 0xC0 == 0x80 and end > start + UTF8_PIECE - 4:
            end -= 1  # a character is not cut in two
        try:
            body[start:end].decode()
        except UnicodeDecodeError as error:
            raise ResourceError(f"not a resource: invalid UTF-8 ({error.reason})") from None
        start = end


def _odd_member(body: bytes, members: dict[str, msgspec.Raw]) -> str:
    """Which member is not where a plain object would have it."""
    at = 1
    for name, value in members.items():
        shown = name if name.isascii() and name.isidentifier() and len(name) <= 64 else "(no FHIR name)"
        key = _encode(name) + b":"
        if not body.startswith(key, at):
            return f"member {shown} is written with escapes, or follows a doubled one"
        at += len(key)
        if not body.startswith(memoryview(value), at):
            return f"member {shown} is doubled"
        at += len(value) + 1
    return "a member is doubled"


def _text(members: dict[str, msgspec.Raw], name: str) -> str:
    raw = members.get(name)
    if raw is None:
        raise ResourceError(f"{name} is missing")
    try:
        return _string(raw)
    except msgspec.ValidationError:
        raise ResourceError(f"{name} is no string") from None


def _instant(meta: dict[str, msgspec.Raw]) -> Instant:
    text = _text(meta, "lastUpdated")
    try:
        return parse_instant(text)
    except RequestError:
        raise ResourceError(f"meta.lastUpdated ({len(text)} characters) is no instant") from None


def _span(members: dict[str, msgspec.Raw], meta: msgspec.Raw) -> tuple[int, int]:
    """Where the value of `meta` stands: names and lengths of the members before it say so exactly."""
    at = 1
    for name, value in members.items():
        at += len(_encode(name)) + 1
        if value is meta:
            break
        at += len(value) + 1
    return at, at + len(meta)
