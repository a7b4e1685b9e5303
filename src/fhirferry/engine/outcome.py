"""From an exception to what the job becomes: the one place where failures are sorted (S4, S11, S63, S73)."""

from __future__ import annotations

from collections.abc import Callable

from fhirferry.model import steps
from fhirferry.model.errors import FerryError, TransientError
from fhirferry.model.instant import Instant
from fhirferry.model.job import ExportJobRecord, Failure


class Interrupted(Exception):
    """The task was told to leave; everything that was in is committed."""


def outcome(record: ExportJobRecord, error: Exception, now: Instant, jitter: Callable[[], float]) -> ExportJobRecord:
    """The record after `error` ended its run.

    Interrupted: given back. TransientError: RETRIABLE, FAILED at the threshold. Any other error of ours: FAILED. What
    we did not expect: the client reads "Unknown error", the operator where it happened; often passing, so RETRIABLE.
    """
    if isinstance(error, Interrupted):
        return steps.give_back(record)
    if isinstance(error, FerryError):
        failure = Failure(reason=error.message, status_code=error.status_code, details=error.details)
        if not isinstance(error, TransientError):
            return steps.fail(record, failure, now)
        return steps.retry_later(record, failure, now, jitter=jitter(), retry_after=error.retry_after)
    failure = Failure(reason="Unknown error", status_code=500, details=describe(error))
    return steps.retry_later(record, failure, now, jitter=jitter())


def describe(error: BaseException) -> str:
    """Type and places of an unexpected error, never its message: a message may quote a resource."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' > '.join(places[-6:])}"
