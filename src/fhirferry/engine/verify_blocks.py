"""A file of organised output, read again: every line belongs to a patient, every block begins once (B78, B79).

A resource may lie in several blocks, with the same bytes. So that a double in one block shows, every place is put aside
besides the key; so are the headers. Whether a file may begin with a block that another one began is for the manifest to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhirferry.bulkdata.manifest import ManifestItem
from fhirferry.bulkdata.organised import patient_of
from fhirferry.engine.spill import Entry
from fhirferry.engine.verify_file import FileCheck, Span
from fhirferry.engine.verify_findings import FindingKind, Findings
from fhirferry.engine.verify_shapes import BLOCK, OUTPUT, PLACED, decode_head, digest_of, key_of


class BlocksCheck(FileCheck):
    """As FileCheck, with findings about blocks. first: the header that the file begins with. last: whose its last block is."""

    organised = True
    first: Entry | None = None
    last: str | None = None
    _headers = 0

    @property
    def counted(self) -> int:
        return self.lines - self._headers

    def _resources(self, span: Span) -> None:
        entries: list[Entry] = []
        count = 0
        for head, line in self._decoded(span, decode_head):
            if head.resourceType == "Parameters":
                entries += self._header(line)
                continue
            if not head.resourceType.isalpha() or not head.id:
                self._say(FindingKind.NO_ID, "the resource has no type or no id", self.lines)
                continue
            key = key_of(head.resourceType, head.id)
            if head.meta is not None:
                self._in_time(head.meta.lastUpdated, key)
            count += 1
            entries.append(Entry(key, OUTPUT, self.number, self.lines, digest_of(line)))
            if self.last is None:
                self._say(FindingKind.WRONG_TYPE, "no header of a block comes before the resource", self.lines, key)
            else:
                entries.append(Entry(key, PLACED, self.number, self.lines, self.last.encode()))
        self.keys += count
        self._add(entries)

    def _header(self, line: memoryview) -> Sequence[Entry]:
        self._headers += 1
        patient = patient_of(line)
        if patient is None:
            self._say(
                FindingKind.WRONG_TYPE, "the Parameters resource is no header that refers to a Patient", self.lines
            )
            return ()
        self.last = key_of("Patient", patient)
        header = Entry(self.last, BLOCK, self.number, self.lines)
        if self.lines == 1:
            self.first = header
            return ()
        return (header,)


def join(files: Sequence[tuple[FileCheck, ManifestItem]], folder: str, report: Findings) -> Sequence[Entry]:
    """Headers that begin both a file and a block. All others that begin a file go on with the last block of the one whose
    `continuesInFile` names it; one that names another file is reported."""
    checks = {check.name: check for check, _ in files if isinstance(check, BlocksCheck)}
    going_on: set[str] = set()
    for check, item in files:
        if not isinstance(check, BlocksCheck) or item.next_name is None:
            continue
        following = checks.get(folder + item.next_name)
        first = None if following is None or following is check else following.first
        if following is None or first is None or first.key != check.last:
            said = "its last block goes on in a file that does not begin with it, or that the manifest does not list"
            report(FindingKind.MANIFEST, said, file=check.name, key=check.last or "")
        else:
            going_on.add(following.name)
    return [check.first for name, check in checks.items() if check.first is not None and name not in going_on]
