"""Planning is part of the flow: partitions are cut when there is room for them, never all at once.

What was planned is written to the ledger with the next commit, not before: a crash in between plans the same slices
again, because their order is fixed by request and T and planning goes on behind the last one that the ledger has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.partition import Partition, PartitionPlan
from fhirferry.sources.protocol import Source


class Planner:
    """Hands out partitions: first the open ones of an earlier run, then new ones, cut one ahead.

    planned: how many there are so far, over all runs. unsaved: those that the ledger does not have yet, by number.
    """

    def __init__(
        self, source: Source, record: ExportJobRecord, transaction_time: Instant, known: Sequence[Partition]
    ) -> None:
        self.planned = len(known)
        self.unsaved: dict[int, Partition] = {}
        self._job_id = record.id
        self._waiting = deque(p for p in known if not p.done)
        self._ahead: Partition | None = None
        self._fresh: Iterator[PartitionPlan] = iter(())
        if not record.planned:
            after = max(known, key=lambda p: p.number).plan if known else None
            self._fresh = source.partitions(record.request, transaction_time, record.settings.max_file_size, after)

    def next(self) -> Partition | None:
        """The next partition to work on; None when there is none left to hand out."""
        if self._waiting:
            return self._waiting.popleft()
        self._look_ahead()
        partition, self._ahead = self._ahead, None
        return partition

    def put_back(self, partition: Partition) -> None:
        """Go on with this one before anything new."""
        self._waiting.appendleft(partition)

    @property
    def exhausted(self) -> bool:
        """The source has nothing more to plan."""
        self._look_ahead()
        return self._ahead is None

    @property
    def idle(self) -> bool:
        """Nothing is left to hand out."""
        return not self._waiting and self.exhausted

    def _look_ahead(self) -> None:
        if self._ahead is None and (plan := next(self._fresh, None)) is not None:
            self._ahead = Partition(job_id=self._job_id, number=self.planned, plan=plan)
            self.unsaved[self.planned] = self._ahead
            self.planned += 1
