"""Tools of the crash tests: a small store, one export of it that is broken on purpose, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from fhirferry.cli.main import program
from fhirferry.clock import system_clock
from fhirferry.exporter import Exporter
from fhirferry.faultpoints import POINTS
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.model.instant import SECOND
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.output import OutputFile
from fhirferry.store.sqlite import SqliteStore
from tests.conftest import end

FAULTY = [sys.executable, "-m", "fhirferry.testing.faulty"]
Run = subprocess.CompletedProcess[str]
Child = subprocess.Popen[str]
SIZES = {"Condition": 450, "DocumentReference": 60, "Encounter": 500, "Observation": 1200, "Patient": 500, "Group": 40}
CLEANING = [point for point in POINTS if point.startswith("cleanup-")]
CUT = ["--max-file-size", "250kB", "--page-size", "100"]
"""So that there are several partitions, files and commits, units of one page and of many; some resources are larger."""


class Ground(NamedTuple):
    """store: a file that nobody writes any more. lines: of an undisturbed export of it. seconds: that export took."""

    store: Path
    lines: Counter[bytes]
    seconds: float


def here(*arguments: object) -> Result:
    """A command in this process, where nothing depends on one of its own."""
    return CliRunner().invoke(program, [str(a) for a in arguments], catch_exceptions=False)


@cache
def _ground(folder: Path) -> Ground:
    folder.mkdir()
    held: dict[tuple[str, str], int] = {}
    for version in (1, 2):  # every seventh has a second version
        for kind, count in SIZES.items():
            with (folder / f"{kind}.{version}.ndjson").open("w") as file:
                for n in range(0, count, 1 if version == 1 else 7):
                    large = 260_000 if kind == "DocumentReference" and n % 25 == 3 else n * 37 % 600
                    held[kind, f"{n}"] = version
                    line = {"resourceType": kind, "id": f"{n}", "version": version, "text": {"div": "x" * large}}
                    file.write(json.dumps(line) + "\n")
        imported = here("import", *folder.glob(f"*.{version}.ndjson"), "--store", folder / "store.db")
        assert imported.exit_code == 0, imported.stderr
    gone = [key for n, key in enumerate(held) if n % 50 == 9]
    assert here("store", "delete", *map("/".join, gone), "--store", folder / "store.db").exit_code == 0
    start = time.monotonic()
    undisturbed = here("export", "--from", folder / "store.db", "--to", folder / "out", "--ledger", folder / "l.db")
    assert undisturbed.exit_code == 0, undisturbed.stderr
    lines = lines_of(folder / "out")
    wanted = {(*key, version) for key, version in held.items() if key not in gone}
    assert {(r["resourceType"], r["id"], r["version"]) for r in map(json.loads, lines)} == wanted
    assert lines.total() == len(wanted)
    return Ground(folder / "store.db", lines, time.monotonic() - start)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Made once per process, however many modules ask."""
    return _ground(tmp_path_factory.getbasetemp() / "crash-ground")


def lines_of(out: Path) -> Counter[bytes]:
    """Every line that whoever globs `*.ndjson` reads, with its number of times."""
    return Counter(line for path in out.glob("*.ndjson") for line in path.read_bytes().splitlines())


class Seen(NamedTuple):
    """An export at one moment. published: visible name -> (inode, time of change, bytes)."""

    record: ExportJobRecord
    files: dict[str, OutputFile]
    published: dict[str, tuple[int, int, bytes]]


class Export:
    """One export of the ground, in a folder of its own; its processes end with the test."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground = ground
        self.out = folder / "out"
        self.ledger = folder / "ledger.db"
        self.marker = f"crash-test-{os.getpid()}-{folder.name}"
        self._once = folder / "fault-happened"
        self._children: list[Child] = []

    def command(self, *more: str) -> list[str]:
        where = ["--from", str(self.ground.store), "--to", str(self.out), "--ledger", str(self.ledger)]
        return ["export", *where, *CUT, *more]

    def worker(self, *more: str) -> list[str]:
        return ["worker", "--ledger", str(self.ledger), "--poll", "20ms", *more]

    def start(self, command: list[str], fault: str | None = None) -> Child:
        """The command as a process, leader of a group of its own; with a fault, which happens once over all processes."""
        env = {**os.environ, "CRASH_MARKER": self.marker}
        if fault:
            self._once.unlink(missing_ok=True)
            env |= {"FHIRFERRY_FAULT": fault, "FHIRFERRY_FAULT_ONCE": str(self._once)}
        child = subprocess.Popen(
            [*FAULTY, *command],
            env=env,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._children.append(child)
        return child

    def run(self, command: list[str], fault: str | None = None) -> Run:
        child = self.start(command, fault)
        out, err = child.communicate(timeout=60)
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    def stopped(self, command: list[str], fault: str) -> Child:
        """The command, with all its processes stopped (SIGSTOP) when it is at the fault.

        Its heartbeat's thread is stopped wherever it is. If that is inside of a ledger transaction, SQLite lets nobody
        else write before it wakes up or dies, which is another story: then it starts once more.
        """
        for _ in range(10):
            child = self.start(command, fault)
            self.wait_for_fault()
            # The one at the fault stops itself; had it still to do so, it would when it is woken, and for good.
            wait_until(lambda: "T" in map(state, processes(self.marker)), "it never stopped at the fault")
            os.killpg(child.pid, signal.SIGSTOP)
            wait_until(lambda: state(child.pid) == "T", "it never stopped")  # noqa: B023 - ends before the next round
            with closing(sqlite3.connect(self.ledger, timeout=0.1, isolation_level=None)) as ledger:
                try:
                    ledger.execute("begin immediate")
                    return child
                except sqlite3.OperationalError:
                    end(child)  # type: ignore[arg-type]
        pytest.fail("always stopped inside of a transaction")

    def wait_for_fault(self) -> None:
        """Until the armed fault happens."""
        wait_until(self._once.exists, "the fault never happened")

    def record(self) -> ExportJobRecord:
        """The only job that goes to this destination."""
        (record,) = self.records()
        return record

    def records(self) -> list[ExportJobRecord]:
        """All jobs that go to this destination; none while there is no ledger."""
        if not self.ledger.exists():
            return []
        with closing(SqliteJobStore(self.ledger, clock=system_clock)) as jobs:
            return [record for record in jobs.list() if record.destination_uri == f"file://{self.out}"]

    def seen(self) -> Seen:
        record = self.record()
        with closing(SqliteJobStore(self.ledger, clock=system_clock)) as jobs:
            files = {file.name: file for file in jobs.files(record.id)}
        published = {}
        for name in files:
            if (path := self.out / name).exists():
                status = path.stat()
                published[name] = (status.st_ino, status.st_mtime_ns, path.read_bytes())
        return Seen(record, files, published)

    def listing(self) -> set[str]:
        """Everything under the destination, empty folders too."""
        return {str(path.relative_to(self.out)) for path in self.out.rglob("*")}

    def contents(self) -> dict[str, bytes]:
        """Every file under the destination."""
        return {str(p.relative_to(self.out)): p.read_bytes() for p in self.out.rglob("*") if p.is_file()}

    def clean_up_later(self, seconds: float) -> None:
        """What a worker does when the lease of a clean-up that died has run out."""
        later = Exporter(ledger=f"sqlite://{self.ledger}", clock=lambda: system_clock() + int(seconds * SECOND))
        with closing(later):
            later.worker(max_jobs=100).clean_up()

    def assert_complete(self, *befores: Seen) -> None:
        """Complete, the same resources as undisturbed, nothing else in the folder; what earlier moments had is kept."""
        self.assert_same_resources(*befores)
        assert self.listing() == {*self.seen().files, "manifest.json", "SHA256SUMS", ".fhirferry", ".fhirferry/job"}
        with closing(SqliteStore(str(self.ground.store), clock=system_clock)) as store:
            assert self.record().id not in store.info().pins, "the snapshot is still pinned"

    def assert_same_resources(self, *befores: Seen) -> None:
        """The same, though clean-up has still to come."""
        after = self.seen()
        record = after.record
        assert (record.status, record.progress, record.issue_count) == (JobStatus.COMPLETED, 100, 0)
        moments = [*befores, after]
        fixed = [seen.record.transaction_time for seen in moments if seen.record.transaction_time is not None]
        assert len(set(fixed)) == 1, "T changed"
        for earlier, later in pairwise(moments):
            assert earlier.record.progress <= later.record.progress
            assert earlier.record.resources <= later.record.resources
            assert earlier.record.epoch <= later.record.epoch
            assert earlier.files.items() <= later.files.items(), "a listed file was exported again"
            assert earlier.published.items() <= later.published.items(), "a published file was touched"
        lines = lines_of(self.out)
        assert lines.total() == len(lines), "doubled lines"
        assert lines == self.ground.lines
        assert (record.resources, record.bytes) == (lines.total(), sum(len(line) + 1 for line in lines)), (
            "counted wrong"
        )
        assert record.partitions_done == record.partitions
        assert self.verify() == 0

    def verify(self) -> int:
        return here("verify", self.out, "--against", self.ground.store).exit_code

    def end(self) -> None:
        for child in self._children:
            end(child)  # type: ignore[arg-type]


@pytest.fixture
def export(ground: Ground, tmp_path: Path) -> Iterator[Export]:
    """A fresh export. At the test's end nothing of it runs any more."""
    one = Export(ground, tmp_path)
    yield one
    one.end()
    wait_until(lambda: not processes(one.marker), "a process outlived its parent by more than 2 s", timeout=2)


def wait_until(condition: Callable[[], object], otherwise: str, timeout: float = 30) -> float:
    """Seconds that it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout:
            pytest.fail(otherwise)
        time.sleep(0.01)
    return time.monotonic() - start


def processes(marker: str) -> dict[int, str]:
    """Living processes (pid: command) that have the marker in their environment; they and their children inherit it."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if marker.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


def state(pid: int) -> str:
    """The state letter of a process (proc(5)): T is stopped."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2]
