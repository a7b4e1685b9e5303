"""What must hold, no. 5: files and their folders are on the disk before the ledger lists them, and so is the ledger.

A whole export runs while every fsync is watched. What was flushed is what a power cut would leave: contents by inode and
size, names by the folder that was flushed with them inside.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from fhirferry import faultpoints
from fhirferry.clock import system_clock
from fhirferry.exporter import Exporter
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Partition
from fhirferry.model.request import ExportRequest
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import resource


class Disk:
    """What has been flushed. contents: size by inode. names: what a folder, by inode, held when it was flushed."""

    def __init__(self) -> None:
        self.contents: dict[int, int] = {}
        self.names: dict[int, set[str]] = {}

    def watched(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def flush(file: int) -> None:
            entry = os.fstat(file)
            names = set(os.listdir(file)) if stat.S_ISDIR(entry.st_mode) else None
            real(file)
            if names is None:
                self.contents[entry.st_ino] = entry.st_size
            else:
                # With what was seen before: two lanes may flush one folder, and finish in the other order.
                self.names[entry.st_ino] = names | self.names.get(entry.st_ino, set())

        return flush

    def holds(self, path: Path, top: Path) -> bool:
        """A power cut now would leave the file, whole, under this name."""
        entry = path.stat()
        above = [path, *path.parents]
        chain = above[: above.index(top)]
        return self.contents.get(entry.st_ino) == entry.st_size and all(
            step.name in self.names.get(step.parent.stat().st_ino, ()) for step in chain
        )


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    watched = Disk()
    monkeypatch.setattr(os, "fsync", watched.watched(os.fsync))
    monkeypatch.setattr(os, "fdatasync", watched.watched(os.fdatasync))
    return watched


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_the_ledger_lists_a_power_cut_leaves(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    store, out = tmp_path / "store.db", tmp_path / "some" / "where" / "out"
    with SqliteStore(str(store), clock=system_clock, create=True) as opened:
        opened.write([resource(f"{kind}/{n}", size=200) for kind in ("Patient", "Group") for n in range(200)])
    with closing(sqlite3.connect(store)) as db, db:
        db.execute("update body set body = null where key = (select min(key) from body)")  # an error file too
    seen: list[str] = []
    save = SqliteJobStore.commit

    def commit(
        jobs: SqliteJobStore,
        record: ExportJobRecord,
        version: int,
        *,
        partitions: Iterable[Partition] = (),
        files: Iterable[OutputFile] = (),
        references: Iterable[tuple[int, str]] = (),
    ) -> ExportJobRecord:
        # What this transaction lists, not whatever lies in the folder: the other lane's file is still being written.
        listed = list(files)
        parts = [path for file in listed for path in out.rglob(Path(file.part).name)]
        assert len(parts) == len(listed)
        assert [path for path in parts if not disk.holds(path, tmp_path)] == []
        seen.extend(["part"] * len(parts))
        return save(jobs, record, version, partitions=partitions, files=listed, references=references)

    def look(point: str) -> None:
        if point == "sums-written":  # the manifest comes after this: its presence means that all is there
            assert [path for path in out.rglob("*.ndjson*") if not disk.holds(path, tmp_path)] == []
        elif point == "completed":
            files = [path for path in out.rglob("*") if path.is_file()]
            assert [path for path in files if not disk.holds(path, tmp_path)] == []
            assert {"manifest.json", "SHA256SUMS"} < {path.name for path in files}
            seen.extend(["file"] * len(files))

    monkeypatch.setattr(SqliteJobStore, "commit", commit)
    monkeypatch.setattr(faultpoints, "armed", look)
    with closing(Exporter(ledger=f"sqlite://{tmp_path}/ledger.db", poll=0.01)) as exporter:
        job = exporter.start(
            ExportRequest(),
            source=f"sqlite://{store}",
            destination=f"file://{out}",
            settings=JobSettings(max_file_size=10_000, page_resources=20, compression=compression),
        )
        record = exporter.worker().run_job(job.id)
        assert record.status is JobStatus.COMPLETED, record.failure
    assert seen.count("part") > 8
    assert seen.count("file") > 10


def test_store_and_ledger_flush_every_commit(tmp_path: Path) -> None:
    """synchronous = FULL: with WAL an fsync a commit; NORMAL would lose the last ones in a power cut."""
    with (
        SqliteStore(str(tmp_path / "store.db"), clock=system_clock, create=True) as store,
        closing(SqliteJobStore(tmp_path / "ledger.db", clock=system_clock)) as jobs,
    ):
        for db in (store._db, jobs._db):
            assert db.execute("pragma synchronous").fetchone() == (2,)
            assert db.execute("pragma journal_mode").fetchone()[0] in ("wal", b"wal")
