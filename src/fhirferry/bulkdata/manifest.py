"""The manifest: what a finished export consists of (B64-B88; version 3 of the Bulk Data guide, readable by 1 and 2).

What goes beyond HL7's text lies in `extension` objects, as B87 allows: of the manifest `fhirferry` with the job's id,
that of the job which it continues, after what instant it has superseded versions where it has some, and the release of FHIR
where that is not R4; of a file `sha256` (hex) and `bytes` of the stored file, `rawBytes` of its NDJSON, and `history` where it
holds superseded versions: such files follow the others of `output`. Files of organised output have no type (B73).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fhirferry.bulkdata.kickoff import export_url
from fhirferry.model.errors import IllegalStep, RequestError
from fhirferry.model.instant import Instant, format_instant, parse_instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import BLOCKS, Kind

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
_ORDER = {kind: place for place, kind in enumerate(Kind)}


def manifest(record: ExportJobRecord, files: Sequence[OutputFile]) -> bytes:
    """The manifest of a sealed job: indented JSON ended by a newline.

    A pure function of facts that no longer change once the job is sealed: whoever writes it, whenever, with the files
    in whatever order, writes the same bytes (B66). URLs are relative to where the manifest lies.
    IllegalStep before the seal.
    """
    if not record.sealed or record.transaction_time is None:
        raise IllegalStep(f"job {record.id} is not sealed: its list of files is not final, so there is no manifest yet")
    release = record.request.release
    about = {
        "job": record.id,
        "continues": record.continues,
        "release": release if release != "R4" else None,
        "historyAfter": None if record.history_after is None else format_instant(record.history_after),
    }
    lists: dict[str, list[dict[str, object]]] = {list_of(kind): [] for kind in Kind}
    following = _following(files)
    for file in _ordered(files):
        item = {
            "type": file.type if file.type != BLOCKS else None,
            "url": file.name,
            "count": file.count,
            "continuesInFile": following.get(file.name),
            "extension": {
                "sha256": file.sha256,
                "bytes": file.bytes,
                "rawBytes": file.raw_bytes,
                **({"history": True} if file.kind is Kind.HISTORY else {}),
            },
        }
        lists[list_of(file.kind)].append({name: value for name, value in item.items() if value is not None})
    organised = record.request.organize_output_by
    document = {
        "transactionTime": format_instant(record.transaction_time),
        "request": record.request.url or export_url(record.source_uri, record.request),
        "requiresAccessToken": False,
        **({} if organised is None else {"outputOrganizedBy": organised}),
        **lists,
        "extension": {"fhirferry": {name: value for name, value in about.items() if value is not None}},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def list_of(kind: Kind) -> str:
    """The list of the manifest that names a file."""
    return Kind.OUTPUT.value if kind is Kind.HISTORY else kind.value


def sha256sums(files: Sequence[OutputFile], manifest_bytes: bytes | None = None) -> bytes:
    """The files' checksums in coreutils' format, for `sha256sum -c`; the manifest's too when its bytes are given."""
    lines = [f"{file.sha256}  {file.name}\n" for file in _ordered(files)]
    if manifest_bytes is not None:
        import hashlib  # loads OpenSSL, 5 ms that a command which writes no manifest saves

        lines.append(f"{hashlib.sha256(manifest_bytes).hexdigest()}  {MANIFEST}\n")
    return "".join(lines).encode()


def _ordered(files: Sequence[OutputFile]) -> list[OutputFile]:
    return sorted(files, key=lambda file: (_ORDER[file.kind], file.type, file.sequence, file.name))


def _following(files: Sequence[OutputFile]) -> dict[str, str]:
    """Where the last block of a file goes on, by names (B79). A patient is in one partition only, whose files come in
    order."""
    found: dict[str, str] = {}
    ends: dict[str, str] = {}
    for file in sorted((file for file in files if file.patients is not None), key=lambda file: file.sequence):
        first, last = file.patients or ("", "")
        if first in ends:
            found[ends[first]] = file.name
        ends[last] = file.name
    return found


class ManifestItem(msgspec.Struct, frozen=True, kw_only=True):
    """A file as a manifest lists it; None for what another server does not tell. type: BLOCKS for organised output.
    continues_in: the URL of the file in which its last block goes on."""

    kind: Kind
    type: str
    url: str
    count: int | None = None
    continues_in: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    raw_bytes: int | None = None

    @property
    def name(self) -> str:
        """Where the file lies beside the manifest: a relative URL itself, of an absolute one the last segment."""
        return _name(self.url)

    @property
    def next_name(self) -> str | None:
        """The same of the file in which its last block goes on."""
        return None if self.continues_in is None else _name(self.continues_in)


def _name(url: str) -> str:
    from urllib.parse import unquote  # costs 5 ms at start-up, needed by `verify` only

    path = url.partition("?")[0].partition("#")[0]
    return unquote(path.rpartition("/")[2] if "://" in path else path.removeprefix("./"))


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as read. items: outputs, then deleted, then errors. request: empty where a server leaves it out.
    job: id of the export job that wrote it, None for other servers' exports. continues: of the one whose T is its `_since`,
    where it says so. release: of FHIR, for what names mean. organised_by: the type of `organizeOutputBy` (B77).
    history_after: it has the versions that were superseded after this; None for none, or where it does not say so."""

    transaction_time: Instant
    request: str
    requires_access_token: bool
    items: tuple[ManifestItem, ...]
    job: str | None = None
    continues: str | None = None
    release: str = "R4"
    organised_by: str | None = None
    history_after: Instant | None = None


class _Item(msgspec.Struct, frozen=True, rename="camel"):
    url: str
    type: str | None = None
    count: int | None = None
    continues_in_file: str | None = None
    extension: Any = None


class _Link(msgspec.Struct, frozen=True):
    relation: str = ""


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    transaction_time: str
    output: list[_Item]
    request: str = ""
    requires_access_token: bool = False
    output_organized_by: str | None = None
    deleted: list[_Item] | None = None
    error: list[_Item] | None = None
    link: list[_Link] | None = None
    extension: Any = None


class _FileFacts(msgspec.Struct, frozen=True, rename="camel"):
    sha256: str | None = None
    bytes: int | None = None
    raw_bytes: int | None = None
    history: bool = False


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest of ours or of another server. RequestError says what is wrong with it.

    Strict about what the guide requires and about wrong types; tolerant about what is optional or of a later version.
    A manifest with further pages is refused: its own list of files is not the whole export (B86).
    """
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"this is not a Bulk Data manifest: {error}") from None
    if any(link.relation == "next" for link in document.link or ()):
        raise RequestError("this manifest is one of several pages (it has a `link` to the next); give the whole one")
    lists = ((Kind.OUTPUT, document.output), (Kind.DELETED, document.deleted), (Kind.ERROR, document.error))
    organised = document.output_organized_by is not None
    history_after = _ours(document.extension, "historyAfter")
    return Manifest(
        transaction_time=parse_instant(document.transaction_time),
        request=document.request,
        requires_access_token=document.requires_access_token,
        items=tuple(
            _read_item(kind, item, BLOCKS if kind is Kind.OUTPUT and organised else None)
            for kind, items in lists
            for item in items or ()
        ),
        job=_ours(document.extension, "job"),
        continues=_ours(document.extension, "continues"),
        release=_ours(document.extension, "release") or "R4",
        organised_by=document.output_organized_by,
        history_after=None if history_after is None else parse_instant(history_after),
    )


def _read_item(kind: Kind, item: _Item, fixed: str | None) -> ManifestItem:
    """fixed: what the type is where items have none."""
    named = fixed or item.type
    if named is None:
        raise RequestError(f"this is not a Bulk Data manifest: it does not say of which type {item.url!r} is")
    facts = _FileFacts()
    if isinstance(item.extension, dict):  # version 4 writes a list of Extensions here, which is not ours to read
        try:
            facts = msgspec.convert(item.extension, _FileFacts)
        except msgspec.ValidationError as error:
            raise RequestError(f"the manifest's facts about {item.url!r} cannot be read: {error}") from None
    return ManifestItem(
        kind=Kind.HISTORY if facts.history and kind is Kind.OUTPUT else kind,
        type=named,
        url=item.url,
        count=item.count,
        continues_in=item.continues_in_file,
        sha256=facts.sha256,
        bytes=facts.bytes,
        raw_bytes=facts.raw_bytes,
    )


def _ours(extension: object, name: str) -> str | None:
    ours = extension.get("fhirferry") if isinstance(extension, dict) else None
    value = ours.get(name) if isinstance(ours, dict) else None
    return value if isinstance(value, str) else None
