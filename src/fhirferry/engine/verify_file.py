"""One file of an export, read again from end to end: bytes, checksum, compression, and every line by itself.

JSON is checked without being built: msgspec's decoder for a Struct with three fields walks over all others, and checks
their syntax on the way (numbers, escapes, control characters, nesting). It does not check that strings are UTF-8, so
that is done for whole blocks at a time.
"""

from __future__ import annotations

import hashlib
from codecs import utf_8_decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from fhirferry.bulkdata.members import CompressionDamaged, gunzip
from fhirferry.engine.spill import Entry
from fhirferry.engine.verify_findings import FindingKind, Findings
from fhirferry.engine.verify_shapes import (
    DELETED,
    FORMER,
    LONGEST_ID,
    OUTPUT,
    Bundle,
    Head,
    Version,
    decode_bundle,
    decode_head,
    decode_version,
    deleted_keys,
    digest_of,
    key_of,
    version_key,
)
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant, format_instant, parse_instant
from fhirferry.model.partition import Kind

MIB = 1 << 20
LONGEST_LINE = 96 * MIB
"""A longer line is not checked and said to be unchecked: memory is bounded whatever a file holds."""

_Shape = TypeVar("_Shape", Head, Version, Bundle)
Span = tuple[bytes, int, int]
"""A buffer, and the part of it to look at: from, to."""


class FileCheck:
    """Reads one listed file. After `run`: lines, raw_bytes, stored_bytes, sha256 as they are, not as they should be.

    add is given every key that was seen (side OUTPUT or DELETED, with `number` as its file), report every finding about
    lines and compression. digests: also take a digest of every line.
    """

    organised = False

    def __init__(
        self,
        *,
        name: str,
        number: int,
        kind: Kind,
        resource_type: str,
        transaction_time: Instant,
        digests: bool,
        add: Callable[[Sequence[Entry]], None],
        report: Findings,
    ) -> None:
        self.name = name
        self.lines = 0
        self.keys = 0
        self.raw_bytes = 0
        self.stored_bytes = 0
        self._sum = hashlib.sha256()
        self.number = number
        self.kind = kind
        self._wanted = {Kind.DELETED: "Bundle", Kind.ERROR: "OperationOutcome"}.get(kind, resource_type)
        self._until = transaction_time
        self._until_text = format_instant(transaction_time)[:-1]
        self._digests = digests
        self._add = add
        self._report = report

    @property
    def counted(self) -> int:
        """Lines, as the manifest counts them."""
        return self.lines

    @property
    def sha256(self) -> str:
        """Hex, of the stored bytes read so far."""
        return self._sum.hexdigest()

    def run(self, chunks: Iterator[bytes], progress: Callable[[], None]) -> None:
        """Read it all; `progress` is called as stored bytes come, and at the end."""
        stored = self._count(chunks, progress)
        check = {
            Kind.OUTPUT: self._resources,
            Kind.HISTORY: self._versions,
            Kind.DELETED: self._deletions,
            Kind.ERROR: self._outcomes,
        }[self.kind]
        try:
            for span in self._spans(gunzip(stored) if self.name.endswith(".gz") else stored):
                check(span)
        except CompressionDamaged as error:
            self._say(FindingKind.COMPRESSION, f"{error}; whole lines before: {self.lines}", self.lines + 1)
            for _ in stored:  # the checksum is of the whole file
                pass
        progress()

    def _count(self, chunks: Iterator[bytes], progress: Callable[[], None]) -> Iterator[bytes]:
        for chunk in chunks:
            self._sum.update(chunk)
            self.stored_bytes += len(chunk)
            progress()
            yield chunk

    def _spans(self, chunks: Iterable[bytes]) -> Iterator[Span]:
        """The NDJSON in spans of whole lines, copied only where a line lies in several chunks; a last line without a
        newline comes as it is."""
        pieces: list[bytes] = []
        waiting = 0
        skipping = False
        for piece in chunks:
            self.raw_bytes += len(piece)
            start = 0
            if skipping or pieces:
                start = piece.find(b"\n") + 1
                if start and not skipping:
                    line = b"".join((*pieces, piece[:start]))
                    pieces, waiting = [], 0
                    yield line, 0, len(line)
                if skipping:
                    if not start:
                        continue
                    skipping = False
            end = piece.rfind(b"\n") + 1
            if end > start:
                yield piece, start, end
            if max(start, end) < len(piece):
                pieces.append(piece[max(start, end) :])
                waiting += len(pieces[-1])
            if waiting > LONGEST_LINE:
                self.lines += 1
                self._say(FindingKind.UNCHECKED, f"the line is longer than {LONGEST_LINE // MIB} MiB", self.lines)
                pieces, waiting, skipping = [], 0, True
        if pieces:
            line = b"".join(pieces)
            yield line, 0, len(line)

    def _decoded(self, span: Span, decode: Callable[[memoryview], _Shape]) -> Iterator[tuple[_Shape, memoryview]]:
        """Every good line, read and as bytes; `lines` is its number meanwhile. Bad ones are reported instead."""
        block, start, total = span
        view = memoryview(block)
        suspect = not (block.isascii() or is_utf8(view[start:total])) or b"\r" in block
        find = block.find
        while start < total:
            end = find(b"\n", start, total)
            self.lines += 1
            if end < 0:
                end = total
                self._say(FindingKind.LINE_END, "the last line does not end with a newline", self.lines)
            line = view[start:end]
            start = end + 1
            if suspect and not self._plain(line):
                continue
            try:
                shape = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._malformed(line, error)
            else:
                yield shape, line

    def _plain(self, line: memoryview) -> bool:
        if b"\r" in bytes(line):
            self._say(FindingKind.LINE_END, "the line holds a carriage return", self.lines)
        if is_utf8(line):
            return True
        self._say(FindingKind.MALFORMED, "the line is not UTF-8", self.lines)
        return False

    def _malformed(self, line: memoryview, error: Exception) -> None:
        if not bytes(line[:MIB]).strip():
            self._say(FindingKind.BLANK_LINE, "the line is blank", self.lines)
        elif bytes(line[:3]) == b"\xef\xbb\xbf":
            self._say(FindingKind.MALFORMED, "the line begins with a byte order mark", self.lines)
        elif isinstance(error, RecursionError):
            self._say(FindingKind.UNCHECKED, "the line is nested too deep to be read", self.lines)
        else:  # msgspec's messages tell kind and place of the fault and never quote a value
            self._say(FindingKind.MALFORMED, f"the line is not one JSON object as FHIR has it: {error}", self.lines)

    def _resources(self, span: Span) -> None:
        # The hot loop: a microsecond here is a tenth of verify's speed, hence the local names and the inlined checks.
        wanted, number, until, digests = self._wanted, self.number, self._until_text, self._digests
        digest = b""
        entries = []
        for head, line in self._decoded(span, decode_head):
            if head.resourceType != wanted:
                self._wrong_type(head.resourceType)
                continue
            if not head.id:
                self._say(FindingKind.NO_ID, "the resource has no id", self.lines)
                continue
            key = f"{wanted}/{head.id}" if len(head.id) <= LONGEST_ID else key_of(wanted, head.id)
            if head.meta is not None:
                # In UTC, fractions as digits: the order of texts is the order of instants, save for trailing zeros.
                updated = head.meta.lastUpdated
                if updated[-1:] != "Z" or updated[:-1] > until:
                    self._in_time(updated, key)
            if digests:
                digest = digest_of(line)
            entries.append(Entry(key, OUTPUT, number, self.lines, digest))
        self.keys += len(entries)
        self._add(entries)

    def _versions(self, span: Span) -> None:
        """Of each resource there may be many."""
        entries = []
        for head, line in self._decoded(span, decode_version):
            if head.resourceType != self._wanted:
                self._wrong_type(head.resourceType)
                continue
            if not head.id:
                self._say(FindingKind.NO_ID, "the resource has no id", self.lines)
                continue
            key = version_key(head)
            if head.meta is not None:
                self._in_time(head.meta.lastUpdated, key)
            entries.append(Entry(key, FORMER, self.number, self.lines, digest_of(line)))
        self.keys += len(entries)
        self._add(entries)

    def _in_time(self, last_updated: str, key: str) -> None:
        try:
            newer = parse_instant(last_updated, round_up=True) > self._until
        except RequestError:
            return  # absent or no instant: nothing that could be compared; the bytes are as the source has them
        if newer:
            self._say(FindingKind.NEWER, f"meta.lastUpdated is later than {self._until_text}Z", self.lines, key)

    def _deletions(self, span: Span) -> None:
        for bundle, _ in self._decoded(span, decode_bundle):
            if bundle.resourceType != self._wanted:
                self._wrong_type(bundle.resourceType)
                continue
            try:
                keys = deleted_keys(bundle)
            except RequestError as error:
                self._say(FindingKind.MALFORMED, error.message, self.lines)
                continue
            self.keys += len(keys)
            self._add([Entry(key, DELETED, self.number, self.lines) for key in keys])

    def _outcomes(self, span: Span) -> None:
        for head, _ in self._decoded(span, decode_head):
            if head.resourceType != self._wanted:
                self._wrong_type(head.resourceType)

    def _wrong_type(self, found: str) -> None:
        named = found.isalpha() and found.isascii() and len(found) <= LONGEST_ID
        said = f"its resourceType is {found}" if named else "it has no such resourceType"
        self._say(FindingKind.WRONG_TYPE, f"the line should hold a {self._wanted}; {said}", self.lines)

    def _say(self, kind: FindingKind, message: str, line: int, key: str = "") -> None:
        self._report(kind, message, file=self.name, line=line, key=key)


def is_utf8(view: memoryview) -> bool:
    """Checked in slices, so that a large line does not need its text (up to four times its bytes) in memory."""
    at = 0
    try:
        while at < len(view):
            _, used = utf_8_decode(view[at : at + MIB], "strict", at + MIB >= len(view))
            at += used
    except UnicodeDecodeError:
        return False
    return True
