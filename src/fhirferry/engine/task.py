"""ExportTask: carries one acquired job to its end, and is the only writer of its record meanwhile (S1, S2).

    snapshot T ── cohort ── plan ── units of work ── commit ── publish ── … ── seal ── manifest ── COMPLETED

It commits each result as it arrives: files, continuation, counters and version tag in one ledger transaction. A
version conflict means that somebody else has the job, or that it was cancelled: then it writes no record any more and
removes the files of its own uncommitted runs. Every other way out saves an outcome (L19).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any

import msgspec

from fhirferry.engine import history
from fhirferry.engine.access import Access, forget, open_place
from fhirferry.engine.blocks import left_out
from fhirferry.engine.book import Book
from fhirferry.engine.carry import LOOK, Carrier
from fhirferry.engine.cohort import meant, select
from fhirferry.engine.connections import Connections
from fhirferry.engine.context import working_for
from fhirferry.engine.executors import PoolFactory, UnitPool, make_pool
from fhirferry.engine.heartbeat import Heartbeat
from fhirferry.engine.outcome import Interrupted, describe, outcome
from fhirferry.engine.plan import Planner, notes
from fhirferry.engine.publishing import finish, publish
from fhirferry.engine.unit import OnPage, UnitOrder
from fhirferry.faultpoints import reach
from fhirferry.jobs.protocol import JobStore
from fhirferry.model import steps
from fhirferry.model.errors import FerryError, JobConflict, JobNotFound, PermanentError, RequestError, TransientError
from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.partition import Partition
from fhirferry.sources.protocol import Source
from fhirferry.transforms.asking import ignored


class ExportTask:
    """One run of one acquired job.

    record, version: as acquired; refused when missing (S40). executor: see `engine.executors.make_pool`.
    stop: set by whoever wants the job given back.
    log: gets one-line messages for the operator, without resource content. on_save: told of every saved record.
    on_page: told what units that run in this process hold uncommitted (see `engine.unit.OnPage`).
    jitter: a number in [0, 1), for the back-off.
    """

    def __init__(
        self,
        record: ExportJobRecord,
        version: int,
        *,
        jobs: JobStore,
        connections: Connections,
        executor: str | PoolFactory = "inline",
        stop: threading.Event | None = None,
        log: Callable[[str], None] = lambda _: None,
        on_save: Callable[[ExportJobRecord], None] = lambda _: None,
        on_page: OnPage | None = None,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        if record is None or not version:
            raise RequestError("an export task needs an acquired record and its version tag")
        self._access = Access.of(record)
        self._book = Book(jobs, record, version, on_save)
        self._jobs = jobs
        self._connections = connections
        self._executor = executor
        self._leave = stop or threading.Event()
        self._lost = threading.Event()
        self._log = log
        self._on_page = on_page
        self._jitter = jitter or _jitter

    def run(self) -> ExportJobRecord:
        """Work until the job has an outcome; returns the record as this task last saved it.

        Never raises for what goes wrong with the job: that is in the record's status and failure.
        """
        with working_for(self._book.record.id):
            try:
                reach("job-acquired")
                pool = make_pool(self._executor, self._stopping, self._on_page)
                heartbeat = Heartbeat(self._jobs, self._book.record, on_stop=self._lost.set, renew_pin=self._renew_pin)
                with heartbeat, closing(pool):
                    self._export(pool)
                    self._book.save(steps.complete(self._book.record, self._jobs.now()))
                    reach("completed")
            except Exception as error:
                self._end_badly(error)
            finally:
                forget(self._access)
            return self._book.record

    def _export(self, pool: UnitPool[Any]) -> None:
        book = self._book
        with (
            closing(self._connections.open_source(book.record.source_uri, False)) as source,
            closing(open_place(self._connections, book.record.destination_uri, self._access, keep=True)) as destination,
        ):
            destination.prepare(book.record.id)
            reach("destination-prepared")
            moment = book.record.transaction_time
            if book.record.continues is not None and not book.record.sealed:
                self._must_be_there(book.record.continues)
            if moment is None:
                moment = self._begin(source)
            else:
                source.renew(book.record.id, moment)
                history.go_on(source, book.record)
                self._select(source, moment)
            partitions, files = book.resume()
            publish(destination, files)  # a predecessor may have died between commit and rename
            if not book.record.sealed:
                Carrier(
                    book,
                    pool,
                    Planner(source, book.record, moment, partitions, partial(self._name, source, moment)),
                    destination,
                    make_order=lambda partitions: self._order(partitions, moment, pool.room),
                    stopping=self._stopping,
                    lost=self._lost.is_set,
                    pause=self._pause,
                    log=self._log,
                    on_page=self._on_page,
                ).carry()
                if not book.record.sealed:
                    raise Interrupted
            reach("sealed")
            finish(destination, book.record, book.files())

    def _begin(self, source: Source) -> Instant:
        """Fix T, and whom the job means; with the last step both are in the ledger."""
        book, request = self._book, self._book.record.request
        moment = source.snapshot(book.record.id)
        reach("snapshot-pinned")
        after, gone = history.begin(source, book.record)
        issues = ignored(request) + left_out(source, request, moment) + gone
        if request.has_cohort:
            patients, more = meant(source, request, moment, partial(self._jobs.listed, book.record.id))
            book.put_cohort(patients)
            reach("cohort-recorded")
            issues += more
        self._select(source, moment)
        if book.record.continues is not None:
            book.carry_named()
        said = notes(book.record.id, issues)
        totals = dict(source.totals(request, moment, book.record.id))
        fixed = msgspec.structs.replace(book.record, transaction_time=moment, history_after=after)
        book.save(msgspec.structs.replace(fixed, totals=totals, partitions=len(said)), said)
        reach("snapshot-saved")
        return moment

    def _must_be_there(self, job_id: str) -> None:
        try:
            self._jobs.get(job_id)
        except JobNotFound:
            raise PermanentError(
                f"the export that this one continues, job {job_id}, was deleted; without it nobody knows what the reader has"
            ) from None

    def _select(self, source: Source, moment: Instant) -> None:
        record = self._book.record
        if record.request.has_cohort and not record.sealed:
            before = None if record.continues is None else partial(self._jobs.cohort, record.continues)
            select(source, record.request, moment, record.id, partial(self._jobs.cohort, record.id), before)

    def _name(self, source: Source, moment: Instant, round: int) -> None:  # noqa: A002 - the word of PartitionPlan
        record = self._book.record
        source.name(record.request, moment, record.id, round, self._jobs.named(record.id, round))
        reach("round-named")

    def _order(self, partitions: tuple[Partition, ...], moment: Instant, room: int) -> UnitOrder:
        record = self._book.record
        rate = record.settings.limit_rate
        return UnitOrder(
            connections=self._connections,
            request=record.request,
            source_uri=record.source_uri,
            destination_uri=record.destination_uri,
            access=self._access,
            settings=record.settings,
            partitions=partitions,
            transaction_time=moment,
            rate=None if rate is None else rate / room,  # the units at work share the job's rate
        )

    def _end_badly(self, error: Exception) -> None:
        record = self._book.record
        if record.finished:  # its outcome is saved; what failed is the closing of something behind it
            self._log(f"{record.status}, then {describe(error)}")
            return
        if self._lost.is_set() or isinstance(error, (JobConflict, JobNotFound)):
            self._lose()
            return
        after = outcome(record, error, self._jobs.now(), self._jitter)
        for attempt in range(1, 6):
            try:
                self._book.save(after)
            except (JobConflict, JobNotFound):
                self._lose()
                return
            except TransientError as busy:  # the ledger itself: without it there is no outcome to save (L19)
                self._log(f"the outcome could not be saved yet: {busy.message}")
                threading.Event().wait(steps.backoff(attempt, 0.5))
                continue
            break
        if after.failure is not None and not isinstance(error, Interrupted):
            self._log(f"{after.status}: {after.failure.reason} {after.failure.details}".rstrip())

    def _lose(self) -> None:
        """Leave the job to whoever has it. Where nobody will work on it again, this run may have pinned T after the last
        clean-up had released it: then nobody else would before it lapses."""
        self._log("stopped: the job was canceled, or another worker has it")
        with suppress(FerryError):
            try:
                if self._jobs.get(self._book.record.id).status not in (JobStatus.CANCELED, JobStatus.COMPLETED):
                    return
            except JobNotFound:
                pass  # deleted, and its rows are gone
            with closing(self._connections.open_source(self._book.record.source_uri, False)) as source:
                source.release(self._book.record.id)

    def _stopping(self) -> bool:
        return self._leave.is_set() or self._lost.is_set()

    def _pause(self, seconds: float) -> None:
        """Sleep, but wake up when told to leave or when the job is not ours any more."""
        end = time.monotonic() + seconds
        while not self._stopping() and (left := end - time.monotonic()) > 0:
            self._leave.wait(min(left, LOOK))

    def _renew_pin(self) -> None:
        record = self._book.record
        if record.transaction_time is not None:
            with closing(self._connections.open_source(record.source_uri, False)) as source:
                source.renew(record.id, record.transaction_time)


def _jitter() -> float:
    import random  # here: only a failure needs it

    return random.random()  # noqa: S311 - spreads retries, guards nothing
