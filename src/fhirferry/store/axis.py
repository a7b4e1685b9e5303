"""The one time axis of a store: every version is stamped on it, every transaction time T is a point of it.

A version is visible at T when `changed <= T < ended`. All that was committed before T was fixed has `changed <= T`; all
that is written later has `changed > T`, also when the machine's clock goes back. So exports chain: `_since` is
`changed > S`, `_until` is `changed < U` (S46, S47, L16).
"""

from __future__ import annotations

from fhirferry.model.instant import Instant


def present(clock: Instant, last_t: Instant) -> Instant:
    """The store's now: the clock, but always after the last T."""
    return max(clock, last_t + 1)


def stamp(given: Instant | None, now: Instant, last_t: Instant, predecessor: Instant) -> Instant:
    """`changed` of a new version: its given lastUpdated if that is later than every T handed out and not in the
    future, else the store's now; never before its predecessor's, so that a version's life has no negative length."""
    changed = given if given is not None and last_t < given <= now else now
    return max(changed, predecessor)


def transaction_time(clock: Instant, last_t: Instant, last_stamp: Instant) -> Instant:
    """The next T: after every T before, not before any version."""
    return max(clock, last_t + 1, last_stamp)


def last_instant(transaction_time: Instant, until: Instant | None) -> Instant:
    """The latest `changed` that a request takes: `_until` is exclusive, T is not."""
    return transaction_time if until is None else min(transaction_time, until - 1)
