"""JSON lines of `import` and `store`; see lines.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from fhirferry.cli.lines import Line, instant
from fhirferry.model.instant import format_instant

if TYPE_CHECKING:
    from fhirferry.importing.importer import ImportTotals
    from fhirferry.store.info import StoreInfo
    from fhirferry.store.pruning import Pruned


class BadLine(Line, frozen=True, kw_only=True, tag="bad-line"):
    """Something that `import` did not take. line counts from 1, 0 = the file as a whole."""

    file: str
    line: int
    reason: str


class ImportLine(Line, frozen=True, kw_only=True, tag="import"):
    """How `import` ended. by_type: new, changed, equal, older, deleted and absent of each resource type; the six beside
    it are their sums. stopped: by a signal, before the end."""

    store: str
    files: int
    skipped: int
    resources: int
    bytes: int
    new: int
    changed: int
    equal: int
    older: int
    deleted: int
    absent: int
    bad: int
    by_type: Mapping[str, Mapping[str, int]]
    seconds: float
    stopped: bool

    @classmethod
    def of(cls, totals: ImportTotals, *, store: str, seconds: float, stopped: bool) -> ImportLine:
        by_type = {name: msgspec.structs.asdict(of_type) for name, of_type in sorted(totals.types.items())}
        return cls(
            store=store,
            files=totals.files,
            skipped=totals.skipped,
            resources=totals.resources,
            bytes=totals.bytes,
            bad=totals.bad,
            by_type=by_type,
            seconds=round(seconds, 3),
            stopped=stopped,
            **{
                name: sum(of_type[name] for of_type in by_type.values())
                for name in ("new", "changed", "equal", "older", "deleted", "absent")
            },
        )


class StoreLine(Line, frozen=True, kw_only=True, tag="store"):
    """What a store holds. watermark: no transaction time before it can be shown; null when nothing was pruned.
    pins: transaction time by job. by_type: resources and bytes (current), deletions (current), versions."""

    store: str
    file_bytes: int
    watermark: str | None
    last_transaction_time: str | None
    pins: Mapping[str, str]
    by_type: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, path: str, info: StoreInfo) -> StoreLine:
        return cls(
            store=path,
            file_bytes=info.file_bytes,
            watermark=instant(info.watermark or None),
            last_transaction_time=instant(info.last_transaction_time or None),
            pins={job: format_instant(moment) for job, (moment, _) in info.pins.items()},
            by_type={name: msgspec.structs.asdict(found) for name, found in sorted(info.types.items())},
        )


class PrunedLine(Line, frozen=True, kw_only=True, tag="pruned"):
    """What `store prune` did. bytes: of bodies; the file keeps its size and uses them again."""

    watermark: str
    versions: int
    bytes: int
    lapsed_pins: int

    @classmethod
    def of(cls, pruned: Pruned) -> PrunedLine:
        return cls(
            watermark=format_instant(pruned.watermark),
            versions=pruned.versions,
            bytes=pruned.bytes,
            lapsed_pins=pruned.lapsed_pins,
        )


class DeletedLine(Line, frozen=True, kw_only=True, tag="deleted"):
    """What `store delete` did with one resource. outcome: deleted, or absent."""

    reference: str
    outcome: str


class IndexedLine(Line, frozen=True, kw_only=True, tag="indexed"):
    """What `store index` did. versions: looked at by this command. stopped: by a signal, before the end."""

    store: str
    versions: int
    seconds: float
    stopped: bool
