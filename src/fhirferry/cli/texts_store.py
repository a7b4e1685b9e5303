"""How `import` and `store` speak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirferry.cli.tables import table
from fhirferry.cli.words import counted
from fhirferry.model.instant import format_instant
from fhirferry.model.quantity import format_duration, format_size

if TYPE_CHECKING:
    from fhirferry.importing.importer import ImportTotals
    from fhirferry.store.info import StoreInfo
    from fhirferry.store.pruning import Pruned


def import_page(totals: ImportTotals, store: str, seconds: float) -> str:
    """How an import ended."""
    names = ("new", "changed", "equal", "older", "deleted", "absent")
    counts = [(name, [getattr(of_type, field) for field in names]) for name, of_type in sorted(totals.types.items())]
    counts.append(
        ("all", [sum(column) for column in zip(*(row for _, row in counts), strict=True)] or [0] * len(names))
    )
    rows = [[name, *(f"{count:,}" for count in row)] for name, row in counts]
    per_second = f", {totals.resources / seconds:,.0f} resources/s" if seconds else ""
    lines = [
        table(("TYPE", *(name.upper() for name in names)), rows, right=range(1, 7)),
        f"Read {counted(totals.files, 'file')} with {counted(totals.resources, 'resource')} "
        f"({format_size(totals.bytes)}) into {store} in "
        f"{format_duration(seconds)}{per_second}.",
    ]
    if totals.skipped:
        lines.append(f"Left alone, not FHIR by the name: {counted(totals.skipped, 'file')}.")
    if totals.bad:
        lines.append(f"Bad: {totals.bad:,}, told above; they are not in the store.")
    return "\n".join(lines)


def store_page(path: str, info: StoreInfo) -> str:
    """What a store holds."""
    rows = [
        [name, f"{t.resources:,}", f"{t.deletions:,}", f"{t.versions:,}", format_size(t.bytes)]
        for name, t in sorted(info.types.items())
    ]
    every = info.types.values()
    total = [sum(t.resources for t in every), sum(t.deletions for t in every), sum(t.versions for t in every)]
    rows.append(["all", *(f"{count:,}" for count in total), format_size(sum(t.bytes for t in every))])
    lines = [
        f"{path}: {format_size(info.file_bytes)}",
        table(("TYPE", "RESOURCES", "DELETED", "VERSIONS", "SIZE"), rows, right=range(1, 5)),
    ]
    if info.last_transaction_time:
        lines.append(f"Last transaction time: {format_instant(info.last_transaction_time)}")
    if info.watermark:
        lines.append(f"Pruned: no time before {format_instant(info.watermark)} can be shown.")
    lines += [f"Pinned by job {job}: {format_instant(moment)}" for job, (moment, _) in info.pins.items()]
    return "\n".join(lines)


def pruned_text(pruned: Pruned) -> str:
    """What pruning did."""
    return (
        f"Forgot {counted(pruned.versions, 'version')} ({format_size(pruned.bytes)}, for the store to use again). "
        f"No time before {format_instant(pruned.watermark)} can be shown any more."
    )


def indexed_text(versions: int, path: str, seconds: float, *, stopped: bool) -> str:
    """What indexing did."""
    if stopped:
        return f"Stopped after {counted(versions, 'version')}. The same command goes on from there."
    if not versions:
        return f"{path} is indexed already."
    return f"Indexed {counted(versions, 'version')} of {path} in {format_duration(seconds)}."
