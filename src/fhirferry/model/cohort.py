"""The patients of one job, fixed at its transaction time."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fhirferry.model.partition import Issue


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a request means at T.

    patients: their ids, in order, each once. Lazy and to be read once: there may be a million.
    issues: what the reader of the export must know, for instance that a Group is empty (L1).
    """

    patients: Iterator[str]
    issues: tuple[Issue, ...] = ()


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A cohort that a source knows under a job's id. patients: those it has data of. absent: the others."""

    patients: int
    absent: int
