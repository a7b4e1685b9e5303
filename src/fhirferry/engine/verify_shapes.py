"""What verifying sees of a line: a resource by its head, a Bundle of deletions; and what stands for it in comparisons."""

from __future__ import annotations

import hashlib

import msgspec

from fhirferry.model.errors import RequestError

LONGEST_ID = 64  # FHIR's; a longer one is kept as its checksum, so that no list of keys grows with their length

OUTPUT, DELETED, SOURCE_OUTPUT, SOURCE_DELETED, UNREADABLE, PLACED, SOURCE_PLACED, BLOCK, FORMER, SOURCE_FORMER = range(
    10
)
"""Sides of an Entry: where a key was seen. UNREADABLE: the source has it and cannot read it. Of organised output besides:
PLACED: in whose block it was seen (that is the digest then); BLOCK: the Patient whose block begins. FORMER: a version."""


class _Meta(msgspec.Struct, gc=False):
    lastUpdated: str = ""  # noqa: N815 - FHIR's spelling


class Head(msgspec.Struct, gc=False):
    """What verifying needs of a resource."""

    resourceType: str = ""  # noqa: N815 - FHIR's spelling
    id: str = ""
    meta: _Meta | None = None


class _VersionMeta(_Meta, gc=False):
    versionId: str = ""  # noqa: N815


class Version(msgspec.Struct, gc=False):
    """What verifying needs of a superseded version."""

    resourceType: str = ""  # noqa: N815 - FHIR's spelling
    id: str = ""
    meta: _VersionMeta | None = None


class _Request(msgspec.Struct, gc=False):
    method: str = ""
    url: str = ""


class _BundleEntry(msgspec.Struct, gc=False):
    request: _Request | None = None


class Bundle(msgspec.Struct, gc=False):
    """What verifying needs of a transaction Bundle of deletions."""

    resourceType: str = ""  # noqa: N815 - FHIR's spelling
    type: str = ""
    entry: list[_BundleEntry] = []


decode_head = msgspec.json.Decoder(Head).decode
decode_version = msgspec.json.Decoder(Version).decode
decode_bundle = msgspec.json.Decoder(Bundle).decode


def key_of(resource_type: str, resource_id: str) -> str:
    """`Type/id`, bounded in length."""
    if len(resource_id) > LONGEST_ID:
        resource_id = "sha256:" + hashlib.sha256(resource_id.encode()).hexdigest()
    return f"{resource_type}/{resource_id}"


def version_key(head: Version) -> str:
    """`Type/id/_history/version`, bounded in length. Their bytes tell versions apart that have no number, or the same one
    as another that somebody else gave it."""
    number = "" if head.meta is None else head.meta.versionId
    return f"{key_of(head.resourceType, head.id)}/_history/{number if len(number) <= LONGEST_ID else ''}"


def digest_of(line: memoryview | bytes) -> bytes:
    """128 bits that stand for a line's bytes (without its newline)."""
    return hashlib.sha256(line).digest()[:16]


def deleted_keys(bundle: Bundle) -> list[str]:
    """`Type/id` of each entry of a transaction Bundle of deletions (B82). RequestError says what is wrong with it."""
    if bundle.type != "transaction":
        raise RequestError("the Bundle's type is not 'transaction'")
    if not bundle.entry:
        raise RequestError("the Bundle has no entry")
    keys = []
    for number, entry in enumerate(bundle.entry):
        if entry.request is None or entry.request.method != "DELETE":
            raise RequestError(f"entry {number} of the Bundle is not a DELETE")
        segments = entry.request.url.split("/")
        if len(segments) < 2 or not segments[-2].isalpha() or not segments[-1] or "?" in segments[-1]:
            raise RequestError(f"entry {number} of the Bundle has no url like Type/id")
        keys.append(key_of(segments[-2], segments[-1]))
    return keys
