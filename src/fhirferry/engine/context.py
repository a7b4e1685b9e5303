"""Which job this thread works for: the correlation id of everything it says (S66)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class TaskContext(NamedTuple):
    """correlation_id: the job's id. background: no client waits for the answer."""

    correlation_id: str
    background: bool = True


current: ContextVar[TaskContext | None] = ContextVar("fhirferry_task", default=None)


@contextmanager
def working_for(job_id: str) -> Iterator[None]:
    """Set the context for the block; put back what was there, in every outcome."""
    token = current.set(TaskContext(job_id))
    try:
        yield
    finally:
        current.reset(token)
