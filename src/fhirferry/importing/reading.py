"""One file read item by item, in bounded memory, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fhirferry.fhir.resource import Deletion, ResourceError, read_resource
from fhirferry.importing.bundle import Bad, Data, Item, unpack, unpack_file
from fhirferry.importing.inputs import Input, Role
from fhirferry.importing.opening import Content, Document, OnRead, Reader

LINE_LIMIT = 256_000_000
"""Bytes of one line, or of a document that is no Bundle to unpack. More would take this process's memory."""
WHOLE = 32_000_000
"""Bytes of a document that may be looked at as a whole: cutting a larger one costs a third more time."""
SNIFF = 1 << 20
NO_DELETION = "not a Bundle of deletions"


def read_items(source: Input, on_read: OnRead | None = None, *, line_limit: int = LINE_LIMIT) -> Iterator[Item]:
    """Resources, deletions and reports of what is bad, in the order of the file; headers of organised output are passed
    over. Never raises for its content."""
    line = 0
    try:
        with Content(source.path, on_read) as content:
            if source.role is Role.DETECT and not _looks_like_lines(content.stream):
                yield from _document(content.document(), line_limit)
                return
            while (data := _line(content.stream, line_limit)) != b"":
                line += 1
                if data is None:
                    yield Bad(line, f"longer than {line_limit // 1_000_000} MB")
                elif data.isspace():
                    continue
                elif source.role is Role.DELETED:
                    yield from _deletions(data, line)
                else:
                    item = _one(data, line)
                    if type(item) is Bad and _is_header(data):
                        continue
                    # A Bundle to unpack may be no resource to store: it needs no id.
                    bundle = source.role is not Role.OUTPUT and (type(item) is Bad or item.type == "Bundle")
                    items = unpack(data, line) if bundle and b'"Bundle"' in data else None
                    del data  # a generator keeps its variables: 25 MB, while the store writes the same 25 MB (L7)
                    if items is None:
                        yield item
                    else:
                        yield from items
    except OSError as error:
        yield Bad(line + 1 if line else 0, error.strerror or str(error))


def _looks_like_lines(stream: Reader) -> bool:
    """The first line that is not blank is a whole JSON value. (A line that is longer than a look is a document.)"""
    first, newline, _ = stream.peek(SNIFF)[:SNIFF].lstrip().partition(b"\n")
    if not newline:
        return False
    try:
        msgspec.json.decode(first, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _line(stream: Reader, limit: int) -> bytes | None:
    """The next line, empty at the end; None for one beyond the limit, which is passed over."""
    line = stream.readline(limit + 1)
    if len(line) <= limit or line.endswith(b"\n"):
        return line
    del line
    while (rest := stream.readline(SNIFF)) and not rest.endswith(b"\n"):
        pass
    return None


def _deletions(data: bytes, line: int) -> Iterator[Item]:
    for item in unpack(data, line) or (None,):
        yield item if isinstance(item, Deletion | Bad) else Bad(line, NO_DELETION)


def _document(document: Document, limit: int) -> Iterator[Item]:
    if document.size > WHOLE and (items := unpack_file(document.file, document.start)) is not None:
        yield from items
        return
    data = document.map()
    if (items := unpack(data, 0)) is not None:
        yield from items
    elif len(data) > limit:
        yield Bad(0, f"no Bundle to unpack, and larger than {limit // 1_000_000} MB")
    else:
        yield _one(data, 0)


def _is_header(data: bytes) -> bool:
    """The beginning of a block of organised output. It has no id, and says nothing that its block does not."""
    if b'"Parameters"' not in data:
        return False
    from fhirferry.bulkdata.organised import patient_of

    return patient_of(data) is not None


def _one(data: Data, line: int) -> Item:
    try:
        return read_resource(data)
    except ResourceError as error:
        return Bad(line, error.message)
