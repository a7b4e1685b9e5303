"""Which partitions may lie in one file, and when a unit of work should have several for the sake of their file (B54)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from fhirferry.model.job import ExportJobRecord
from fhirferry.model.partition import Kind, Partition, PartitionPlan

MOST = 16
"""Partitions that a unit is given for the sake of one file. More would keep other units from them, and what is not
committed small."""


def lines_of(plan: PartitionPlan) -> tuple[Kind, str]:
    """Kind and type of the file that a partition's lines go into; where they are equal, neighbours may share it (B75)."""
    return plan.kind, "Bundle" if plan.kind is Kind.DELETED else plan.resource_type


def goes_on(batch: Sequence[Partition], partition: Partition, record: ExportJobRecord) -> bool:
    """Whether a unit that has this batch should have the partition too, because the file that it would go into may be
    smaller than the least size otherwise. (A unit stops where its file is large enough; what it has not begun by then is
    put back.) Of what is filtered or was begun nobody knows how much will come."""
    if not batch or len(batch) >= MOST or any(each.attempt for each in (batch[-1], partition)):
        return False
    lines = lines_of(partition.plan)
    same = list(takewhile(lambda each: lines_of(each.plan) == lines, reversed(batch)))
    filtered = record.request.selective and partition.plan.kind in (Kind.OUTPUT, Kind.HISTORY)
    known = [each.plan.bytes for each in same if each.continuation is None and not filtered]
    return bool(same) and sum(known) < record.settings.min_file_size
