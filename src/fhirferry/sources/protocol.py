"""The intake's contract. One conformance suite (`tests/conformance/test_source.py`) proves every implementation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from fhirferry.model.cohort import Cohort, Selection, Share
from fhirferry.model.instant import Instant
from fhirferry.model.partition import Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest


class Source(Protocol):
    """Where resources come from. An object belongs to one thread at a time; open it when used, close it after (S51).

    Raises SourceConnectionError, StoreBusy, StoreDamaged, SnapshotGone.
    """

    def snapshot(self, job_id: str) -> Instant:
        """Fix T: all that was committed before the call is visible at T, nothing committed later is. Pins T under the
        job's id. Idempotent: a job that has a pin gets its T again. T grows strictly from pin to pin."""
        ...

    def renew(self, job_id: str, transaction_time: Instant) -> None:
        """Keep T pinned, or pin it again after a lapse or release. SnapshotGone when T was pruned meanwhile, or
        was never reached here: a store that was restored from an older copy may still write what belongs before T."""
        ...

    def release(self, job_id: str) -> None:
        """Drop the job's pin and its cohort. Idempotent."""
        ...

    def keep_history(self, job_id: str, after: Instant) -> Instant:
        """Let the job's pin keep superseded versions too, those whose life ended after this; returns after which they are
        all there: later than `after` where some may have been pruned. To be called before `partitions` of a request with
        a `history_after`, and again by whoever takes the job up, with what was returned: when more is returned then, what
        the job began with is gone. Idempotent: a pin that keeps them says the same again. TransientError when the job has
        no pin."""
        ...

    def members(
        self, request: ExportRequest, transaction_time: Instant, named: Iterable[str] | None = None
    ) -> Cohort | None:
        """Whom the request means at T; None where that is no question of who (`request.has_cohort`: the system, all
        patients). Read its patients before anything else is asked of this source, but `select`.

        Of a Group: the active members whose period holds T, those of nested Groups too, each Group once (L3). Members
        of other kinds are passed over. A nested Group that is not there, an inactive one, and a cohort of nobody (L1)
        are issues. `request.patients`, or `named` in their stead (ids in order, each once; read several times), are
        taken as they are; each must be there at T and, of a group, a member.
        `request.since` never narrows whom (L4). Raises GroupNotFound (S62), PatientNotFound (B41), StoreNotIndexed."""
        ...

    def select(self, job_id: str, transaction_time: Instant, patients: Iterable[tuple[str, Share]]) -> Selection:
        """Keep the job's cohort until its pin is released or lapses. Those who LEFT are not counted in the Selection and
        no members: what was in their compartments, and in no member's, is deleted for the reader; deletions of it since
        then are told too (B29). Idempotent: a cohort that is there stays as it is. To be called before
        `totals`, `partitions` and `read` of a request that has a cohort, and again by whoever takes the job up: for
        want of a cohort those raise TransientError. Raises StoreNotIndexed."""
        ...

    def name(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        job_id: str,
        round: int,  # noqa: A002 - the word of PartitionPlan
        references: Iterable[tuple[str, bool]],
    ) -> None:
        """Add to what round `round` (from 1) of the job exports, until its pin is released or lapses: `Type/id`, and
        whether all of it is wanted or only what changed since. Idempotent; to be repeated by whoever takes the job up.

        What is not there at T is passed over, and what an earlier round exports, so that each goes out once; so is,
        for patients and groups, what is in the compartment of somebody who is not in the cohort (B39), and any Group (L2).
        """
        ...

    def associated(self, transaction_time: Instant, references: Sequence[str], *, latest: bool) -> Sequence[str]:
        """`Provenance/id` of those at T that have one of the references (`Type/id`) as a target; latest: of each only
        the newest (B44), by `recorded`."""
        ...

    def totals(self, request: ExportRequest, transaction_time: Instant, job_id: str = "") -> Mapping[str, Total]:
        """What T holds of the request, by type (deletions not counted); organised output under BLOCKS, what is in several
        blocks as often. Types without data are absent (L27).
        Must be cheap; exact where the source can know, else its best estimate: used for progress and dry runs.
        job_id: whose cohort, where the request has one."""
        ...

    def partitions(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        target_bytes: int,
        after: PartitionPlan | None = None,
        job_id: str = "",
        round: int = 0,  # noqa: A002 - the word of PartitionPlan
    ) -> Iterator[PartitionPlan]:
        """Cut the request into partitions of about `target_bytes` of NDJSON each, lazily, in an order that is fixed
        by request, T and cohort; together they hold every visible resource once (L10). `after`: go on behind this one
        (a resumed job). With `since`: also partitions of kind DELETED (B81). With `history_after`: of kind HISTORY, every
        version (no deletion) that was superseded by T, after that, and belongs to type and cohort by itself; of Groups at
        level "group" none (L2), and Provenance by its own compartments alone. Types without data give none. round: 0 for
        what the request selects, n for what was named for it (`name`): whatever type it is of, and of what is wanted only
        as far as it changed since, the deletions too.

        Level "patient" and "group": what is in the compartment of a patient (of the cohort of `job_id`, where the
        request has one), the Patient itself included (B21). Of Groups: with a list of patients none, for a group that
        one alone (L2), for all patients each with a Patient among its members. A deletion belongs to whom the deleted
        version belonged. StoreNotIndexed when the source does not know what belongs to whom.

        Organised output: what is there comes first, of all types at once (resource_type BLOCKS), patient by patient, the
        Patient before what else is in the compartment; what is in several compartments comes in each. A partition ends
        where a block ends. No Groups, and of Provenance what is in a compartment by itself. Deletions as ever."""
        ...

    def read(self, bounds: Mapping[str, Any], continuation: str | None, max_resources: int, max_bytes: int) -> Page:
        """The next page of a partition: at most `max_resources` lines and `max_bytes` bytes, except that a single
        larger resource comes in a page of its own. Always makes progress; the same arguments give the same page.
        `max_resources` counts the resources in a DELETED page too. SnapshotGone rather than less than everything.
        Organised output: a page ends where a block ends, unless the one that it begins with has no room in it."""
        ...

    def close(self) -> None:
        """Give back connections. Idempotent."""
        ...
