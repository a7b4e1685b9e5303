"""What must hold, no. 3: what goes wrong is retried or fails as it should, and the message says what to do.

Real disks that are full, real files that are damaged, real locks. Whatever happens: no file is listed that is not
whole, no traceback, and no resource content anywhere but in data files.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fhirferry.clock import system_clock
from fhirferry.engine.connections import Connections
from fhirferry.exporter import Exporter, open_destination
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.model.errors import StoreBusy
from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
from fhirferry.model.partition import Page
from fhirferry.model.request import ExportRequest
from fhirferry.sources.store import StoreSource
from tests.acceptance.ferrying import (
    FAULTY,
    SCRIPT,
    Ran,
    exported,
    ferry,
    lines_of,
    measured,
    stored,
)

Start = Callable[..., "subprocess.Popen[bytes]"]
CANARY = "Zq7Kanari"


def fill(at: Path, count: int, size: int = 1000, name: str = "store.db") -> Path:
    """A store with `count` Patients of about `size` bytes."""
    file = at / "Patient.ndjson"
    with file.open("w") as lines:
        for number in range(count):
            pad = f"{CANARY}{number}".ljust(size, "x")
            lines.write(json.dumps({"resourceType": "Patient", "id": f"p{number}", "pad": pad}) + "\n")
    assert ferry("import", file, "--store", at / name).code == 0
    file.unlink()
    return at / name


def tamper(store: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(store)) as db, db:
        db.execute(statement, parameters)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`disk("size=4m")` mounts a small disk, or mounts it again with other options."""
    at = tmp_path / "disk"

    def mount(options: str) -> Path:
        again = "remount," if at.exists() else ""
        at.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", again + options, "fhirferry-test", str(at)], check=False)
        if done.returncode:
            at.rmdir()
            pytest.skip("mounting a small disk is not allowed here")
        return at

    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("needs a tmpfs")
    yield mount
    if at.exists():
        subprocess.run(["umount", str(at)], check=True)


def only_job(ledger: Path) -> ExportJobRecord:
    with closing(SqliteJobStore(ledger, clock=system_clock)) as jobs:
        (record,) = jobs.list()
    return record


def assert_listed_files_are_whole(ledger: Path, out: Path) -> int:
    """Every file in the ledger is at the destination, with its checksum, and no other has a visible name."""
    with closing(SqliteJobStore(ledger, clock=system_clock)) as jobs:
        (record,) = jobs.list()
        files = jobs.files(record.id)
    for file in files:
        assert hashlib.sha256((out / file.name).read_bytes()).hexdigest() == file.sha256
    assert {path.name for path in out.glob("*.ndjson*")} == {file.name for file in files}
    return len(files)


def wait_for(stream: object, text: bytes) -> bytes:
    """Read lines until one holds `text`."""
    said = b""
    for line in stream:  # type: ignore[attr-defined]
        said += line
        if text in line:
            return said
    pytest.fail(f"the child ended without {text!r}: {said!r}")


# The disk


def test_a_full_disk_is_retried_and_the_same_command_completes_when_there_is_room(
    tmp_path: Path, disk: Callable[[str], Path], start: Start
) -> None:
    store, ledger = fill(tmp_path, 6000), tmp_path / "ledger.db"
    small = disk("size=4m")
    out = small / "out"
    command = ["export", "--from", str(store), "--to", str(out), "--ledger", str(ledger), "--max-file-size", "1MB"]
    child = start([SCRIPT, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = wait_for(child.stderr, b"retriable: ")
    assert b"No space left on device; free some space, the job will be tried again" in said
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 6
    record = only_job(ledger)
    assert record.status in (JobStatus.RETRIABLE, JobStatus.QUEUED)
    assert record.failure is not None
    assert "free some space" in record.failure.reason
    assert assert_listed_files_are_whole(ledger, out) >= 2
    assert not (out / "manifest.json").exists()
    shown = ferry("jobs", "show", record.id, "--ledger", ledger)
    assert "free some space" in shown.out
    assert "fhirferry export --from" in shown.out
    disk("size=64m")
    again = ferry(*command)
    assert (again.code, "Resuming" in again.err) == (0, True), again.err
    assert only_job(ledger).transaction_time == record.transaction_time
    assert exported(out) == stored(store)
    assert ferry("verify", out, "--against", store).code == 0
    assert not list((out / ".fhirferry").rglob("*.part"))


def test_a_full_disk_under_the_store_stops_an_import_that_can_be_repeated(
    tmp_path: Path, disk: Callable[[str], Path]
) -> None:
    file = tmp_path / "Patient.ndjson"
    with file.open("w") as lines:
        for number in range(20_000):
            lines.write(f'{{"resourceType":"Patient","id":"{number}","pad":"{CANARY * 40}"}}\n')
    store = disk("size=5m") / "store.db"
    full = ferry("import", file, "--store", store)
    assert full.code == 1
    assert "is the disk full?" in full.err
    assert CANARY not in full.err + full.out
    disk("size=64m")
    again = ferry("import", file, "--store", store, "--json")
    assert again.code == 0, again.err
    assert again.lines[-1]["new"] + again.lines[-1]["equal"] == 20_000
    assert len(stored(store)) == 20_000


def test_a_full_disk_under_the_ledger_is_told_and_nothing_is_lost(
    tmp_path: Path, disk: Callable[[str], Path], start: Start
) -> None:
    store, small = fill(tmp_path, 300), disk("size=2m")
    ledger, out = small / "ledger.db", tmp_path / "out"
    assert ferry("export", "--from", store, "--to", out, "--ledger", ledger, "--detach", "--page-size", "10").code == 0
    with (small / "filler").open("wb", buffering=0) as filler:
        assert filler.write(bytes(4_000_000)) < 4_000_000  # what fits
    full = ferry("export", "--from", store, "--to", out, "--ledger", ledger, "--page-size", "10")
    assert full.code in (1, 6)
    assert "disk full" in full.err
    (small / "filler").unlink()
    again = ferry("export", "--from", store, "--to", out, "--ledger", ledger, "--page-size", "10")
    assert again.code == 0, again.err
    assert exported(out) == stored(store)


@pytest.mark.parametrize("below", ["", "/deep/er"])
def test_a_destination_below_a_file_is_refused(tmp_path: Path, below: str) -> None:
    store = fill(tmp_path, 3)
    (tmp_path / "file").write_text("mine")
    refused = ferry("export", "--from", store, "--to", f"{tmp_path}/file{below}", at=tmp_path)
    assert refused.code == 2
    assert "a part of the path is a file" in refused.err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_destination_is_refused_and_fails_a_job_that_is_queued(
    tmp_path: Path, disk: Callable[[str], Path]
) -> None:
    store, ledger = fill(tmp_path, 3), tmp_path / "ledger.db"
    out = disk("size=4m") / "out"
    queued = ("export", "--from", store, "--to", out, "--ledger", ledger)
    assert ferry(*queued, "--detach").code == 0
    disk("ro")
    refused = ferry(*queued, "--new")
    assert refused.code == 2
    assert "mounted read-only; give another folder" in refused.err
    worked = ferry("worker", "--ledger", ledger, "--until-idle")
    assert worked.code == 1
    record = only_job(ledger)
    assert record.status is JobStatus.FAILED
    shown = ferry("jobs", "show", record.id, "--ledger", ledger).out
    assert "mounted read-only" in shown
    assert f"fhirferry jobs retry {record.id}" in shown
    disk("rw")
    assert ferry("jobs", "retry", record.id, "--ledger", ledger).code == 0
    assert ferry("worker", "--ledger", ledger, "--until-idle").code == 0
    assert exported(out) == stored(store)


# The store


def test_a_store_that_is_missing_or_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database\n" * 1000)
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("create table t (x)")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    for name, said in {
        "nowhere.db": "there is no store at",
        "text": "is not a fhirferry store",
        "other.db": "is not a fhirferry store",
        "empty": "is not a fhirferry store",
        "folder": "there is no store at",
    }.items():
        refused = ferry("export", "--from", tmp_path / name, "--to", tmp_path / "out", at=tmp_path)
        assert refused.code == 2, name
        assert said in refused.err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["plain", "check"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_store_with_overwritten_pages_fails_or_names_what_is_lost(
    tmp_path: Path, seed: int, check: tuple[str, ...]
) -> None:
    """Never less in silence: what is neither exported nor named in the error file, the job must have failed for."""
    store = fill(tmp_path, 4000, 500)
    whole = stored(store)
    chance = random.Random(seed)
    with store.open("r+b") as file:
        pages = store.stat().st_size // 16384
        for page in chance.sample(range(pages // 4, pages), 3):
            file.seek(page * 16384)
            file.write(chance.randbytes(16384))
    out = tmp_path / "out"
    done = ferry("export", "--from", store, "--to", out, *check, at=tmp_path)
    assert done.code in (1, 3), done.err
    if done.code == 1:
        assert "is damaged" in done.err
        assert "restore a backup" in done.err
        assert only_job(tmp_path / "fhirferry-data" / "ledger.db").failure_count == 1  # trying again cannot help
        assert not (out / "manifest.json").exists()
        return
    found = exported(out)
    named = {name for line in lines_of(out, "error") for name in whole if f"{name} " in line.decode()}
    assert found.items() <= whole.items()
    assert whole.keys() - found.keys() <= named


UNREADABLE = {
    "no JSON any more": "update body set body = '{' || substr(body, 2, 20) || '}' where key = ?",
    "no object": "update body set body = '[1]' where key = ?",
    "NULL": "update body set body = null where key = ?",
    "no row": "delete from body where key = ?",
    "longer than the index says": "update body set body = substr(body, 1, length(body) - 1) || ' }' where key = ?",
    "invalid UTF-8": "update body set body = cast(substr(cast(body as blob), 1, 60) || x'ff' as text) || '\"}' where key = ?",
    "a number": "update body set body = 7 where key = ?",
    "two lines": "update body set body = replace(body, ',', char(10)) where key = ?",
    "empty": "update body set body = '' where key = ?",
    "another resource": "update body set body = (select min(body) from body) where key = ?",
}
SAME_SIZE = "update body set body = replace(body, '\"id\":', 'id\"\":') where key = ?"


@pytest.mark.parametrize("executor", ["inline", "threads:2", "processes:2"])
def test_resources_that_cannot_be_read_are_named_and_the_rest_completes_l34(tmp_path: Path, executor: str) -> None:
    store = fill(tmp_path, 500, 60)
    whole = stored(store)
    before = tmp_path / "before"
    assert ferry("export", "--from", store, "--to", before, at=tmp_path).code == 0
    with closing(sqlite3.connect(store)) as db:
        keys = [key for (key,) in db.execute("select key from version order by key")][10:300:20]
        names = [f"Patient/{ident}" for (ident,) in db.execute("select id from version order by key")][10:300:20]
    broken = dict(zip(UNREADABLE, zip(keys, names, strict=True), strict=False))
    for how, statement in UNREADABLE.items():
        tamper(store, statement, broken[how][0])
    bad = {name for _, name in broken.values()}

    out = tmp_path / "out"
    done = ferry("export", "--from", store, "--to", out, "--executor", executor, "--page-size", "10", at=tmp_path)
    assert done.code == 3, done.err
    found = exported(out)
    assert found.keys() == whole.keys() - bad
    assert found.items() <= whole.items()
    errors = [json.loads(line) for line in lines_of(out, "error")]
    assert {error["resourceType"] for error in errors} == {"OperationOutcome"}
    told = [issue["diagnostics"] for error in errors for issue in error["issue"]]
    assert sorted(name for name in bad for text in told if text.startswith(f"{name} ")) == sorted(bad)
    assert CANARY not in "".join(told)
    assert ferry("verify", out).code == 0
    shown = ferry("jobs", "show", ferry("jobs", "list", "--json", at=tmp_path).lines[-1]["id"], at=tmp_path).out
    assert f"{len(bad)}" in shown
    assert "error/OperationOutcome-1.ndjson" in shown
    assert next(iter(bad)).split("/")[0] in shown

    told_by_verify = ferry("verify", out, "--against", store, "--json")
    assert told_by_verify.code in (0, 5)
    past = ferry("verify", before, "--against", store, "--json")
    assert past.code == 5, past.out
    assert {line["key"] for line in past.lines if line["type"] == "finding"} == bad


def test_check_finds_what_keeps_its_size_and_braces(tmp_path: Path) -> None:
    store = fill(tmp_path, 100, 60)
    tamper(store, SAME_SIZE, (1 << 40) + 8)
    assert ferry("export", "--from", store, "--to", tmp_path / "plain", at=tmp_path).code == 0
    seen = ferry("verify", tmp_path / "plain", "--against", store)
    assert seen.code == 4, seen.out  # the export could not see it, its proof does
    assert "Patient-1.ndjson" in seen.out
    assert CANARY not in seen.out
    checked = ferry("export", "--from", store, "--to", tmp_path / "checked", "--check", at=tmp_path)
    assert checked.code == 3
    assert len(exported(tmp_path / "checked")) == 99
    assert [b"Patient/p7 " in line for line in lines_of(tmp_path / "checked", "error")] == [True]


# Locks


@contextmanager
def locked(database: Path, how: str = "immediate") -> Iterator[Callable[[], None]]:
    """Another process locks the database for the block, or until the given function is called."""
    code = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "db.execute('pragma locking_mode = exclusive') if sys.argv[2] == 'exclusive' else None\n"
        "db.execute('begin ' + sys.argv[2])\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(database), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    release = child.stdin.close
    try:
        assert child.stdout.readline() == b"\n"
        yield release
    finally:
        release()
        child.wait(20)
        child.stdout.close()


@pytest.mark.parametrize("how", ["immediate", "exclusive"])
def test_a_locked_store_is_tried_again_until_it_is_free(tmp_path: Path, how: str) -> None:
    store, out = fill(tmp_path, 20), tmp_path / "out"
    statuses: list[tuple[JobStatus, str]] = []
    connections = Connections(
        lambda uri, check: StoreSource(uri.partition("://")[2], system_clock, check=check, timeout=0.2),
        open_destination,
    )
    with closing(
        Exporter(ledger=SqliteJobStore(tmp_path / "l.db", clock=system_clock), connections=connections, poll=0.02)
    ) as exporter:
        job = exporter.start(ExportRequest(), source=f"sqlite://{store}", destination=f"file://{out}")

        with locked(store, how) as release:

            def saw(record: ExportJobRecord) -> None:
                statuses.append((record.status, record.failure.reason if record.failure else ""))
                if record.status is JobStatus.RETRIABLE:
                    release()

            record = exporter.worker(on_progress=saw).run_job(job.id)
    assert record.status is JobStatus.COMPLETED, record.failure
    assert (JobStatus.RETRIABLE, f"the store {store} is locked by another process") in statuses
    assert record.failure_count >= 1
    assert exported(out) == stored(store)


def test_a_store_that_stays_locked_is_told_at_kick_off(tmp_path: Path) -> None:
    store = fill(tmp_path, 20)
    with locked(store, "exclusive"):
        source = StoreSource(str(store), system_clock, timeout=0.2)
        with pytest.raises(StoreBusy, match="locked by another process"):
            source.totals(ExportRequest(), system_clock())
        source.close()


def test_a_locked_ledger_is_waited_for(tmp_path: Path) -> None:
    store, out, ledger = fill(tmp_path, 200), tmp_path / "out", tmp_path / "ledger.db"
    assert ferry("export", "--from", store, "--to", out, "--ledger", ledger, "--detach").code == 0
    with locked(ledger) as release:
        threading.Timer(1.5, release).start()
        began = time.monotonic()
        done = ferry("export", "--from", store, "--to", out, "--ledger", ledger)
        assert done.code == 0, done.err
        assert time.monotonic() - began > 1
    assert exported(out) == stored(store)


@pytest.mark.parametrize(("seconds", "failures"), [(0.5, 0), (2.0, 1)])
def test_a_ledger_locked_in_mid_export_costs_a_retry_and_nothing_else(
    tmp_path: Path, seconds: float, failures: int
) -> None:
    """Its time-out is a tenth of a second here. A good result waits a while; then the job is retriable."""
    store, out, ledger = fill(tmp_path, 200), tmp_path / "out", tmp_path / "ledger.db"
    from fhirferry import faultpoints

    with closing(SqliteJobStore(ledger, clock=system_clock, timeout=0.1)) as jobs:
        exporter = Exporter(ledger=jobs, poll=0.02)
        job = exporter.start(
            ExportRequest(),
            source=f"sqlite://{store}",
            destination=f"file://{out}",
            settings=JobSettings(page_resources=50, pages_per_commit=1),
        )
        said: list[str] = []
        seen: list[str] = []
        with late_lock(ledger, seen, seconds) as armed:
            faultpoints.armed = armed
            try:
                record = exporter.worker(log=said.append).run_job(job.id)
            finally:
                faultpoints.armed = None
    assert seen.count("unit-finished") == 4 + failures
    assert record.status is JobStatus.COMPLETED, record.failure
    assert record.failure_count == failures
    assert any("is locked by another process" in line for line in said)
    assert exported(out) == stored(store)


@contextmanager
def late_lock(ledger: Path, seen: list[str], seconds: float) -> Iterator[Callable[[str], None]]:
    """Locks the ledger at the second finished unit, for so long."""
    db = sqlite3.connect(ledger, isolation_level=None, check_same_thread=False)
    timers: list[threading.Timer] = []

    def armed(point: str) -> None:
        seen.append(point)
        if point == "unit-finished" and seen.count(point) == 2:
            db.execute("begin immediate")
            timers.append(threading.Timer(seconds, db.rollback))
            timers[0].start()

    try:
        yield armed
    finally:
        for timer in timers:
            timer.join()
        db.close()


# The unexpected


def kick_off(store: Path, ledger: Path, out: Path, **settings: object) -> str:
    with closing(Exporter(ledger=f"sqlite://{ledger}")) as exporter:
        return exporter.start(
            ExportRequest(),
            source=f"sqlite://{store}",
            destination=f"file://{out}",
            settings=JobSettings(**settings),  # type: ignore[arg-type]
        ).id


@pytest.mark.parametrize("executor", ["inline", "processes:1"])
def test_s63_an_unexpected_error_is_unknown_to_the_client_and_final_at_the_threshold(
    tmp_path: Path, executor: str
) -> None:
    store, ledger, out = fill(tmp_path, 20), tmp_path / "ledger.db", tmp_path / "out"
    job = kick_off(store, ledger, out, failure_threshold=1, unit_attempts=1)
    failed = faulty("page-read:1:raise", "export", "--from", store, "--to", out, "--ledger", ledger, executor=executor)
    assert failed.code == 1
    assert "Unknown error" in failed.err
    assert "InjectedFault" in failed.err  # where it happened is for the operator, who sits here
    assert f"fhirferry jobs retry {job}" in failed.err
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob("*.ndjson"))
    assert ferry("jobs", "retry", job, "--ledger", ledger).code == 0
    assert ferry("export", "--from", store, "--to", out, "--ledger", ledger).code == 0
    assert exported(out) == stored(store)


def test_s63_below_the_threshold_an_unexpected_error_is_tried_again(tmp_path: Path) -> None:
    store, ledger, out = fill(tmp_path, 20), tmp_path / "ledger.db", tmp_path / "out"
    kick_off(store, ledger, out, failure_threshold=2, unit_attempts=1)
    done = faulty("page-read:1:raise", "export", "--from", store, "--to", out, "--ledger", ledger)
    assert done.code == 0, done.err
    assert "retriable: Unknown error" in done.err
    assert only_job(ledger).failure_count == 1
    assert exported(out) == stored(store)


def faulty(fault: str, *arguments: object, executor: str = "inline") -> Ran:
    done = subprocess.run(
        [*FAULTY, *map(str, arguments), "--executor", executor],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env={**os.environ, "FHIRFERRY_FAULT": fault},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


# Content stays in data files


def test_l29_no_resource_content_in_any_output_ledger_or_other_file(tmp_path: Path) -> None:
    """Also with --debug, which prints tracebacks."""
    lines = tmp_path / "in.ndjson"
    with lines.open("wb") as file:
        for number in range(50):
            file.write(b'{"resourceType":"Patient","id":"p%d","name":[{"family":"%s"}]}\n' % (number, CANARY.encode()))
        for bad in (
            b'{"resourceType":"Patient","id":"%s!","x":1}',
            b'{"resourceType":"%s/","id":"a"}',
            b'{"resourceType":"Patient","id":"a","meta":"%s"}',
            b'{"resourceType":"Patient","id":"a","meta":{"lastUpdated":"%s"}}',
            b'{"resourceType":"Patient","id":"a","b":"%s","b":"%s"}',
            b'{"resourceType":"Patient","id":"a","b":"%s',
            b"%s",
            b'{"resourceType":"Patient","id":"a","b":"%s\xff"}',
            b'{"resourceType":"Bundle","type":"collection","id":"b","entry":[{"resource":{"resourceType":"%s "}}]}',
            b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"DELETE","url":"%s"}}]}',
            b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","id":"%s_"}}]}',
        ):
            file.write(bad.replace(b"%s", CANARY.encode()) + b"\n")
    store, ledger = tmp_path / "store.db", tmp_path / "ledger.db"
    told = ""

    def run(code: int, *arguments: object, fault: str = "") -> None:
        nonlocal told
        done = subprocess.run(
            [*FAULTY, *map(str, arguments), "--debug"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "FHIRFERRY_FAULT": fault} if fault else os.environ.copy(),
        )
        assert done.returncode == code, (arguments, done.stderr)
        told += done.stdout + done.stderr

    def export(code: int, to: str, *more: object, fault: str = "") -> None:
        run(code, "export", "--from", store, "--to", tmp_path / to, "--ledger", ledger, *more, fault=fault)

    run(3, "import", lines, "--store", store)
    export(0, "good")
    kick_off(store, ledger, tmp_path / "raised", failure_threshold=1, unit_attempts=1)
    export(1, "raised", fault="page-written:1:raise")
    run(0, "verify", tmp_path / "good", "--against", store)
    for key, statement in enumerate(UNREADABLE.values(), (1 << 40) + 2):
        tamper(store, statement, key)
    tamper(store, SAME_SIZE, (1 << 40) + 40)
    export(3, "tampered", "--page-size", "20")
    export(3, "checked", "--check", "--executor", "processes:1")
    run(4, "verify", tmp_path / "tampered", "--against", store)
    with (tmp_path / "good" / "Patient-1.ndjson").open("r+") as file:
        file.write("}{")
    run(4, "verify", tmp_path / "good", "--against", store, "--json")
    run(0, "jobs", "list", "--ledger", ledger, "--json")
    for job in {
        json.loads(line)["id"] for line in ferry("jobs", "list", "--ledger", ledger, "--json").out.splitlines()
    }:
        run(0, "jobs", "show", job, "--ledger", ledger)
    with store.open("r+b") as file:
        file.seek(16384)
        file.write(CANARY.encode() * 30_000)
    for suffix in ("-wal", "-shm"):
        Path(f"{store}{suffix}").unlink(missing_ok=True)
    damaged = ferry("export", "--from", store, "--to", tmp_path / "damaged", "--ledger", ledger)
    assert damaged.code in (1, 2)
    told += damaged.out + damaged.err

    assert CANARY not in told
    data = {path for folder in ("good", "tampered", "checked") for path in (tmp_path / folder).glob("*.ndjson")}
    read = 0
    for path in tmp_path.rglob("*"):
        if path.is_file() and path not in data | {lines} and not path.name.startswith("store.db"):
            assert CANARY.encode() not in path.read_bytes(), path
            read += 1
    assert read > 10


def test_l29_an_unexpected_error_that_quotes_a_resource_is_kept_without_its_words(tmp_path: Path) -> None:
    store, ledger, out = fill(tmp_path, 3), tmp_path / "ledger.db", tmp_path / "out"
    said: list[str] = []

    class Quoting(StoreSource):
        def read(self, *arguments: Any) -> Page:
            raise ValueError(super().read(*arguments).body.decode())

    connections = Connections(lambda uri, check: Quoting(str(store), system_clock, check=check), open_destination)
    with closing(Exporter(ledger=f"sqlite://{ledger}", connections=connections, poll=0.01)) as exporter:
        job = exporter.start(
            ExportRequest(),
            source=f"sqlite://{store}",
            destination=f"file://{out}",
            settings=JobSettings(failure_threshold=1, unit_attempts=2),
        )
        record = exporter.worker(log=said.append).run_job(job.id)
    assert record.status is JobStatus.FAILED
    assert record.failure is not None
    assert record.failure.reason == "Unknown error"
    assert "ValueError" in record.failure.details
    assert said
    assert CANARY not in "".join(said) + repr(record)
    for path in [ledger, *out.rglob("*")]:
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()


# Memory


def test_l7_a_resource_of_25_mb_passes_everywhere_in_256_mb(tmp_path: Path) -> None:
    lines, store = tmp_path / "in.ndjson", tmp_path / "store.db"
    with lines.open("w") as file:
        for number in range(3):
            data = "QUJD" * 6_250_000 if number else "QUé😀" * 3_125_000  # text need not be ASCII
            file.write(f'{{"resourceType":"Binary","id":"b{number}","contentType":"image/png","data":"{data}"}}\n')
        for number in range(2000):
            file.write(f'{{"resourceType":"Binary","id":"s{number}","data":"{"QUJD" * 200}"}}\n')
    peaks: dict[str, int] = {}

    def run(what: str, *arguments: object, code: int = 0) -> None:
        done = measured(tmp_path, *arguments)
        assert done.code == code, done.err
        peaks[what] = done.rss // 1_000_000

    ledger = ("--ledger", tmp_path / "ledger.db")
    run("import", "import", lines, "--store", store)
    run("inline", "export", "--from", store, "--to", tmp_path / "a", *ledger)
    run("processes", "export", "--from", store, "--to", tmp_path / "b", *ledger, "--executor", "processes:2")
    run("gzip", "export", "--from", store, "--to", tmp_path / "c", *ledger, "--compress", "gzip")
    run("check", "export", "--from", store, "--to", tmp_path / "d", *ledger, "--check")
    run("verify", "verify", tmp_path / "c")
    run("against", "verify", tmp_path / "a", "--against", store)
    run("import gzip", "import", tmp_path / "c", "--store", tmp_path / "copy.db")
    run("import equal", "import", lines, "--store", store)
    print(peaks)
    assert {what: peak for what, peak in peaks.items() if peak >= 256} == {}
    assert stored(tmp_path / "copy.db") == stored(store)
    assert exported(tmp_path / "a") == stored(store)


@pytest.mark.parametrize("megabytes", [200, pytest.param(2000, marks=pytest.mark.soak)])
def test_an_ordinary_store_passes_in_150_mb(tmp_path: Path, megabytes: int) -> None:
    """Bounded by bytes: the same limit at any size."""
    lines, store = tmp_path / "in.ndjson", tmp_path / "store.db"
    pad = "lorem ipsum " * 400
    with lines.open("w") as file:
        for number in range(megabytes * 205):
            file.write(f'{{"resourceType":"Observation","id":"o{number}","note":[{{"text":"{pad}"}}]}}\n')
    peaks: dict[str, int] = {}
    out = tmp_path / "out"
    for what, arguments in {
        "import": ("import", lines, "--store", store),
        "export": ("export", "--from", store, "--to", out, "--ledger", tmp_path / "ledger.db"),
        "verify": ("verify", out),
        "against": ("verify", out, "--against", store),
    }.items():
        done = measured(tmp_path, *arguments)
        assert done.code == 0, done.err
        peaks[what] = done.rss // 1_000_000
        if what == "import":
            lines.unlink()
    print(peaks)
    assert {what: peak for what, peak in peaks.items() if peak >= 150} == {}
