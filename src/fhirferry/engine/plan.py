"""Planning is part of the flow: partitions are cut when there is room for them, never all at once.

What was planned is written to the ledger with the next commit, not before: a crash in between plans the same slices
again, because their order is fixed by request and T and planning goes on behind the last one that the ledger has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from fhirferry.engine.neighbours import goes_on
from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.partition import Issue, Kind, Partition, PartitionPlan
from fhirferry.sources.protocol import Source

SMALL = 4_000_000
"""Bytes that the partitions of one unit may have together; one page's worth."""


class Planner:
    """Hands out partitions: first the open ones of an earlier run, then new ones, cut one ahead; round by round.

    known: what the ledger has. name(round): tells the source what that round exports, as far as the ledger knows it;
    called before a round is planned, and again for those that an earlier run had begun. planned: how many there are so
    far, over all runs. unsaved: those that the ledger does not have yet, by number.
    """

    def __init__(
        self,
        source: Source,
        record: ExportJobRecord,
        transaction_time: Instant,
        known: Sequence[Partition],
        name: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.planned = len(known)
        self.unsaved: dict[int, Partition] = {}
        self._waiting = deque(p for p in known if not p.done)
        self._ahead: Partition | None = None
        self._trouble: Exception | None = None
        cut = [p for p in known if p.plan.kind is not Kind.ERROR]
        self._last = max(cut, key=lambda p: p.number).plan if cut else None
        self._round = record.request.rounds if record.planned else self._last.round if self._last else 0
        self._name = name
        self._unnamed = range(1, self._round + 1)
        self._complete = record.planned
        self._fresh: Iterator[PartitionPlan] | None = None
        self._source = source
        self._record = record
        self._transaction_time = transaction_time

    def next(self) -> tuple[Partition, ...]:
        """What the next unit works on; empty when there is none left to hand out.

        One partition, or neighbours that together are small and no larger than a file may be, or whose file may stay
        below its least size. What failed before goes alone, and what was begun where files have no least size. Raises the
        source's errors.
        """
        batch: list[Partition] = []
        room = min(SMALL, self._record.settings.max_file_size)
        while True:
            try:
                partition = self._peek()
            except Exception as error:
                if not batch:
                    raise
                self._trouble = error  # whoever asks next gets it; what is in hand goes out first
                break
            if partition is None:
                break
            size = partition.plan.bytes
            alone = not size or partition.attempt > 0 or partition.continuation is not None
            neighbour = goes_on(batch, partition, self._record)
            if batch and not neighbour and (alone or size > room):
                break
            if self._waiting:
                self._waiting.popleft()
            else:
                self._ahead = None
            batch.append(partition)
            if alone and not self._record.settings.min_file_size:
                break
            room = 0 if alone else room - size
        return tuple(batch)

    def _peek(self) -> Partition | None:
        for each in self._unnamed:  # before anything of them is read: the source may have forgotten with a lapsed pin
            self._name(each)
        self._unnamed = range(0)
        if self._waiting:
            return self._waiting[0]
        self._look_ahead()
        return self._ahead

    def put_back(self, partitions: Sequence[Partition]) -> None:
        """Go on with these, in their order, before anything new."""
        self._waiting.extendleft(reversed(partitions))

    @property
    def exhausted(self) -> bool:
        """The source has nothing more to plan. Raises the source's errors; then it may be asked again."""
        self._look_ahead()
        return self._ahead is None and self._round == self._record.request.rounds

    def turn(self) -> bool:
        """Go on to the next round, now that all that is planned is committed; False when this was the last."""
        if self._waiting or not self._complete or self._round >= self._record.request.rounds:
            return False
        self._round += 1
        self._unnamed = range(self._round, self._round + 1)
        self._last = self._fresh = None
        self._complete = False
        return True

    def _look_ahead(self) -> None:
        if self._ahead is not None or self._complete:
            return
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        if self._fresh is None:
            record, t = self._record, self._transaction_time
            size = record.settings.max_file_size
            size -= size // 32  # cut behind the resource that reaches it, it would leave that one a file of its own
            self._fresh = self._source.partitions(record.request, t, size, self._last, record.id, self._round)
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


def notes(job_id: str, issues: Sequence[Issue]) -> tuple[Partition, ...]:
    """Issues of the request as a whole, as a partition of their own, the first: so they get into an error file once,
    whatever happens. None without issues."""
    if not issues:
        return ()
    bounds = {"issues": [msgspec.to_builtins(issue) for issue in issues]}
    plan = PartitionPlan(kind=Kind.ERROR, resource_type="OperationOutcome", bounds=bounds, bytes=1000 * len(issues))
    return (Partition(job_id=job_id, number=0, plan=plan),)


def notes_of(plan: PartitionPlan) -> tuple[Issue, ...]:
    """The issues that a partition of kind ERROR is made of."""
    return msgspec.convert(plan.bounds["issues"], tuple[Issue, ...])
