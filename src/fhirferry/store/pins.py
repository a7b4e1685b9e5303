"""Transaction times: fixing, holding and releasing them, and what the store held at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirferry.model.errors import SnapshotGone, TransientError
from fhirferry.model.instant import DAY, SECOND, Instant, format_instant
from fhirferry.store import axis, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection

LIFETIME = DAY
"""A pin that nobody renews lapses after this."""
FRESH = DAY - 3600 * SECOND
"""A pin with this much left needs no renewal: heartbeats come by the minute and should not wait for writers."""

_SQL = sql.queries("pins")


def snapshot(db: Connection, job_id: str, clock: Instant) -> Instant:
    """T of the job, pinned; inside a writing transaction, which is what makes the cut exact."""
    row = db.execute(_SQL["pin"], (job_id,)).fetchone()
    if row is None:
        _, last_t, last_stamp = db.execute(_SQL["state"]).fetchone()
        t: Instant = axis.transaction_time(clock, last_t, last_stamp)
        db.execute(_SQL["fixed"], (t,))
        db.execute(_SQL["count"], (t,))
    else:
        t = row[0]
    db.execute(_SQL["hold"], (job_id, t, clock + LIFETIME))
    return t


def is_fresh(db: Connection, job_id: str, t: Instant, clock: Instant) -> bool:
    """Whether the job's pin holds T for long enough yet."""
    row = db.execute(_SQL["pin"], (job_id,)).fetchone()
    return row is not None and row[0] == t and FRESH < row[1] - clock <= LIFETIME


def renew(db: Connection, job_id: str, t: Instant, clock: Instant) -> None:
    """Hold T for the job from now on. SnapshotGone when pruning has passed it, or when the store never handed it out: it
    was restored from a copy older than the job, and what it writes now may come before T."""
    watermark, last_t, _ = db.execute(_SQL["state"]).fetchone()
    still_there(watermark, t)
    if t > last_t:
        raise SnapshotGone(
            f"the store does not know the instant {format_instant(t)}: it was restored from a copy that is older than the "
            "job, so what it held then cannot be shown any more; start a new export"
        )
    db.execute(_SQL["hold"], (job_id, t, clock + LIFETIME))


def keep_history(db: Connection, job_id: str, after: Instant) -> Instant:
    """Keep superseded versions for the job (Source.keep_history). What may have been pruned is left out by all of its
    partitions, whether it is gone already or not: so a job that is taken up finds the same."""
    row = db.execute(_SQL["history"], (job_id,)).fetchone()
    if row is None:
        raise TransientError(f"job {job_id} has no pin in the store (any more); go on with the job")
    if row[0] is not None:
        return int(row[0])
    watermark, _, _ = db.execute(_SQL["state"]).fetchone()
    kept: Instant = max(after, watermark)
    db.execute(_SQL["keep_history"], (kept, job_id))
    return kept


def kept_history(db: Connection, job_id: str) -> Instant:
    """After what superseded versions are kept for the job. TransientError when none are."""
    row = db.execute(_SQL["history"], (job_id,)).fetchone()
    if row is None or row[0] is None:
        raise TransientError(
            f"no earlier versions are kept in the store for job {job_id} (any more); go on with the job"
        )
    return int(row[0])


def release(db: Connection, job_id: str) -> None:
    """Drop the pin, and the totals that nobody needs any more."""
    db.execute(_SQL["drop"], (job_id,))
    db.execute(_SQL["forget"])


def lapse(db: Connection, clock: Instant) -> int:
    """Drop the pins whose time is over; returns how many."""
    count = db.execute(_SQL["lapse"], (clock,)).rowcount
    db.execute(_SQL["forget"])
    return count


def must_hold(db: Connection, t: Instant) -> None:
    """SnapshotGone unless T can be shown, as the caller's transaction sees it."""
    watermark, _, _ = db.execute(_SQL["state"]).fetchone()
    still_there(watermark, t)


def still_kept(watermark: Instant, after: Instant) -> None:
    """SnapshotGone when versions that ended after this may have been pruned."""
    if watermark > after:
        raise SnapshotGone(
            f"the store was pruned up to {format_instant(watermark)}; versions that ended since {format_instant(after)} "
            "cannot be shown any more: start a new export"
        )


def still_there(watermark: Instant, t: Instant) -> None:
    """SnapshotGone when versions that T needs may have been pruned."""
    if watermark > t:
        raise SnapshotGone(
            f"the store was pruned up to {format_instant(watermark)}; its state at {format_instant(t)} cannot be shown "
            "any more: start a new export"
        )
