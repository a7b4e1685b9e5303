"""What a source shows of an export's request at its transaction time, put aside key by key for comparison."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from fhirferry.bulkdata.kickoff import parse_export_url
from fhirferry.bulkdata.manifest import Manifest
from fhirferry.engine.cohort import Recorded, meant, select
from fhirferry.engine.naming import Naming
from fhirferry.engine.spill import Entry
from fhirferry.engine.verify_findings import FindingKind, Findings, Progress, Step
from fhirferry.engine.verify_shapes import (
    SOURCE_DELETED,
    SOURCE_FORMER,
    SOURCE_OUTPUT,
    SOURCE_PLACED,
    UNREADABLE,
    decode_bundle,
    decode_head,
    decode_version,
    deleted_keys,
    digest_of,
    key_of,
    version_key,
)
from fhirferry.model.errors import GroupNotFound, PatientNotFound, RequestError, SnapshotGone
from fhirferry.model.instant import Instant, format_instant
from fhirferry.model.partition import Kind, Page, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source
from fhirferry.transforms.asking import canonical, refuse_problems
from fhirferry.transforms.page import transform_for

_PARTITION_BYTES = 64_000_000
_PAGE_RESOURCES, _PAGE_BYTES = 1000, 4_000_000
_NAMED = re.compile(r"\b[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the source gave. keys: resources, versions and deletions. all_versions: as many as the export could have."""

    keys: int
    all_versions: bool


def read_source(
    source: Source,
    manifest: Manifest,
    recorded: Recorded,
    add: Callable[[Sequence[Entry]], None],
    report: Findings,
    progress: Progress,
) -> Shown | None:
    """Give `add` an entry per resource, version and deletion. None when the source cannot show T any more or the request
    is not one that can be repeated here (both reported as unchecked). T is pinned meanwhile, and the pin released however
    this ends."""
    until = manifest.transaction_time
    try:
        request = _request(manifest)
        _must_be_known(request, manifest, recorded)
    except RequestError as error:
        reason = error.message.replace("\n", "; ")
        report(FindingKind.UNCHECKED, f"the manifest's request cannot be repeated: {reason}")
        return None
    pin = "verify-" + os.urandom(8).hex()
    try:
        try:
            source.renew(pin, until)
        except SnapshotGone:  # or a copy of the store, which never handed T out: after this nothing can come before it
            source.snapshot(pin)
            source.renew(pin, until)
        all_versions = _keep_history(source, request, manifest, pin, report)
        _select(source, request, until, pin, recorded)
        totals = source.totals(request, until, pin)
        steps = {name: Step(stage="source", type=name, total=total.resources) for name, total in totals.items()}
        for step in steps.values():
            progress(step)
        read = 0
        for plan in _plans(source, request, until, pin):
            transform = transform_for(request, plan)
            naming = Naming(request, plan, until, source)
            for page in _pages(source, plan):
                shown = page if transform is None else transform(page)
                taken = _take(plan, shown, add, report)
                read += taken
                if not naming.idle:
                    naming.take(shown.body)
                    if naming.full:
                        _name(source, request, until, pin, plan.round + 1, naming.names, recorded)
                before = steps.get(plan.resource_type)
                if before is not None and plan.kind is Kind.OUTPUT and not plan.round:
                    done, count = before.done + page.count, before.resources + taken
                    steps[before.type] = step = msgspec.structs.replace(before, done=done, resources=count)
                    progress(step)
            _name(source, request, until, pin, plan.round + 1, naming.names, recorded)
    except SnapshotGone as error:
        report(FindingKind.UNCHECKED, f"the source cannot show the transaction time any more: {error.message}")
        return None
    except (GroupNotFound, PatientNotFound) as error:
        report(FindingKind.UNCHECKED, f"the source does not know whom the export is about: {error.message}")
        return None
    finally:
        source.release(pin)
    return Shown(keys=read, all_versions=all_versions)


def _request(manifest: Manifest) -> ExportRequest:
    """Read as leniently as it may have been: what a lenient request passes over changes no resource."""
    request = parse_export_url(manifest.request, handling="lenient", release=manifest.release)
    refuse_problems(request, request.types or ())
    return canonical(request)


def _must_be_known(request: ExportRequest, manifest: Manifest, recorded: Recorded) -> None:
    """RequestError where the manifest alone does not tell what the export should hold."""
    compares = request.new_members == "full" or request.left_members == "delete"
    for needs, there, what in (
        (request.patient_list is not None, recorded.listed, "the patients that it names"),
        (compares, recorded.before, "who was in the cohort of the export that it continues"),
        (manifest.continues is not None and request.rounds > 0, recorded.carried, "what earlier exports brought along"),
    ):
        if needs and there is None:
            raise RequestError(f"{what} is in the ledger of the export, not in its files; verify it with that ledger")


def _keep_history(source: Source, request: ExportRequest, manifest: Manifest, pin: str, report: Findings) -> bool:
    """Whether the source has all superseded versions that the export could have."""
    wanted = request.history_after
    if wanted is None:
        return True
    begun = wanted if manifest.history_after is None else manifest.history_after
    kept = source.keep_history(pin, begun)
    if kept > begun:
        said = f"the source was pruned since: it has no versions any more that were superseded up to {format_instant(kept)}"
        report(FindingKind.UNCHECKED, said)
    return kept == begun


def _select(source: Source, request: ExportRequest, until: Instant, pin: str, recorded: Recorded) -> None:
    if request.has_cohort:
        patients, _ = meant(source, request, until, recorded.listed or _nobody)
        select(source, request, until, pin, lambda: patients, recorded.before)
    if recorded.carried is not None and request.rounds:
        source.name(request, until, pin, 1, ((name, False) for name in recorded.carried()))


def _name(
    source: Source,
    request: ExportRequest,
    until: Instant,
    pin: str,
    following: int,
    names: set[str],
    recorded: Recorded,
) -> None:
    """Empties `names`. What was carried over stays what it is, whoever names it again (`JobStore.carry_named`)."""
    if names:
        carried = recorded.carried() if recorded.carried is not None else iter(())
        names.difference_update([name for name in carried if name in names])
        source.name(request, until, pin, following, ((name, True) for name in sorted(names)))
        names.clear()


def _nobody() -> Iterator[str]:
    return iter(())


def _plans(source: Source, request: ExportRequest, until: Instant, pin: str) -> Iterator[PartitionPlan]:
    for each in range(request.rounds + 1):
        if each:
            source.name(request, until, pin, each, ())  # a round that nothing is named for is one, too
        yield from source.partitions(request, until, _PARTITION_BYTES, None, pin, each)


def _pages(source: Source, plan: PartitionPlan) -> Iterator[Page]:
    continuation: str | None = None
    while True:
        page = source.read(plan.bounds, continuation, _PAGE_RESOURCES, _PAGE_BYTES)
        yield page
        continuation = page.continuation
        if continuation is None:
            return


def _take(plan: PartitionPlan, page: Page, add: Callable[[Sequence[Entry]], None], report: Findings) -> int:
    body, view = page.body, memoryview(page.body)
    entries: list[Entry] = []
    places: list[Entry] = []
    whose = (key_of("Patient", block.patient).encode() for block in page.blocks for _ in range(block.lines))
    start = 0
    while start < len(body):
        end = body.index(b"\n", start)
        line = view[start:end]
        start = end + 1
        owner = next(whose, None)
        try:
            entries += _TAKEN[plan.kind](line)
            if owner is not None:
                places.append(Entry(entries[-1].key, SOURCE_PLACED, -1, 0, owner))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RequestError):
            report(FindingKind.UNCHECKED, f"the source has a {plan.resource_type} that cannot be read as JSON")
    taken = len(entries)
    for issue in page.issues:
        named = _NAMED.search(issue.diagnostics)
        if named is None:
            report(FindingKind.UNCHECKED, "the source could not read a resource and does not say which")
        else:
            entries.append(Entry(named[0].rstrip("."), UNREADABLE, -1, 0))
    add(entries + places)
    return taken


def _resource(line: memoryview) -> tuple[Entry, ...]:
    head = decode_head(line)
    return (Entry(key_of(head.resourceType, head.id), SOURCE_OUTPUT, -1, 0, digest_of(line)),)


def _deletions(line: memoryview) -> tuple[Entry, ...]:
    return tuple(Entry(key, SOURCE_DELETED, -1, 0) for key in deleted_keys(decode_bundle(line)))


def _version(line: memoryview) -> tuple[Entry, ...]:
    return (Entry(version_key(decode_version(line)), SOURCE_FORMER, -1, 0, digest_of(line)),)


_TAKEN = {Kind.OUTPUT: _resource, Kind.HISTORY: _version, Kind.DELETED: _deletions}
