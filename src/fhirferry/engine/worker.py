"""A worker: acquires jobs and clean-ups from the ledger and sees them through.

Any number of workers share a ledger; each takes whole jobs. Nothing to do: it waits. At its limit: it takes nothing. An
error while acquiring: it waits the poll interval and goes on (L20). Told to stop: running jobs end at their next commit
point and are given back (S80).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from fhirferry.engine.cleanup import LEASE, clean
from fhirferry.engine.connections import Connections
from fhirferry.engine.executors import PoolFactory
from fhirferry.engine.outcome import describe
from fhirferry.engine.task import ExportTask
from fhirferry.engine.unit import OnPage
from fhirferry.jobs.protocol import JobStore
from fhirferry.model.errors import FerryError
from fhirferry.model.job import ExportJobRecord, JobStatus

WAITING = frozenset({JobStatus.QUEUED, JobStatus.RETRIABLE})


class Worker:
    """holder: its name in the ledger. executor: where units run (`inline`, `threads:N`, `processes:N`), a pool for each job.
    max_jobs: so many jobs at once. poll: seconds between looks at the ledger. stop: set it to make the worker leave.
    log: one-line messages for the operator. on_progress: told of every record as it is saved or seen. on_page: what is
        not committed yet, see `engine.unit.OnPage`.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        connections: Connections,
        holder: str,
        executor: str | PoolFactory = "inline",
        max_jobs: int = 1,
        poll: float = 1.0,
        stop: threading.Event | None = None,
        log: Callable[[str], None] = lambda _: None,
        on_progress: Callable[[ExportJobRecord], None] = lambda _: None,
        on_page: OnPage | None = None,
    ) -> None:
        self._jobs = jobs
        self._connections = connections
        self._holder = holder
        self._executor = executor
        self._max_jobs = max_jobs
        self._poll = poll
        self._stop = stop or threading.Event()
        self._log = log
        self._on_progress = on_progress
        self._on_page = on_page
        self._running: list[threading.Thread] = []

    def run(self, *, until_idle: bool = False) -> None:
        """Work until told to stop; with `until_idle` also until no job waits and none runs here."""
        try:
            while not self._stop.is_set():
                self._running = [t for t in self._running if t.is_alive()]
                try:
                    took = self._take_jobs()
                    took += self.clean_up()
                    idle = not took and not self._running and not self._waiting()
                except Exception as error:  # whatever it is, the others' jobs must not wait for a new worker
                    reason = error.message if isinstance(error, FerryError) else describe(error)
                    self._log(f"the ledger could not be read, trying again: {reason}")
                    idle = False
                if until_idle and idle:
                    return
                self._stop.wait(self._poll)
        finally:
            for thread in self._running:
                thread.join()

    def run_job(self, job_id: str) -> ExportJobRecord:
        """See this one job to its end, or until told to stop; waits while another worker holds it, and for its next
        try while it is RETRIABLE; then its clean-up. Returns the record as it stands. JobNotFound.
        """
        by_operator = True  # the first try is a person's wish; later ones keep the back-off and its threshold
        while not self._stop.is_set():
            record = self._jobs.get(job_id)
            self._on_progress(record)
            if record.finished:
                break
            acquired = self._jobs.acquire(self._holder, 1, job_id=job_id, by_operator=by_operator)
            if acquired:
                by_operator = False
                self._run_task(acquired[0])
            else:
                self._stop.wait(self._poll)
        self.clean_up(job_id)
        return self._jobs.get(job_id)

    def clean_up(self, job_id: str | None = None) -> int:
        """Clean-ups that are due, of one job or of all, one lease at a time; how many."""
        done = 0
        while not (done and self._stop.is_set()):
            due = self._jobs.acquire_cleanup(1, lease=LEASE, job_id=job_id)
            if not due:
                break
            problem = clean(due[0], self._jobs, self._connections, partial(self._tell, due[0].id))
            if problem is not None:
                self._log(f"{due[0].id}: clean-up is not done and will be tried again: {problem}")
            done += 1
        return done

    def _take_jobs(self) -> int:
        room = self._max_jobs - len(self._running)
        if room <= 0:
            return 0
        taken = self._jobs.acquire(self._holder, room)
        for record in taken:
            thread = threading.Thread(target=self._run_task, args=(record,), name=f"job {record.id}")
            self._running.append(thread)
            thread.start()
        return len(taken)

    def _run_task(self, record: ExportJobRecord) -> None:
        self._on_progress(record)
        ExportTask(
            record,
            record.version,
            jobs=self._jobs,
            connections=self._connections,
            executor=self._executor,
            stop=self._stop,
            log=partial(self._tell, record.id),
            on_save=self._on_progress,
            on_page=self._on_page,
        ).run()

    def _tell(self, job_id: str, text: str) -> None:
        self._log(f"{job_id}: {text}")

    def _waiting(self) -> bool:
        return any(r.status in WAITING for r in self._jobs.list(unfinished=True))
