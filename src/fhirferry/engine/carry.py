"""The loop between planning and sealing: hand out partitions, take results in, commit each as it arrives (S28)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

import msgspec

from fhirferry.destinations.protocol import Destination
from fhirferry.engine.book import Book
from fhirferry.engine.executors import PoolBroken, UnitPool
from fhirferry.engine.plan import Planner
from fhirferry.engine.publishing import publish
from fhirferry.engine.unit import OnPage, UnitOrder, UnitResult
from fhirferry.model.errors import (
    FerryError,
    JobConflict,
    JobNotFound,
    PermanentError,
    RequestError,
    TransientError,
)
from fhirferry.model.partition import Partition
from fhirferry.model.steps import backoff

LOOK = 0.2
"""Seconds between looks at the stop flags while units run elsewhere."""

PARTING = 10.0
"""Seconds that units of a job that is lost get to come in, so that their files can be removed; else clean-up sweeps them."""


class Carrier:
    """Carries what the planner hands out.

    make_order: from partitions to what their unit needs. stopping: the task shall leave; units end at their next page.
    lost: the job is not ours any more; nothing may be committed. pause(seconds): sleeps, or wakes when told to stop.
    """

    def __init__(
        self,
        book: Book,
        pool: UnitPool[Any],
        planner: Planner,
        destination: Destination,
        *,
        make_order: Callable[[tuple[Partition, ...]], UnitOrder],
        stopping: Callable[[], bool],
        lost: Callable[[], bool],
        pause: Callable[[float], None],
        log: Callable[[str], None],
        on_page: OnPage | None = None,
    ) -> None:
        self._book = book
        self._pool = pool
        self._planner = planner
        self._destination = destination
        self._make_order = make_order
        self._stopping = stopping
        self._lost = lost
        self._pause = pause
        self._log = log
        self._on_page = on_page
        self._at_work: dict[Hashable, tuple[Partition, ...]] = {}
        self._trouble: Exception | None = None
        self._busy = 0

    def carry(self) -> None:
        """Until nothing is left, somebody wants the task to stop, or trouble that the units' own retries cannot mend.

        Results that are in are committed before trouble is raised. When the job is sealed, all is committed. Raises
        JobConflict when the job is somebody else's; then the files of our own uncommitted runs are removed.
        """
        try:
            self._loop()
            if self._trouble is not None:
                raise self._trouble
            if not self._stopping() and not self._book.record.sealed:
                # No commit was the last: the request matches nothing, or planning failed when the last unit came in.
                self._book.save(msgspec.structs.replace(self._book.record, planned=True, sealed=True))
        except (JobConflict, JobNotFound):
            self._abandon()
            raise

    def _loop(self) -> None:
        while True:
            while self._trouble is None and not self._stopping() and len(self._at_work) < self._pool.room:
                try:
                    partitions = self._planner.next()
                except Exception as error:  # what is at work still comes in
                    self._trouble = error
                    break
                if not partitions:
                    break
                self._submit(partitions)
            if not self._at_work:
                if self._trouble is None and not self._stopping() and self._planner.turn():
                    continue
                return
            if self._stopping() or self._trouble is not None:
                self._pool.stop_units()
            for ticket in self._pool.wait(self._at_work, LOOK):
                self._take(ticket)

    def _submit(self, partitions: tuple[Partition, ...]) -> None:
        order = self._make_order(partitions)
        try:
            ticket = self._pool.submit(order)
        except PoolBroken:  # it broke since the last look; those at work will say so themselves
            self._pool.renew()
            ticket = self._pool.submit(order)
        self._at_work[ticket] = partitions

    def _take(self, ticket: Hashable) -> None:
        if self._lost():
            raise JobConflict("the job is not held by this worker any more")
        partitions = self._at_work[ticket]
        if self._on_page is not None:
            for partition in partitions:
                self._on_page(partition, 0, 0)  # before the commit counts it: at no moment is it told twice
        try:
            result = self._pool.result(ticket)
        except PoolBroken:
            self._retry(partitions, TransientError("A process that ran units of work died."))
        except Exception as error:
            self._retry(partitions, error)
        else:
            try:
                self._commit(partitions, result)
            except TransientError as error:  # the ledger is busy, the result is good: take it again
                self._busy += 1
                if self._busy < self._book.record.settings.unit_attempts:
                    self._log(f"a commit is tried again: {error.message}")
                    self._pause(backoff(self._busy, 0.5) / 4)
                    return
                self._trouble = self._trouble or error
        del self._at_work[ticket]  # only now: a conflict must find the result, to remove its files

    def _commit(self, partitions: tuple[Partition, ...], result: UnitResult) -> None:
        begun = [
            msgspec.structs.replace(p, continuation=r.continuation, done=r.continuation is None, attempt=0)
            for p, r in zip(partitions, result, strict=False)
        ]
        planner = self._planner
        try:
            all_planned = planner.exhausted
        except Exception as error:  # a source that cannot say has more, for all we know; the result comes in
            self._trouble, all_planned = self._trouble or error, False
        files = self._book.commit(
            result, begun, planned=planner.unsaved, all_planned=all_planned, renames=self._destination.renames
        )
        self._busy = 0
        planner.unsaved.clear()
        planner.put_back([*(p for p in begun if not p.done), *partitions[len(begun) :]])
        try:
            publish(self._destination, files)
        except Exception as error:  # they are listed and durable; whoever goes on publishes them
            self._trouble = self._trouble or error

    def _retry(self, partitions: tuple[Partition, ...], error: Exception) -> None:
        """Put back what failed until its attempts are used up, or at once give up on what cannot pass."""
        tried = [msgspec.structs.replace(p, attempt=p.attempt + 1) for p in partitions]
        self._planner.put_back(tried)  # also when we give up: while a partition waits, no commit seals the job
        attempt = tried[0].attempt
        final = isinstance(error, (PermanentError, RequestError))
        if final or attempt >= self._book.record.settings.unit_attempts:
            self._trouble = self._trouble or error
            return
        if self._trouble is None:
            wanted = error.retry_after if isinstance(error, TransientError) else None
            reason = error.message if isinstance(error, FerryError) else type(error).__name__
            self._log(f"partition {tried[0].number} is tried again: {reason}")
            self._pause(max(backoff(attempt, 0.5) / 4, wanted or 0.0))

    def _abandon(self) -> None:
        """Remove what our uncommitted runs wrote; a listed file is never touched."""
        self._pool.stop_units()
        written = set[str]()
        for ticket in self._pool.wait(self._at_work, PARTING, every=True):
            with suppress(Exception):  # what failed has left nothing
                written.update(file.part for each in self._pool.result(ticket) for file in each.files)
        try:
            listed = {f.part for f in self._book.files()}
            self._destination.delete(sorted(written - listed))
        except FerryError:
            return  # the next holder's clean-up sweeps them
