"""Which files an import reads, in which order, and what each one is."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from fhirferry.model.errors import RequestError

MANIFEST = "manifest.json"
LINES = (".ndjson", ".jsonl")
COMPRESSED = (".gz", ".zst")


class Role(StrEnum):
    """How a file's content is taken."""

    DETECT = "detect"  # one JSON document or NDJSON: its first line tells
    LINES = "lines"  # NDJSON; a Bundle in a line is unpacked
    OUTPUT = "output"  # NDJSON of an export: a Bundle in a line is a resource like any other
    DELETED = "deleted"  # NDJSON of an export: Bundles of DELETE entries (B81)
    SKIPPED = "skipped"  # not FHIR by its name


class Input(msgspec.Struct, frozen=True):
    """One file to read. It may be missing: a manifest can name files that nobody brought along."""

    path: Path
    role: Role


class _File(msgspec.Struct):
    url: str
    extension: Any = None

    @property
    def is_history(self) -> bool:
        """It holds superseded versions, as fhirferry's own manifests say."""
        return isinstance(self.extension, dict) and self.extension.get("history") is True


class _Link(msgspec.Struct):
    relation: str = ""


class _Manifest(msgspec.Struct):
    """As much of a Bulk Data manifest as importing needs."""

    output: list[_File]
    deleted: list[_File] = []
    link: list[_Link] = []


def find_inputs(paths: Iterable[Path]) -> Iterator[Input]:
    """Files as they were named; folders recursively, sorted, without hidden ones and links to folders.

    A folder whose `manifest.json` lists an `output` is an export: its files in the manifest's order, deletions last;
    its error files and whatever else lies there are left alone, and so are superseded versions: they would bring back what
    is deleted. Raises RequestError for a path that does not exist,
    or a manifest whose next page nobody would read.
    """
    for path in paths:
        if path.is_dir():
            yield from _folder(path)
        elif path.name == MANIFEST and (manifest := _manifest(path)) is not None:
            yield from _export(path.parent, manifest)
        elif path.exists():
            yield Input(path, _role(path) or Role.DETECT)
        else:
            raise RequestError(f"{path}: no such file or folder")


def size_of(source: Input) -> int | None:
    """Bytes of a file as it is stored; None for what has no size of its own (a pipe, a device), or is not there."""
    try:
        status = source.path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or str(source.path.absolute()).startswith(("/dev/", "/proc/")):
        return None  # /dev/stdin is another file in a child
    return status.st_size


def stored_bytes(paths: Iterable[Path]) -> int | None:
    """Bytes of all files that an import of these paths reads; None when that cannot be told beforehand. Looks at each."""
    total = 0
    try:
        for source in find_inputs(paths):
            if source.role is not Role.SKIPPED:
                size = size_of(source)
                if size is None and source.path.exists():
                    return None
                total += size or 0
    except (OSError, RequestError):  # the import itself says what is wrong
        return None
    return total


def _folder(folder: Path) -> Iterator[Input]:
    entries = sorted(folder.iterdir())
    manifest = _manifest(folder / MANIFEST) if folder / MANIFEST in entries else None
    if manifest is not None:
        yield from _export(folder, manifest)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _folder(entry)
        else:
            yield Input(entry, _role(entry) or Role.SKIPPED)


def _role(path: Path) -> Role | None:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    return Role.LINES if kind in LINES else Role.DETECT if kind == ".json" else None


def _manifest(path: Path) -> _Manifest | None:
    """None when this is some other JSON file of that name; then it is read like any."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except msgspec.MsgspecError:
        return None


def _export(folder: Path, manifest: _Manifest) -> Iterator[Input]:
    if any(link.relation == "next" for link in manifest.link):
        raise RequestError(f"{folder / MANIFEST} goes on in a further manifest; name the files themselves instead")
    for file in manifest.output:
        if not file.is_history:
            yield Input(_local(folder, file.url), Role.OUTPUT)
    for file in manifest.deleted:
        yield Input(_local(folder, file.url), Role.DELETED)


def _local(folder: Path, url: str) -> Path:
    """Where the manifest's file lies, or should lie. A manifest comes from elsewhere: it reaches nothing outside."""
    from urllib.parse import unquote, urlsplit  # only imports of exports pay for it

    parts = urlsplit(url)
    name = unquote(parts.path)
    path = folder / name.lstrip("/")
    if parts.scheme or parts.netloc or not path.resolve().is_relative_to(folder.resolve()):
        path = folder / name.rpartition("/")[2]
    return path
