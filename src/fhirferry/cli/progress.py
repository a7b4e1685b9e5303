"""Progress of running jobs on stderr: a line every few seconds, and at once what a person must know."""

from __future__ import annotations

from collections.abc import Callable

from fhirferry.cli.console import Console
from fhirferry.cli.texts_jobs import progress
from fhirferry.model.instant import SECOND, Clock, Instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.quantity import format_duration


class Progress:
    """Told every record that the worker commits or sees; `named` puts the job's id before each line.

    changed: called when a job's status differs from the last one seen.
    """

    def __init__(
        self,
        console: Console,
        clock: Clock,
        *,
        named: bool = False,
        changed: Callable[[ExportJobRecord], None] = lambda _record: None,
    ) -> None:
        self._console = console
        self._clock = clock
        self._named = named
        self._changed = changed
        self._every = SECOND // 2 if console.on_terminal else 5 * SECOND
        self._next: Instant = clock() + self._every  # a small export is over before there is anything to tell
        self.last: dict[str, ExportJobRecord] = {}

    def __call__(self, record: ExportJobRecord) -> None:
        before = self.last.get(record.id)
        self.last[record.id] = record
        prefix = f"{record.id}: " if self._named else ""
        now = self._clock()
        if before is None or before.status is not record.status:
            self._changed(record)
            if record.status is JobStatus.RETRIABLE:
                wait = format_duration(max(0, (record.retry_after or now) - now) / SECOND)
                reason = f" ({record.failure.reason})" if record.failure else ""
                self._console.say(f"{prefix}trying again in {wait}{reason}")
        if record.status is JobStatus.RUNNING and now >= self._next:
            self._next = now + self._every
            self._console.progress(prefix + progress(record, now))
