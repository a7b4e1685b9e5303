"""What shows only when all places of a key are seen together: doubled, contradictory, missing, extra, different."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fhirferry.engine.spill import Entry
from fhirferry.engine.verify_file import FileCheck
from fhirferry.engine.verify_findings import FindingKind, Findings
from fhirferry.engine.verify_shapes import (
    BLOCK,
    DELETED,
    FORMER,
    OUTPUT,
    PLACED,
    SOURCE_DELETED,
    SOURCE_FORMER,
    SOURCE_OUTPUT,
    SOURCE_PLACED,
)
from fhirferry.model.partition import Kind

_Seen = dict[str, Entry]
_Placed = dict[tuple[str, bytes], Entry]
"""By key and whose block."""
_Versions = dict[tuple[str, bytes], list[Entry]]
"""By key and digest."""


def compare(
    buckets: Iterable[Iterable[Entry]],
    files: Sequence[FileCheck],
    report: Findings,
    *,
    with_source: bool,
    organised: bool = False,
    all_versions: bool = True,
    progress: Callable[[int], None],
) -> None:
    """Report what is wrong with the keys. Entries of a key are in one bucket; `files` by the numbers in the entries.
    organised: the source gave blocks. all_versions: it has all superseded versions that the files can have. progress: told
    how many keys were compared, after every bucket."""
    comparison = _Comparison(files, report, organised, all_versions)
    for bucket in buckets:
        comparison.take(bucket, with_source=with_source)
        progress(comparison.seen)
    told = sum(file.lines for file in files if file.kind is Kind.ERROR)
    if with_source and comparison.unread > told:
        report(
            FindingKind.UNCHECKED,
            f"the source cannot read {comparison.unread} resources that the files lack; error files tell of {told}",
        )


class _Comparison:
    def __init__(self, files: Sequence[FileCheck], report: Findings, organised: bool, all_versions: bool) -> None:
        self.unread = 0
        self.seen = 0
        self._files = files
        self._report = report
        self._organised = organised
        self._all_versions = all_versions

    def take(self, bucket: Iterable[Entry], *, with_source: bool) -> None:
        sides: tuple[_Seen, ...] = ({}, {}, {}, {}, {})
        blocks: dict[int, _Placed] = {PLACED: {}, SOURCE_PLACED: {}, BLOCK: {}}
        versions: dict[int, _Versions] = {FORMER: {}, SOURCE_FORMER: {}}
        firsts = [seen.setdefault for seen in sides]
        for entry in bucket:
            if entry.side in versions:
                versions[entry.side].setdefault((entry.key, entry.digest), []).append(entry)
                continue
            if entry.side < PLACED:
                first = firsts[entry.side](entry.key, entry)
            else:
                first = blocks[entry.side].setdefault((entry.key, entry.digest), entry)
            if first is not entry:
                self._doubled(first, entry)
        self.seen += sum(map(len, sides)) + sum(map(len, versions.values()))
        output, deleted, source, source_deleted, unreadable = sides
        for key in sorted(output.keys() & deleted.keys()):
            self._at(FindingKind.DELETED_AND_PRESENT, output[key], f"also deleted in {self._place(deleted[key])}")
        self._versions(versions[FORMER], versions[SOURCE_FORMER] if with_source else None)
        if with_source:
            self._against(output, source, unreadable)
            self._against_deleted(deleted, source_deleted)
            self._against_blocks(blocks[PLACED], blocks[SOURCE_PLACED], output, source)
            self.unread += len(unreadable.keys() - output.keys())

    def _doubled(self, first: Entry, again: Entry) -> None:
        if again.side == OUTPUT and self._files[again.file].organised:
            if first.digest != again.digest:  # else it lies in the blocks of several patients
                self._at(FindingKind.DIFFERENT, again, f"its bytes differ from those in {self._place(first)}")
        elif again.side == BLOCK:
            self._at(
                FindingKind.DOUBLED, again, f"its block began in {self._place(first)}, and no manifest says it goes on"
            )
        elif again.side in (OUTPUT, DELETED, PLACED):
            self._at(FindingKind.DOUBLED, again, f"already in {self._place(first)}")
        elif again.side == SOURCE_DELETED or again.side == (SOURCE_PLACED if self._organised else SOURCE_OUTPUT):
            self._report(FindingKind.DOUBLED, "the source itself shows it more than once", key=again.key)

    def _against(self, output: _Seen, source: _Seen, unreadable: _Seen) -> None:
        for key in sorted(source.keys() - output.keys()):
            self._report(FindingKind.MISSING, "the source has it at the transaction time", key=key)
        for key in sorted(output.keys() - source.keys()):
            if key in unreadable:
                self._at(FindingKind.UNCHECKED, output[key], "the source cannot read it any more")
            else:
                self._at(FindingKind.EXTRA, output[key], "the source does not have it at the transaction time")
        for key, entry in output.items():
            if key in source and source[key].digest != entry.digest:
                self._at(FindingKind.DIFFERENT, entry, "its bytes differ from the source's at the transaction time")

    def _against_deleted(self, deleted: _Seen, source: _Seen) -> None:
        for key in sorted(source.keys() - deleted.keys()):
            self._report(FindingKind.MISSING, "the source has its deletion", key=key)
        for key in sorted(deleted.keys() - source.keys()):
            self._at(FindingKind.EXTRA, deleted[key], "the source does not have its deletion")

    def _against_blocks(self, placed: _Placed, wanted: _Placed, output: _Seen, source: _Seen) -> None:
        """Of what is there at all."""
        for key, whose in sorted(wanted.keys() - placed.keys()):
            if key in output:
                self._report(FindingKind.MISSING, f"the source has it in the block of {whose.decode()} too", key=key)
        for key, whose in sorted(placed.keys() - wanted.keys()):
            if key in source:
                said = f"the source does not have it in the block of {whose.decode()}"
                self._at(FindingKind.EXTRA, placed[key, whose], said)

    def _versions(self, former: _Versions, source: _Versions | None) -> None:
        """Of superseded versions the same bytes may have been there twice: what was overwritten with force came back."""
        for what in sorted(former.keys() | (source or {}).keys()):
            ours, theirs = former.get(what, []), (source or {}).get(what, [])
            for again in ours[max(1, len(theirs)) :]:
                self._at(FindingKind.DOUBLED, again, f"already in {self._place(ours[0])}")
            if source is not None and len(ours) < len(theirs):
                self._report(FindingKind.MISSING, "the source has this superseded version", key=what[0])
            if source is not None and not theirs and self._all_versions:
                self._at(FindingKind.EXTRA, ours[0], "the source does not have this superseded version")

    def _at(self, kind: FindingKind, entry: Entry, message: str) -> None:
        self._report(kind, message, file=self._files[entry.file].name, line=entry.line, key=entry.key)

    def _place(self, entry: Entry) -> str:
        return f"{self._files[entry.file].name}, line {entry.line}"
