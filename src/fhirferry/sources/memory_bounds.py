"""What a partition of the source in memory is told, as plain JSON values: it comes back out of a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirferry.model.instant import Instant
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory_versions import Version


def position(version: Version, bounds: Mapping[str, Any]) -> list[int]:
    """Where a version lies in the order of a partition's type."""
    whole = bounds["since"] is None and bounds["until"] is None
    return [0 if whole else version.head.changed, version.key]


def weight(version: Version, kind: Kind) -> int:
    """Bytes of its line; of what is told as deleted about what its entry takes in a Bundle."""
    return 128 if kind is Kind.DELETED else version.head.size


def told_since(request: ExportRequest) -> Instant | None:
    """Deletions after this are told; None: no deletions."""
    return 0 if request.since is None and "_deleted" in request.include_associated_data else request.since


def plan(fixed: dict[str, Any], start: list[int], end: list[int], size: int) -> PartitionPlan:
    """What lies between two positions."""
    bounds = {**fixed, "after": start, "to": end}
    return PartitionPlan(
        kind=fixed["kind"], resource_type=fixed["type"], bounds=bounds, bytes=size, round=fixed["round"]
    )


def fixed(kind: Kind, name: str, t: Instant, request: ExportRequest, job_id: str, round_: int = 0) -> dict[str, Any]:
    """What all partitions of a type have in their bounds. group: the one that goes out itself. left: whether those who
    left are told of."""
    return {
        "kind": kind,
        "type": name,
        "t": t,
        "since": request.since,
        "told": told_since(request),
        "until": request.until,
        "level": request.level,
        "types": None if request.types is None else list(request.types),
        "cohort": request.has_cohort,
        "left": request.left_members == "delete",
        "group": None if request.has_list else request.group_id,
        "job": job_id,
        "round": round_,
    }
