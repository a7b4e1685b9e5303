"""The patients of one job, fixed at its transaction time."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import msgspec

from fhirferry.model.partition import Issue


class Share(IntEnum):
    """How much of a patient's compartment a job takes (B29)."""

    SINCE = 0  # a member: what the request asks for
    WHOLE = 1  # a member that the export which this one continues did not have: everything, whatever `since` says
    LEFT = 2  # no member any more: what it has is listed as deleted


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
