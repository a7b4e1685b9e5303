"""`fhirferry jobs`: the ledger as a person reads and steers it."""

from __future__ import annotations

from fhirferry.cli.options import LazyGroup

group = LazyGroup(
    name="jobs",
    help="See, wait for, resume, cancel and remove jobs. An id may be cut to what is unique.",
    places={
        "list": "jobs_read:list_jobs",
        "show": "jobs_read:show",
        "watch": "jobs_watch:watch",
        "wait": "jobs_watch:wait",
        "resume": "jobs_change:resume",
        "retry": "jobs_change:retry",
        "cancel": "jobs_change:cancel",
        "delete": "jobs_delete:delete",
        "prune": "jobs_delete:prune",
    },
)
