"""Progress of export jobs on stderr, whoever runs them; and at once what a person must know."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from fhirferry.cli.console import Console
from fhirferry.cli.view import Pace, Row, Speed, Teller, View
from fhirferry.model.instant import SECOND, Clock, Instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.partition import Partition, Total
from fhirferry.model.quantity import format_duration

NOTHING = Total(resources=0, bytes=0)


class Progress:
    """Told every record that a worker commits or sees, or that somebody who watches reads; and every page of units in
    this process. Safe for threads.

    named: for a worker: the job's id stands before each message, and the first record of a job is that of its
        acquisition. (Whoever runs one job sees it before, perhaps in another's hands.) here: the jobs run in this
        process: there are lines where no bars are.
    changed: called when a job's status differs from the last one seen.
    """

    def __init__(
        self,
        console: Console,
        clock: Clock,
        *,
        named: bool = False,
        here: bool = True,
        changed: Callable[[ExportJobRecord], None] = lambda _record: None,
    ) -> None:
        self._console = console
        self._clock = clock
        self._named = named
        self._here = here
        self._changed = changed
        self._lock = Lock()
        self._jobs: dict[str, _Job] = {}
        self.last: dict[str, ExportJobRecord] = {}
        self._teller = Teller(console, clock, self.view)

    def __call__(self, record: ExportJobRecord) -> None:
        now = self._clock()
        with self._lock:
            before = self.last.get(record.id)
            self.last[record.id] = record
            job = self._jobs.get(record.id)
            if job is None or job.record.epoch != record.epoch:
                job = self._jobs[record.id] = _Job(record, resumed=self._named or job is not None)
            job.take(record, now)
        prefix = f"{record.id}: " if self._named else ""
        if before is None or before.status is not record.status:
            self._changed(record)
            if record.status is JobStatus.RETRIABLE and self._here:
                wait = format_duration(max(0, (record.retry_after or now) - now) / SECOND)
                reason = f" ({record.failure.reason})" if record.failure else ""
                self._console.say(f"{prefix}trying again in {wait}{reason}")
        if record.status is JobStatus.RUNNING and self._here:
            self._teller.moved(lambda now: self.of(record.id, now), prefix)

    def page(self, partition: Partition, resources: int, size: int) -> None:
        """What the present unit of a partition holds uncommitted; see `engine.unit.OnPage`."""
        with self._lock:
            job = self._jobs.get(partition.job_id)
            if job is None:
                return
            job.hold(partition, resources, size)
            job.measure(self._clock())
        prefix = f"{partition.job_id}: " if self._named else ""
        self._teller.moved(lambda now: self.of(partition.job_id, now), prefix)

    def view(self, now: Instant) -> View | None:
        """All that runs: one job by its types, several by their names."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.record.status is JobStatus.RUNNING and job.record.totals]
            if len(jobs) == 1:
                return jobs[0].view(now)
            return _several([job.view(now) for job in jobs], [job.record.id for job in jobs]) if jobs else None

    def of(self, job_id: str, now: Instant) -> View | None:
        """One job; None where there is nothing to see of it."""
        with self._lock:
            job = self._jobs[job_id]
            return job.view(now) if job.record.totals and job.record.status is JobStatus.RUNNING else None


class _Job:
    """What is known of a job: its record, and what is on its way to the next commit."""

    def __init__(self, record: ExportJobRecord, *, resumed: bool) -> None:
        self.record = record
        self._note = f"resumed at {record.progress} %" if resumed and record.gone_through.bytes else ""
        self._pace = Pace()
        self._flying: dict[int, tuple[str, int, int]] = {}
        self._shown: dict[str, tuple[int, int]] = {}
        self._resources = 0
        self._bytes = 0

    def take(self, record: ExportJobRecord, now: Instant) -> None:
        self.record = record
        if record.status is not JobStatus.RUNNING:
            self._flying.clear()
        elif record.totals:
            self.measure(now)

    def hold(self, partition: Partition, resources: int, size: int) -> None:
        if size:
            self._flying[partition.number] = (partition.plan.resource_type, resources, size)
        else:
            self._flying.pop(partition.number, None)

    def measure(self, now: Instant) -> None:
        carried = {name: (total.resources, total.bytes) for name, total in self.record.carried.items()}
        gone = self.record.gone_through
        resources, size = gone.resources, gone.bytes
        for name, count, more in self._flying.values():
            before = carried.get(name, (0, 0))
            carried[name] = (before[0] + count, before[1] + more)
            resources, size = resources + count, size + more
        # Never backwards: what a failed unit takes back is about to be made good.
        for name, now_at in carried.items():
            self._shown[name] = max(self._shown.get(name, now_at), now_at)
        self._resources, self._bytes = max(self._resources, resources), max(self._bytes, size)
        self._pace.see(now, self._bytes, self._resources, self._bytes)

    def view(self, now: Instant) -> View:
        record = self.record
        rows = [_row(name, *done, record.totals.get(name, NOTHING)) for name, done in self._shown.items()]
        total = Total(
            resources=sum(each.resources for each in record.totals.values()),
            bytes=sum(each.bytes for each in record.totals.values()),
        )
        share = max(record.progress / 100, min(0.99, self._bytes / total.bytes if total.bytes else 0))
        flying = {each[0] for each in self._flying.values()}
        open_ = [row.name for row in rows if not row.done]
        return View(
            verb="exporting",
            rows=rows,
            at_work=[name for name in open_ if name in flying] or open_,
            total=Row(name="total", resources=self._resources, of=total.resources, bytes=self._bytes, share=share),
            speed=self._pace.speed(now, total.bytes),
            note=self._note,
        )


def _row(name: str, resources: int, size: int, total: Total) -> Row:
    share = min(1.0, size / total.bytes) if total.bytes else None
    return Row(
        name=name,
        resources=resources,
        of=total.resources,
        bytes=size,
        share=share,
        done=resources >= total.resources,
    )


def _several(views: list[View], names: list[str]) -> View:
    """Jobs side by side: a row for each."""
    rows = [
        Row(name=name, resources=t.resources, of=t.of, bytes=t.bytes, share=t.share)
        for name, t in zip(names, (view.total for view in views), strict=True)
    ]
    left = [view.speed.left for view in views]
    done, whole = sum(row.resources for row in rows), sum(row.of or 0 for row in rows)
    return View(
        verb="exporting",
        rows=rows,
        at_work=names,
        total=Row(
            name=f"{len(rows)} jobs",
            resources=done,
            of=whole,
            bytes=sum(row.bytes or 0 for row in rows),
            share=min(0.99, done / whole) if whole else None,
        ),
        speed=Speed(
            resources=sum(view.speed.resources or 0 for view in views) or None,
            bytes=sum(view.speed.bytes or 0 for view in views) or None,
            left=None if None in left else max(each for each in left if each is not None),
        ),
    )
