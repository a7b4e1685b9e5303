"""Several processes on one ledger: sharing jobs, giving them back, cancelling and deleting under each other's hands."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fhirferry.model.job import JobStatus
from tests.acceptance.crashing import CLEANING, Child, Export, Ground, here, processes, wait_until

EXECUTORS = pytest.mark.parametrize("executor", ["threads:2", "processes:2"])
SLOW = ("--limit-rate", "700kB", "--heartbeat-timeout", "2s")
"""About three seconds, and a beat every half second."""


def committed(export: Export) -> bool:
    return bool(export.records()) and export.record().partitions_done > 1


def test_two_workers_share_four_jobs_and_each_is_done_once(ground: Ground, tmp_path: Path) -> None:
    exports = []
    for n in range(4):
        (tmp_path / f"{n}").mkdir()
        exports.append(Export(ground, tmp_path / f"{n}"))
        exports[n].ledger = tmp_path / "ledger.db"
        assert here(*exports[n].command("--detach", "--limit-rate", "3MB")).exit_code == 0
    first = exports[0]
    try:
        workers = [first.start(first.worker("--until-idle", "--json")) for _ in range(2)]
        done = [completed(worker) for worker in workers]
    finally:
        first.end()
    assert done[0]
    assert done[1]
    assert sorted([*done[0], *done[1]]) == sorted(export.record().id for export in exports)
    records = {export.record().id: export.record() for export in exports}
    assert {record.epoch for record in records.values()} == {1}
    spans = [[(records[job].start_time or 0, records[job].end_time or 0) for job in jobs] for jobs in done]
    assert any(a[0] < b[1] and b[0] < a[1] for a in spans[0] for b in spans[1]), "they took turns"
    for export in exports:
        export.assert_complete()


def completed(worker: Child) -> list[str]:
    out, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    return [line["id"] for line in lines if line["status"] == "completed"]


@EXECUTORS
def test_sigterm_makes_a_worker_give_its_job_back_soon(export: Export, executor: str) -> None:
    """Within the ten seconds that Docker gives, also from the middle of a long unit; what that has so far is committed."""
    assert here(*export.command("--detach", "--max-file-size", "50MB", "--limit-rate", "40kB")).exit_code == 0
    worker = export.start(export.worker("--executor", executor))
    wait_until(lambda: any(part.stat().st_size for part in export.out.rglob("*.part")), "no unit ever wrote")
    worker.send_signal(signal.SIGTERM)
    start = time.monotonic()
    _, err = worker.communicate(timeout=60)
    assert time.monotonic() - start < 5
    assert worker.returncode == 6, err
    seen = export.seen()
    assert (seen.record.status, seen.record.holder, seen.record.failure_count) == (JobStatus.QUEUED, None, 0)
    assert sum(line.count(b"\n") for line in export.contents().values()) == seen.record.resources + 1  # and the mark's
    assert seen.record.resources > 0
    assert set(export.contents()) == {*seen.files, ".fhirferry/job"}, "a part was left"


@EXECUTORS
def test_cancel_by_another_process_ends_the_export_and_leaves_nothing(export: Export, executor: str) -> None:
    child = export.start(export.command(*SLOW, "--executor", executor))
    wait_until(lambda: committed(export), "it never committed")
    (export.out / "mine.txt").write_text("mine")
    job = export.record().id
    assert here("jobs", "cancel", job, "--ledger", export.ledger).exit_code == 0
    _, err = child.communicate(timeout=20)
    assert child.returncode == 1
    assert f"job {job} was canceled; its files are removed" in err
    assert "Traceback" not in err
    assert export.record().status is JobStatus.CANCELED
    wait_until(lambda: not processes(export.marker), "it left a process behind", timeout=2)
    assert export.listing() == {"mine.txt"}
    assert export.run(export.command()).returncode == 0, "the folder is free again"


@EXECUTORS
def test_delete_by_another_process_while_it_runs(export: Export, executor: str) -> None:
    child = export.start(export.command(*SLOW, "--executor", executor))
    wait_until(lambda: committed(export), "it never committed")
    assert here("jobs", "delete", export.record().id, "--yes", "--ledger", export.ledger).exit_code == 0
    _, err = child.communicate(timeout=20)
    assert (child.returncode, "was deleted while it ran" in err) == (1, True)
    assert "Traceback" not in err
    export.clean_up_later(200)
    assert (export.listing(), export.records()) == (set(), [])


def test_delete_of_a_finished_job_leaves_its_neighbours(export: Export) -> None:
    (export.out / "deleted").mkdir(parents=True)
    for name in ("mine.txt", "Patient-1.csv", "deleted/mine.txt"):
        (export.out / name).write_text("mine")
    assert export.run(export.command()).returncode == 0
    assert here("jobs", "delete", export.record().id, "--yes", "--ledger", export.ledger).exit_code == 0
    assert export.listing() == {"mine.txt", "Patient-1.csv", "deleted", "deleted/mine.txt"}
    assert export.records() == []


@pytest.mark.parametrize("point", CLEANING)
def test_killed_in_a_delete_and_a_worker_ends_it(export: Export, point: str) -> None:
    assert export.run(export.command()).returncode == 0
    delete = ["jobs", "delete", export.record().id, "--yes", "--ledger", str(export.ledger)]
    assert export.run(delete, fault=f"{point}:1:kill").returncode == -signal.SIGKILL
    export.clean_up_later(200)
    assert (export.listing(), export.records()) == (set(), [])


@pytest.mark.parametrize("point", ["commit-before:2", "commit-after:2", "published:2", "sealed:1", "sums-written:1"])
def test_cancelled_while_its_holder_is_stopped_at_a_point(export: Export, point: str) -> None:
    """It wakes up in a folder that is not its own any more, and leaves nothing there."""
    sleeper = export.stopped(export.command(), f"{point}:stop")
    assert here("jobs", "cancel", export.record().id, "--ledger", export.ledger).exit_code == 0
    assert export.listing() == set()
    sleeper.send_signal(signal.SIGCONT)
    _, err = sleeper.communicate(timeout=20)
    assert (sleeper.returncode, "Traceback" in err) == (1, False)
    assert export.listing() == set()
