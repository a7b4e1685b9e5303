"""`verify`, the data validator (S32): reads a whole export again and says whether it is what its manifest says.

Three passes. Files: each listed one is read once, checked line by line, its keys put aside (spilled, never all in
memory). Source, when there is one: everything it shows of the same request at the same T, keys and digests put aside
too. Then the keys come back bucket by bucket, and what is doubled, contradictory, missing, extra or different shows.
It trusts nothing that it can see for itself, and writes nothing at the destination.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from fhirferry.bulkdata.manifest import MANIFEST, SUMS, Manifest, ManifestItem, read_manifest
from fhirferry.destinations.names import HIDDEN
from fhirferry.destinations.protocol import Destination, StoredFile
from fhirferry.engine.cohort import Recorded
from fhirferry.engine.spill import Spill
from fhirferry.engine.verify_compare import compare
from fhirferry.engine.verify_file import FileCheck
from fhirferry.engine.verify_findings import Finding, FindingKind, Findings, Progress, Step, VerifyReport
from fhirferry.engine.verify_source import read_source
from fhirferry.model.errors import RequestError
from fhirferry.model.partition import BLOCKS, Kind
from fhirferry.sources.protocol import Source

_DATA = (".ndjson", ".ndjson.gz", ".ndjson.zst")


def verify(
    destination: Destination,
    *,
    against: Source | None = None,
    recorded: Recorded | None = None,
    manifest_name: str = MANIFEST,
    on_finding: Callable[[Finding], None] | None = None,
    on_progress: Progress | None = None,
    max_findings: int = 20,
    memory: int = 100_000,
    temporary: Path | None = None,
) -> VerifyReport:
    """Verify the export that `manifest_name` describes; file names are relative to where it lies.

    against: a source that still holds the versions of the manifest's T; it is pinned for as long as this takes.
    recorded: what the ledger of the export tells of a cohort or a chain, where the request has one.
    on_finding is told the first `max_findings` of each kind at once. memory: keys held at a time, temporary: where the
    others wait (see Spill). RequestError when there is no manifest: the export is not complete, or this is none.
    Trouble in reading (DestinationUnavailable, StoreBusy, StoreDamaged, …) is raised, not counted as a finding.
    """
    with Spill(memory=memory, folder=temporary) as spill:
        run = _Verification(destination, spill, Findings(max_findings, on_finding), on_progress or (lambda *_: None))
        return run.run(manifest_name, against, recorded or Recorded())


def _check_of(item: ManifestItem) -> type[FileCheck]:
    if item.type != BLOCKS:
        return FileCheck
    from fhirferry.engine.verify_blocks import BlocksCheck

    return BlocksCheck


class _Verification:
    def __init__(self, destination: Destination, spill: Spill, report: Findings, progress: Progress) -> None:
        self._destination = destination
        self._spill = spill
        self._report = report
        self._progress = progress
        self._checks: list[FileCheck] = []

    def run(self, manifest_name: str, against: Source | None, recorded: Recorded) -> VerifyReport:
        folder = manifest_name[: manifest_name.rfind("/") + 1]
        if self._destination.stat(manifest_name) is None:
            raise RequestError(f"there is no {manifest_name}: the export is not complete, or this is no export")
        data = b"".join(self._destination.read(manifest_name))
        sums = self._sums(folder)
        self._manifest_sum(manifest_name, data, sums.get(manifest_name))
        try:
            manifest = read_manifest(data)
        except RequestError as error:
            self._report(FindingKind.MANIFEST, error.message, file=manifest_name)
            return self._result(None, None)
        listed = self._files(manifest, folder, sums, with_digests=against is not None)
        self._unlisted(folder, listed, sums, manifest_name)
        shown = None
        if against is not None:
            shown = read_source(against, manifest, recorded, self._spill.add, self._report, self._progress)
        compared = None if shown is None else shown.keys
        keys = sum(check.keys for check in self._checks) + (compared or 0)
        compare(
            self._spill.buckets(),
            self._checks,
            self._report,
            with_source=compared is not None,
            organised=manifest.organised_by is not None,
            all_versions=shown is None or shown.all_versions,
            progress=lambda done: self._progress(Step(stage="keys", done=done, total=keys)),
        )
        return self._result(manifest, compared)

    def _result(self, manifest: Manifest | None, compared: int | None) -> VerifyReport:
        by_kind = {kind: [check for check in self._checks if check.kind is kind] for kind in Kind}
        return VerifyReport(
            job=manifest.job if manifest else None,
            request=manifest.request if manifest else "",
            transaction_time=manifest.transaction_time if manifest else None,
            files=len(self._checks),
            resources=sum(check.keys for check in by_kind[Kind.OUTPUT]),
            versions=sum(check.keys for check in by_kind[Kind.HISTORY]),
            deletions=sum(check.keys for check in by_kind[Kind.DELETED]),
            issues=sum(check.lines for check in by_kind[Kind.ERROR]),
            bytes=sum(check.stored_bytes for check in self._checks),
            raw_bytes=sum(check.raw_bytes for check in self._checks),
            compared=compared,
            counts=self._report.counts,
            findings=tuple(self._report.first),
        )

    def _sums(self, folder: str) -> dict[str, str]:
        """SHA256SUMS by full name; empty when there is none (other servers write none)."""
        name = folder + SUMS
        if self._destination.stat(name) is None:
            return {}
        sums: dict[str, str] = {}
        text = b"".join(self._destination.read(name)).decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            digest, _, listed = line.partition(" ")
            if len(digest) != 64 or listed[:1] not in (" ", "*"):
                self._report(FindingKind.CHECKSUM, "the line is not `checksum  name`", file=name, line=number)
            else:
                sums[folder + listed[1:]] = digest.lower()
        return sums

    def _manifest_sum(self, name: str, data: bytes, wanted: str | None) -> None:
        import hashlib

        if wanted is not None and hashlib.sha256(data).hexdigest() != wanted:
            self._report(FindingKind.CHECKSUM, f"the file's checksum is not the one in {SUMS}", file=name)

    def _files(self, manifest: Manifest, folder: str, sums: dict[str, str], *, with_digests: bool) -> set[str]:
        found: dict[str, tuple[ManifestItem, StoredFile]] = {}
        listed: set[str] = set()
        for item in manifest.items:
            name = folder + item.name
            if name in listed:
                self._report(FindingKind.MANIFEST, "the manifest lists the file twice", file=name)
                continue
            listed.add(name)
            stored = self._stat(name)
            if stored is not None:
                found[name] = (item, stored)
        steps: dict[tuple[Kind, str], Step] = {}
        for item, stored in found.values():
            before = steps.get((item.kind, item.type))
            total = stored.bytes + (before.total if before else 0)
            steps[item.kind, item.type] = Step(stage="files", kind=item.kind, type=item.type, total=total)
        for step in steps.values():
            self._progress(step)
        for name, (item, _) in found.items():
            check = _check_of(item)(
                name=name,
                number=len(self._checks),
                kind=item.kind,
                resource_type=item.type,
                transaction_time=manifest.transaction_time,
                digests=with_digests,
                add=self._spill.add,
                report=self._report,
            )
            self._checks.append(check)
            check.run(self._destination.read(name), partial(self._advance, steps, check, steps[item.kind, item.type]))
            self._facts(check, item, sums)
        if manifest.organised_by is not None:
            from fhirferry.engine.verify_blocks import join

            items = [item for item, _ in found.values()]
            self._spill.add(join(list(zip(self._checks, items, strict=True)), folder, self._report))
        return listed

    def _stat(self, name: str) -> StoredFile | None:
        try:
            stored = self._destination.stat(name)
        except RequestError as error:  # a name that no destination has
            self._report(FindingKind.MISSING_FILE, error.message, file=name)
            return None
        if stored is None:
            self._report(FindingKind.MISSING_FILE, "the manifest lists the file, it is not there", file=name)
        return stored

    def _advance(self, steps: dict[tuple[Kind, str], Step], check: FileCheck, before: Step) -> None:
        step = msgspec.structs.replace(
            before, done=before.done + check.stored_bytes, resources=before.resources + check.keys
        )
        steps[step.kind, step.type] = step
        self._progress(step)

    def _facts(self, check: FileCheck, item: ManifestItem, sums: dict[str, str]) -> None:
        for kind, what, said, seen in (
            (FindingKind.SIZE, "stored bytes", item.bytes, check.stored_bytes),
            (FindingKind.SIZE, "bytes of NDJSON", item.raw_bytes, check.raw_bytes),
            (FindingKind.COUNT, "lines", item.count, check.counted),
        ):
            if said is not None and said != seen:
                self._report(kind, f"the manifest says {said} {what}, the file has {seen}", file=check.name)
        if item.sha256 is not None and item.sha256.lower() != check.sha256:
            self._report(FindingKind.CHECKSUM, "the file's checksum is not the one in the manifest", file=check.name)
        if sums and sums.get(check.name) != check.sha256:
            wrong = f"the file's checksum is not the one in {SUMS}" if check.name in sums else f"{SUMS} lacks the file"
            self._report(FindingKind.CHECKSUM, wrong, file=check.name)

    def _unlisted(self, folder: str, listed: set[str], sums: dict[str, str], manifest_name: str) -> None:
        for name in sorted(sums.keys() - listed - {manifest_name}):
            self._report(FindingKind.MANIFEST, f"{SUMS} names the file, the manifest does not", file=name)
        for stored in self._destination.list(folder):
            if stored.name.endswith(_DATA) and stored.name not in listed:
                self._report(FindingKind.UNLISTED_FILE, "the manifest does not list the file", file=stored.name)
        for stored in self._destination.list(HIDDEN + "/"):
            if stored.name.endswith(".part"):
                self._report(FindingKind.LEFTOVER, "no commit took up this part; clean-up removes it", file=stored.name)
