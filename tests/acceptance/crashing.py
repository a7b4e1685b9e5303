"""Tools of the crash tests: a small store, one export of it that is broken on purpose, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from fhirferry.cli.main import program
from fhirferry.clock import system_clock
from fhirferry.exporter import Exporter
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
CUT = ["--max-file-size", "150kB", "--page-size", "100"]
"""So that the store makes about a dozen partitions and files, some of them of several pages, some of several units."""


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
                    large = 250_000 if kind == "DocumentReference" and n % 25 == 3 else n * 37 % 600
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

    def wait_for_fault(self) -> None:
        """Until the armed fault happens."""
        wait_until(self._once.exists, "the fault never happened")

    def record(self) -> ExportJobRecord:
        """The only job of this ledger."""
        (record,) = self.records()
        return record

    def records(self) -> list[ExportJobRecord]:
        if not self.ledger.exists():
            return []
        with closing(SqliteJobStore(self.ledger, clock=system_clock)) as jobs:
            return list(jobs.list())

    def seen(self) -> Seen:
        with closing(SqliteJobStore(self.ledger, clock=system_clock)) as jobs:
            (record,) = jobs.list()
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

    def clean_up_later(self, seconds: float) -> None:
        """What a worker does when the lease of a clean-up that died has run out."""
        later = Exporter(ledger=f"sqlite://{self.ledger}", clock=lambda: system_clock() + int(seconds * SECOND))
        with closing(later):
            later.worker(max_jobs=100).clean_up()

    def assert_complete(self, *befores: Seen) -> None:
        """Complete, the same resources as undisturbed, nothing else in the folder; what earlier moments had is kept."""
        after = self.seen()
        record = after.record
        assert (record.status, record.progress, record.issue_count) == (JobStatus.COMPLETED, 100, 0)
        moments = [*befores, after]
        fixed = [seen.record.transaction_time for seen in moments if seen.record.transaction_time is not None]
        assert len(set(fixed)) == 1, "T changed"
        for earlier, later in zip(moments, moments[1:], strict=False):
            assert earlier.record.progress <= later.record.progress
            assert earlier.record.resources <= later.record.resources
            assert earlier.record.epoch <= later.record.epoch
            assert earlier.files.items() <= later.files.items(), "a listed file was exported again"
            assert earlier.published.items() <= later.published.items(), "a published file was touched"
        lines = lines_of(self.out)
        assert lines.total() == len(lines), "doubled lines"
        assert lines == self.ground.lines
        hidden = {".fhirferry", ".fhirferry/job"}
        assert self.listing() == {*after.files, "manifest.json", "SHA256SUMS", *hidden}
        assert self.verify() == 0
        with closing(SqliteStore(str(self.ground.store), clock=system_clock)) as store:
            assert record.id not in store.info().pins, "the snapshot is still pinned"

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
