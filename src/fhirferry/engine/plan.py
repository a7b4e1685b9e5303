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
        self._waiting = deque(p for p in known if not p.done)
        self._ahead: Partition | None = None
        self._last = max(known, key=lambda p: p.number).plan if known else None
        self._complete = record.planned
        self._fresh: Iterator[PartitionPlan] | None = None
        self._source = source
        self._record = record
        self._transaction_time = transaction_time

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
        """The source has nothing more to plan. Raises the source's errors; then it may be asked again."""
        self._look_ahead()
        return self._ahead is None

    def _look_ahead(self) -> None:
        if self._ahead is not None or self._complete:
            return
        if self._fresh is None:
            record = self._record
            self._fresh = self._source.partitions(
                record.request, self._transaction_time, record.settings.max_file_size, self._last
            )
        try:
            plan = next(self._fresh, None)
        except BaseException:
            self._fresh = None  # a generator that raised looks like one at its end: cut anew behind the last one
            raise
        if plan is None:
            self._complete = True
            return
        self._last = plan
        self._ahead = Partition(job_id=self._record.id, number=self.planned, plan=plan)
        self.unsaved[self.planned] = self._ahead
        self.planned += 1
