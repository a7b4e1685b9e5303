"""A ledger in memory: the same promises as the durable ones, except that it ends with its process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from fhirferry import faultpoints
from fhirferry.jobs import documents, rules
from fhirferry.jobs.protocol import Beat
from fhirferry.model import steps
from fhirferry.model.errors import JobConflict
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Partition


def _never(_holder: str) -> bool:
    return False


class _Job(msgspec.Struct, kw_only=True):
    """A row. Documents are kept as text, so that nobody holds a reference into the ledger, and nothing that JSON
    cannot carry passes here and fails in the durable one."""

    document: str
    version: int = 1
    heartbeat: Instant | None = None
    partitions: dict[int, str] = msgspec.field(default_factory=dict)
    files: dict[tuple[str, str, int], OutputFile] = msgspec.field(default_factory=dict)

    listed: tuple[str, ...] = ()
    cohort: tuple[str, ...] = ()
    named: dict[str, int] = msgspec.field(default_factory=dict)  # for which round; 0: carried

    def read(self) -> ExportJobRecord:
        return documents.read_record(self.document, self.version, self.heartbeat)


class MemoryJobStore:
    """JobStore in memory, for tests and for exports that nobody needs to resume.

    is_dead: tells of a holder that it has certainly ended; here by default nobody has.
    """

    def __init__(self, clock: Clock, *, is_dead: Callable[[str], bool] = _never) -> None:
        self._clock = clock
        self._is_dead = is_dead
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}  # in order of arrival

    def now(self) -> Instant:
        return self._clock()

    def create(self, record: ExportJobRecord, *, patients: Iterable[str] = ()) -> ExportJobRecord:
        document = documents.write_record(rules.queued(record))
        listed = tuple(sorted(set(patients)))
        with self._lock:
            return self._insert(record.id, document, listed)

    def find_or_create(self, record: ExportJobRecord, *, patients: Iterable[str] = ()) -> ExportJobRecord:
        document = documents.write_record(rules.queued(record))
        listed = tuple(sorted(set(patients)))
        with self._lock:
            there = rules.standing((each for each in self._by_age() if not each.deleted), record)
            return there or self._insert(record.id, document, listed)

    def get(self, job_id: str) -> ExportJobRecord:
        with self._lock:
            return rules.visible(self._find(job_id), job_id)

    def list(self, *, request_hash: str | None = None, unfinished: bool = False) -> Sequence[ExportJobRecord]:
        with self._lock:
            return tuple(
                record
                for record in self._by_age()
                if not record.deleted
                and (request_hash is None or record.hash == request_hash)
                and not (unfinished and record.finished)
            )

    def acquire(
        self, holder: str, limit: int, *, job_id: str | None = None, by_operator: bool = False
    ) -> Sequence[ExportJobRecord]:
        with self._lock:
            candidates = (record for record in self._by_age() if job_id is None or record.id == job_id)
            steps = rules.take(candidates, holder, limit, self.now(), self._is_dead, by_operator=by_operator)
            return tuple(record for record in map(self._save, steps) if not record.finished)

    def heartbeat(self, job_id: str, holder: str, epoch: int) -> Beat:
        with self._lock:
            record = self._find(job_id)
            if record is None or not rules.holds(record, holder, epoch):
                return rules.beat_without_hold(record)
            self._jobs[job_id].heartbeat = self.now()
            return Beat.OK

    def commit(
        self,
        record: ExportJobRecord,
        version: int,
        *,
        partitions: Iterable[Partition] = (),
        files: Iterable[OutputFile] = (),
        references: Iterable[tuple[int, str]] = (),
    ) -> ExportJobRecord:
        ours = rules.tagged(record, version, partitions)
        further = tuple(files)
        named = rules.named(record.id, references)
        document = documents.write_record(record)
        with self._lock:
            row = self._tagged(record.id, version)
            after = msgspec.structs.replace(
                row,
                document=document,
                version=version + 1,
                partitions=row.partitions | {each.number: documents.write(each) for each in ours},
                files=row.files | {(each.kind, each.type, each.sequence): each for each in further},
            )
            _check_files(record.id, after.files.values(), len(row.files) + len(further))
            faultpoints.reach("commit-inside")
            self._jobs[record.id] = after
            after.named.update((name, round_) for name, round_ in named if name not in after.named)
            return after.read()

    def partitions(self, job_id: str) -> Sequence[Partition]:
        with self._lock:
            rows = self._jobs[job_id].partitions if job_id in self._jobs else {}
            return tuple(documents.read_partition(rows[number]) for number in sorted(rows))

    def files(self, job_id: str) -> Sequence[OutputFile]:
        with self._lock:
            rows = self._jobs[job_id].files if job_id in self._jobs else {}
            return tuple(rows[key] for key in sorted(rows))

    def listed(self, job_id: str) -> Iterator[str]:
        with self._lock:
            return iter(self._jobs[job_id].listed if job_id in self._jobs else ())

    def put_cohort(self, record: ExportJobRecord, version: int, patients: Iterable[str]) -> None:
        who: set[str] = set()
        with self._lock:
            self._tagged(record.id, version)
        for chunk in rules.chunks(patients):
            with self._lock:
                self._tagged(record.id, version)
            who.update(chunk)
        with self._lock:
            self._tagged(record.id, version).cohort = tuple(sorted(who))

    def cohort(self, job_id: str) -> Iterator[str]:
        with self._lock:
            return iter(self._jobs[job_id].cohort if job_id in self._jobs else ())

    def carry_named(self, record: ExportJobRecord, version: int) -> None:
        with self._lock:
            row = self._tagged(record.id, version)
            if record.continues in self._jobs:
                row.named = dict.fromkeys(self._jobs[record.continues].named, 0) | row.named

    def named(self, job_id: str, round: int) -> Iterator[tuple[str, bool]]:  # noqa: A002 - the protocol's word
        with self._lock:
            names = self._jobs[job_id].named if job_id in self._jobs else {}
            return iter(sorted((name, here > 0) for name, here in names.items() if (here or 1) == round))

    def cancel(self, job_id: str) -> ExportJobRecord:
        with self._lock:
            return self._save(steps.cancel(rules.visible(self._find(job_id), job_id), self.now()))

    def resume(self, job_id: str) -> ExportJobRecord:
        with self._lock:
            return self._save(steps.resume(rules.visible(self._find(job_id), job_id)))

    def delete(self, job_id: str, *, keep_files: bool = False) -> ExportJobRecord:
        with self._lock:
            record = rules.visible(self._find(job_id), job_id)
            return self._save(steps.delete(record, self.now(), keep_files=keep_files))

    def acquire_cleanup(self, limit: int, *, lease: float, job_id: str | None = None) -> Sequence[ExportJobRecord]:
        with self._lock:
            now = self.now()
            due = [
                (record.cleanup_due, arrival, record)
                for arrival, record in enumerate(map(_Job.read, self._jobs.values()))
                if record.finished
                and record.cleanup_due is not None
                and record.cleanup_due <= now
                and (job_id is None or record.id == job_id)
            ]
            due.sort(key=lambda entry: entry[:2])
            return tuple(
                self._save(rules.lease_cleanup(record, now, lease)) for _due, _arrival, record in due[: max(0, limit)]
            )

    def cleaned(self, job_id: str, *, again_at: Instant | None) -> None:
        with self._lock:
            record = self._find(job_id)
            if record is None or not rules.cleanup_leased(record, self.now()):
                return
            if record.deleted and again_at is None:
                del self._jobs[job_id]
            else:
                self._save(rules.cleaned(record, again_at))

    def prune(self, before: Instant) -> Sequence[str]:
        with self._lock:
            held = {record.continues for record in self._by_age() if not record.finished}
            old = (record.id for record in self._by_age() if rules.prunable(record, before))
            gone = tuple(job_id for job_id in old if job_id not in held)
            for job_id in gone:
                del self._jobs[job_id]
            return gone

    def close(self) -> None:
        """Nothing to give back; what it holds stays readable."""

    def _insert(self, job_id: str, document: str, listed: tuple[str, ...]) -> ExportJobRecord:
        if job_id in self._jobs:
            raise JobConflict(f"job {job_id} is in the ledger already")
        self._jobs[job_id] = _Job(document=document, listed=listed)
        return self._jobs[job_id].read()

    def _tagged(self, job_id: str, version: int) -> _Job:
        row = self._jobs.get(job_id)
        if row is None or row.version != version:
            raise rules.refused(self._find(job_id), job_id)
        return row

    def _find(self, job_id: str) -> ExportJobRecord | None:
        row = self._jobs.get(job_id)
        return None if row is None else row.read()

    def _by_age(self) -> Sequence[ExportJobRecord]:
        return sorted(map(_Job.read, self._jobs.values()), key=lambda record: record.queued_time)

    def _save(self, record: ExportJobRecord) -> ExportJobRecord:
        row = self._jobs[record.id]
        row.document, row.version, row.heartbeat = documents.write_record(record), row.version + 1, record.heartbeat
        return row.read()


def _check_files(job_id: str, files: Iterable[OutputFile], expected: int) -> None:
    kept = tuple(files)
    names = [each.name for each in kept if each.name]
    if len(kept) != expected or len({each.part for each in kept}) != expected or len(set(names)) != len(names):
        raise JobConflict(f"a file of job {job_id} is listed already")
