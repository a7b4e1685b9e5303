"""The embedded FHIR store in one SQLite file: versions of resources on one time axis.

Theory of operation. A version is a narrow row (key, id, when it changed, when it ended) and a body apart from it; the
newest of an id is current. Writers take one immediate transaction a batch; fixing T is one as well, so the cut between
before and after is exact. Readers take a short transaction a page and always ask whether T can still be shown. Nobody
holds a transaction for longer than that, so the log (WAL) stays small and an export may take days.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.model.cohort import Cohort, Selection, Share
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.partition import Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from fhirferry.store import cohorts, hints, info, named, paging, pins, routes, walks
from fhirferry.store.opening import Transaction, open_store

# Imported where they are used: what writes and prunes is no part of an export's start.
if TYPE_CHECKING:
    from fhirferry.fhir.resource import Deletion, Resource
    from fhirferry.store.info import StoreInfo
    from fhirferry.store.pruning import Pruned
    from fhirferry.store.walks import Walk
    from fhirferry.store.writing import Outcome

Connection = sqlite3.Connection

WRITER_CACHE = 64_000  # kB: the index of ids is written all over


class SqliteStore:
    """One connection to a store; for one thread at a time.

    path: the file. create: make it if it is not there (mode 0600, in a folder that exists). timeout: seconds to wait
    for another writer. Raises SourceConnectionError when there is no store at `path`, StoreBusy, StoreDamaged,
    TransientError when the disk is full.
    """

    def __init__(self, path: str, *, clock: Clock, create: bool = False, timeout: float = 30.0) -> None:
        self.path = path
        self._clock = clock
        self._timeout = timeout
        self._writes = False
        self._db = open_store(path, create=create, timeout=timeout)

    def write(self, items: Sequence[Resource | Deletion], *, force: bool = False) -> list[Outcome]:
        """Apply `items` in order, all or nothing, durable on return; outcomes are parallel to them.

        force: take a resource although its given lastUpdated is before the current version's.
        """
        outcomes, commit = self._apply(items, force)
        commit()
        return outcomes

    def write_behind(
        self, items: Sequence[Resource | Deletion], *, force: bool = False
    ) -> tuple[list[Outcome], Callable[[], None]]:
        """`write` that leaves the commit to a thread. The outcomes hold, durably, when the function that comes with
        them returns: it waits, and raises what `write` would. Call it before anything else is asked of this store."""
        from threading import Thread  # only importing has something to do meanwhile

        outcomes, commit = self._apply(items, force)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                commit()
            except BaseException as error:
                failed.append(error)

        def wait() -> None:
            thread.join()
            if failed:
                raise failed[0]

        thread = Thread(target=run)
        thread.start()
        return outcomes, wait

    def _apply(self, items: Sequence[Resource | Deletion], force: bool) -> tuple[list[Outcome], Callable[[], None]]:
        """Outcomes, and what commits them."""
        from fhirferry.store import writing

        if not self._writes:
            self._db.execute(f"pragma cache_size = -{WRITER_CACHE}")
            self._writes = True
        with contextlib.ExitStack() as stack:
            db = stack.enter_context(self.writing())
            outcomes = writing.write(db, items, self._clock(), force=force)
            transaction = stack.pop_all()
        large = any(map(writing.is_large, items))

        def commit() -> None:
            transaction.close()
            if large:  # it pushed all else out of the cache, which now only costs memory
                db.execute("pragma shrink_memory")

        return outcomes, commit

    def get(self, type: str, id: str) -> bytes | None:  # noqa: A002 - FHIR's words
        """The body of the current version; None when there is none, or it is deleted."""
        from fhirferry.store import writing

        with self.reading() as db:
            return writing.get(db, type, id)

    def info(self) -> StoreInfo:
        """What the store holds. Costs nothing: counters are kept."""
        with self.reading() as db:
            return info.read(db, self.path)

    def prune(self, before: Instant | None = None) -> Pruned:
        """Forget versions that no pinned T needs; with `before` only what no T from there on needs. In small
        transactions, so writers and readers go on beside it."""
        from fhirferry.store import pruning

        with self.writing() as db:
            done = pruning.raise_watermark(db, before, self._clock())
        pruning.keep_targets(self)
        more = True
        while more:
            with self.writing() as db:
                done, more = pruning.remove(db, done)
        cohorts.sweep(self)
        named.sweep(self)
        return done

    def snapshot(self, job_id: str) -> Instant:
        """Fix and pin T (Source.snapshot)."""
        with self.writing() as db:
            return pins.snapshot(db, job_id, self._clock())

    def renew(self, job_id: str, transaction_time: Instant) -> None:
        """Keep T pinned (Source.renew). Asks for the writers' lock only when the pin needs it."""
        with self.reading() as db:
            if pins.is_fresh(db, job_id, transaction_time, self._clock()):
                return
        with self.writing() as db:
            pins.renew(db, job_id, transaction_time, self._clock())

    def keep_history(self, job_id: str, after: Instant) -> Instant:
        """Keep superseded versions for the job (Source.keep_history)."""
        with self.writing() as db:
            return pins.keep_history(db, job_id, after)

    def release(self, job_id: str) -> None:
        """Drop the job's pin, its cohort and what was named for it. Idempotent."""
        with self.writing() as db:
            pins.release(db, job_id)
            cohorts.drop(db, job_id)
            named.drop(db, job_id)
        cohorts.sweep(self)
        named.sweep(self)

    def members(
        self, request: ExportRequest, transaction_time: Instant, named: Iterable[str] | None = None
    ) -> Cohort | None:
        """Whom the request means at T (Source.members)."""
        from fhirferry.store import groups

        return groups.members(self, request, transaction_time, named) if request.has_cohort else None

    def select(self, job_id: str, transaction_time: Instant, patients: Iterable[tuple[str, Share]]) -> Selection:
        """Keep the job's cohort (Source.select)."""
        return cohorts.select(self, job_id, transaction_time, patients)

    def name(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        job_id: str,
        round: int,  # noqa: A002 - the word of PartitionPlan
        references: Iterable[tuple[str, bool]],
    ) -> None:
        """Add to what a round of the job exports (Source.name)."""
        from fhirferry.store import naming

        naming.name(self, request, transaction_time, job_id, round, references)

    def associated(self, transaction_time: Instant, references: Sequence[str], *, latest: bool) -> Sequence[str]:
        """Which Provenance has one of the references as a target (Source.associated)."""
        from fhirferry.store import provenance

        return provenance.associated(self, transaction_time, references, latest=latest)

    def index(self, on_progress: Callable[[int, int], None]) -> int:
        """Find out which patients' the versions are that an earlier fhirferry wrote; returns how many those were.
        on_progress(done, all). In small transactions; who is interrupted and called again goes on."""
        from fhirferry.store import indexing

        return indexing.index(self, on_progress)

    def totals(self, request: ExportRequest, transaction_time: Instant, job_id: str = "") -> Mapping[str, Total]:
        """What T holds of the request, by type (Source.totals)."""
        from fhirferry.store import totals

        self._look_into_provenance(request, transaction_time, job_id)
        with self.reading() as db:
            return totals.totals(db, request, transaction_time, job_id)

    def partitions(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        target_bytes: int,
        after: PartitionPlan | None = None,
        job_id: str = "",
        round: int = 0,  # noqa: A002 - the word of PartitionPlan
    ) -> Iterator[PartitionPlan]:
        """Cut the request (Source.partitions)."""
        done = None if after is None else walks.walk_of(after.bounds)
        if not round:
            self._look_into_provenance(request, transaction_time, job_id)
        with self.reading() as db:
            pins.must_hold(db, transaction_time)
            types = info.codes(db)
            if round:
                named.must_be_there(db, job_id, round)
                way = routes.named(types, transaction_time, job_id, round)
            else:
                cohort = cohorts.of_request(db, request, job_id)
                if cohort is not None and done is not None:  # selected anew, it may have been judged otherwise
                    cohort = msgspec.structs.replace(cohort, wide=done.wide)
                may_hint = cohorts.may_hint(db, request)
                worth = (lambda short: self._is_worth(short, done)) if may_hint else None
                kept = None if request.history_after is None else pins.kept_history(db, job_id)
                way = routes.walks(types, request, transaction_time, job_id, cohort, worth=worth, kept=kept)
        for walk in way:
            if done is not None:
                if (walk.type, walk.by) != (done.type, done.by):
                    continue
                walk = msgspec.structs.replace(walk, after=done.to)
                done = None
            yield from walks.cut(self, walk, target_bytes)

    def _is_worth(self, short: Walk, done: Walk | None) -> bool:
        """Whether the way that filters show is the shorter one; for the type that was being planned, as it was then."""
        if done is not None and done.type == short.type:
            return done.by == short.by
        with self.reading() as db:
            return short.by == "key" or walks.is_short(db, short, hints.most(info.resources(db, short.code)))

    def read(
        self,
        bounds: Mapping[str, Any],
        continuation: str | None,
        max_resources: int,
        max_bytes: int,
        *,
        check: bool = False,
    ) -> Page:
        """The next page of a partition (Source.read). check: parse every line as well."""
        walk = walks.walk_of(bounds)
        if walk.is_relevant:
            from fhirferry.store import relevance

            relevance.find(self, walk.job, walk.t)  # the job was taken up, its cohort selected anew
        with self.reading() as db:
            return paging.read(db, walk, continuation, max_resources, max_bytes, check=check)

    def _look_into_provenance(self, request: ExportRequest, t: Instant, job_id: str) -> None:
        """Of patients it is exported by what it is about, which is looked up when a job first needs it (B45). In organised
        output only deletions ask."""
        idle = request.organize_output_by is not None and routes.told_since(request) is None
        if request.level != "system" and not idle:
            from fhirferry.store import relevance

            relevance.prepare(self, request, t, job_id)

    def reading(self) -> Transaction:
        """A transaction that sees one state of the store; keep it short."""
        return Transaction(self._db, self.path, 0)

    def writing(self) -> Transaction:
        """A transaction that no other writer shares."""
        return Transaction(self._db, self.path, self._timeout)

    def close(self) -> None:
        """Idempotent. After writing, the log is carried over into the file as far as readers allow."""
        if self._writes:
            self._writes = False
            self._db.execute("pragma busy_timeout = 0")
            # Where somebody reads, or the disk is full, it stays in the log, and that is durable.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("pragma wal_checkpoint(truncate)")
        self._db.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
