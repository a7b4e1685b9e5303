"""The hold on a job, renewed by a thread of its own, so that no slow page or slow disk can cost it (L11)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from fhirferry.jobs.protocol import Beat, JobStore
from fhirferry.model.job import ExportJobRecord

PIN_RENEWAL = 600.0
"""Seconds between renewals of the snapshot's pin; it lapses after a day."""


class Heartbeat:
    """Beats while the `with` block runs, four times within the record's time-out.

    news: OK, or what the last beat learned; `on_stop` is called once when it is not OK any more. A ledger that cannot
    be reached is no news: if it lasts, others may take the job over, and the version tag fences every commit.
    renew_pin: keeps the source's snapshot; called from the heartbeat's thread, seldom.
    """

    def __init__(
        self,
        jobs: JobStore,
        record: ExportJobRecord,
        *,
        on_stop: Callable[[], None],
        renew_pin: Callable[[], None],
    ) -> None:
        self.news = Beat.OK
        self._jobs = jobs
        self._record = record
        self._on_stop = on_stop
        self._renew_pin = renew_pin
        self._interval = record.settings.heartbeat_timeout / 4
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat {record.id}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        since_pin = 0.0
        while not self._done.wait(self._interval):
            since_pin += self._interval
            # Whatever goes wrong, the next beat tries again: a thread that ended here would lose the job in silence.
            with suppress(Exception):
                self.beat()
                if since_pin >= PIN_RENEWAL:
                    self._renew_pin()
                    since_pin = 0.0
            if self.news is not Beat.OK:
                return

    def beat(self) -> None:
        """Renew the hold once. Raises the ledger's errors."""
        self.news = self._jobs.heartbeat(self._record.id, self._record.holder or "", self._record.epoch)
        if self.news is not Beat.OK:
            self._on_stop()
