"""The record of an acquired job in the hands of its one writer: every change goes through here, under the version tag.

The picture in memory (numbers per type, counters) mirrors the ledger and is rebuilt from it by whoever resumes (S25).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from fhirferry.engine.publishing import final_name
from fhirferry.engine.unit import UnitResult
from fhirferry.faultpoints import reach
from fhirferry.jobs.protocol import JobStore
from fhirferry.model.job import FIRST_ISSUES, ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Kind, Partition, PartitionPlan, Total


class Book:
    """record: as last saved. on_save is told of every saved record."""

    def __init__(
        self, jobs: JobStore, record: ExportJobRecord, version: int, on_save: Callable[[ExportJobRecord], None]
    ) -> None:
        self.record = record
        self._jobs = jobs
        self._version = version
        self._on_save = on_save
        self._sequences: dict[tuple[Kind, str], int] = {}

    def resume(self) -> tuple[list[Partition], list[OutputFile]]:
        """What earlier runs committed: partitions and files."""
        files = list(self._jobs.files(self.record.id))
        for file in files:
            key = (file.kind, file.type)
            self._sequences[key] = max(file.sequence, self._sequences.get(key, 0))
        return list(self._jobs.partitions(self.record.id)), files

    def files(self) -> list[OutputFile]:
        """All that is committed."""
        return list(self._jobs.files(self.record.id))

    def save(
        self,
        record: ExportJobRecord,
        partitions: Iterable[Partition] = (),
        files: Iterable[OutputFile] = (),
        references: Iterable[tuple[int, str]] = (),
    ) -> None:
        """One ledger transaction; JobConflict when somebody else changed the job (S59)."""
        self.record = self._jobs.commit(
            record, self._version, partitions=partitions, files=files, references=references
        )
        self._version = self.record.version
        self._on_save(self.record)

    def put_cohort(self, patients: Iterable[str]) -> None:
        """Record who the job's patients are; JobConflict."""
        self._jobs.put_cohort(self.record, self._version, patients)

    def carry_named(self) -> None:
        """Go on from what the job that this one continues had named; JobConflict."""
        self._jobs.carry_named(self.record, self._version)

    def commit(
        self,
        result: UnitResult,
        partitions: Sequence[Partition],
        *,
        planned: dict[int, Partition],
        all_planned: bool,
        renames: bool,
    ) -> list[OutputFile]:
        """List the files of a unit, move the continuations, count.

        partitions: as they are after it, parallel to `result`. planned: those that the ledger does not have yet.
        all_planned: there will be no further ones; then the commit that leaves none open seals the job in the same
        transaction (L14). Returns the files with final names.
        """
        record = self.record
        files, sequences = self._number([file for each in result for file in each.files], renames)
        rows = {**planned, **{p.number: p for p in partitions}}
        output = [f for f in files if f.kind is Kind.OUTPUT]
        plans = {p.number: p.plan for p in partitions}
        references = [(plans[each.partition].round + 1, name) for each in result for name in each.references]
        known = max(record.partitions, 1 + max(rows))
        done = record.partitions_done + sum(p.done for p in partitions)
        changed = msgspec.structs.replace(
            record,
            progressed=True,
            consecutive_failures=0,
            planned=all_planned,
            sealed=all_planned and done == known,
            partitions=known,
            partitions_done=done,
            resources=record.resources + sum(f.count for f in output),
            bytes=record.bytes + sum(f.raw_bytes for f in output),
            carried=_carried(record.carried, result, plans),
            issue_count=record.issue_count + sum(each.issue_count for each in result),
            issues=(*record.issues, *(issue for each in result for issue in each.issues))[:FIRST_ISSUES],
        )
        percent = _percent(changed.gone_through.bytes, sum(t.bytes for t in record.totals.values()))
        changed = msgspec.structs.replace(changed, progress=max(record.progress, percent))
        reach("commit-before")
        self.save(changed, rows.values(), files, references)
        reach("commit-after")
        self._sequences = sequences
        return files

    def _number(
        self, files: Iterable[OutputFile], renames: bool
    ) -> tuple[list[OutputFile], dict[tuple[Kind, str], int]]:
        sequences = dict(self._sequences)
        numbered = []
        for file in files:
            key = (file.kind, file.type)
            sequence = sequences[key] = sequences.get(key, 0) + 1
            name = final_name(file, sequence, self.record.settings) if renames else file.part
            numbered.append(msgspec.structs.replace(file, sequence=sequence, name=name))
        return numbered, sequences


def _carried(before: dict[str, Total], result: UnitResult, plans: Mapping[int, PartitionPlan]) -> dict[str, Total]:
    """What the source gave so far of the totals, which are round 0's, whether or not it was filtered out on the way."""
    after = dict(before)
    for each in result:
        if each.read.resources and not plans[each.partition].round:
            name = plans[each.partition].resource_type
            so_far = after.get(name, Total(resources=0, bytes=0))
            after[name] = Total(resources=so_far.resources + each.read.resources, bytes=so_far.bytes + each.read.bytes)
    return after


def _percent(done: int, total: int) -> int:
    """At most 99: the hundredth is COMPLETED itself (L13)."""
    return min(99, done * 100 // total) if total else 0
