"""Headers of organised output, put in where a file needs them: before each block, and again where a file goes on with one
that another file began (B78, B79)."""

from __future__ import annotations

import msgspec

from fhirferry.model.instant import Instant
from fhirferry.model.partition import Issue, Page
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source

NOBODYS = ("Group", "Provenance")
"""Types that an export of patients has and organised output leaves out, all of it or nearly."""


def left_out(source: Source, request: ExportRequest, t: Instant) -> tuple[Issue, ...]:
    """What the reader of organised output is told, because nothing may be missing in silence (B80)."""
    types = tuple(name for name in NOBODYS if request.types is None or name in request.types)
    if request.organize_output_by is None or not types:
        return ()
    there = sorted(source.totals(ExportRequest(types=types), t))
    if not there:
        return ()
    again = ",".join(there)
    what = {"Group": "Groups", "Provenance": "Provenance that is about another resource than a Patient"}
    text = (
        f"Organised output leaves out {' and '.join(what[name] for name in there)}, which are in nobody's block; the same "
        f"export with _type={again} and without organizeOutputBy brings them."
    )
    return (Issue(severity="information", code="informational", diagnostics=text),)


class Blocks:
    """Whose the blocks of one file are. patients: the first and the last one; None without any."""

    def __init__(self) -> None:
        self.patients: tuple[str, str] | None = None

    def laid_out(self, page: Page) -> Page:
        """The page as it goes into the file behind what was taken. `count` stays that of the resources."""
        if not page.blocks:
            return page
        from fhirferry.bulkdata.organised import header

        pieces: list[bytes | memoryview] = []
        body, at = memoryview(page.body), 0
        for block in page.blocks:
            if not self._goes_on(block.patient):  # of a page only the first can
                pieces.append(header(block.patient))
            pieces.append(body[at : at + block.bytes])
            at += block.bytes
        return msgspec.structs.replace(page, body=b"".join(pieces))

    def take(self, page: Page) -> None:
        """The page was written."""
        if page.blocks:
            first = page.blocks[0].patient if self.patients is None else self.patients[0]
            self.patients = first, page.blocks[-1].patient

    def begins(self, page: Page) -> bool:
        """The page breaks off in a block that the file does not have yet."""
        return page.rest > 0 and bool(page.blocks) and not self._goes_on(page.blocks[-1].patient)

    def _goes_on(self, patient: str) -> bool:
        return self.patients is not None and self.patients[1] == patient
