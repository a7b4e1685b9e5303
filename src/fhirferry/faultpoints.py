"""Named moments at which a test may break the process. In production `reach` costs one comparison.

`fhirferry.testing.faults` arms them in the process of a test; `python -m fhirferry.testing.faulty …` is the command
line with a fault armed, in its pool's processes too. Nothing in production reads a variable that could arm one.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS = (
    "job-created",  # the record is in the ledger, nobody works on it
    "job-acquired",  # the hold is in the ledger
    "snapshot-pinned",  # T is in the store, not yet in the ledger
    "cohort-recorded",  # the patients are in the ledger, T is not
    "cohort-selected",  # and in the source
    "snapshot-saved",
    "round-named",  # the source knows what the next round exports; no partition of it is planned
    "destination-prepared",
    "unit-started",
    "page-read",
    "page-written",
    "file-before-sync",
    "file-synced",  # durable under its part name
    "unit-finished",  # the result has not reached the task
    "commit-before",
    "commit-inside",  # SQL done, COMMIT not yet
    "commit-after",  # listed, not yet published
    "published",  # renamed, folder not yet synced
    "sealed",
    "sums-written",
    "manifest-written",
    "completed",
    "cleanup-holding",  # the folder is the job's and locked, its files are still there
    "cleanup-swept",
    "cleanup-released",
)

armed: Callable[[str], None] | None = None


def reach(point: str) -> None:
    """Called by the code at the moment that `point` names."""
    if armed is not None:
        armed(point)
