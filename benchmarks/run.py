"""Measure fhirferry against the bare work it cannot avoid, on this machine, and print one table of ratios.

    make bench                                        400,000 resources, 0.5 GB
    make bench ARGS="--resources 4000000"             and how rate and memory compare with 400,000
    make bench ARGS="--only export --runs 3"

Every figure is a whole process, start included; before each the kernel's dirty pages are written out, so that nobody
pays for the one before. What is compared alternates (A B C A B C ...); ratios are medians of the pairs. Data and stores
are made once in benchmarks/work; every run gets a fresh folder and ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import IO, NamedTuple

HERE = Path(__file__).parent
FERRY = str(Path(sys.executable).parent / "fhirferry")
BASE = 400_000  # the size that a larger store is compared with
SECTIONS = ("import", "export", "verify", "increment", "flat")


class Took(NamedTuple):
    """A finished process. seconds: on the clock; cpu: of all cores. peak: bytes of memory of it or the largest of its
    children. output: its stdout."""

    seconds: float
    cpu: float
    peak: int
    output: str


# As a user has it: modules are compiled once, not at every start, whatever this shell says.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE" and not k.startswith("FHIRFERRY_")}


def took(*command: object, into: Path | None = None) -> Took:
    """Run to the end; stdout goes to the file `into`, durably. Ends the benchmark when the command fails."""
    os.sync()
    words = [str(word) for word in command]
    with into.open("wb") if into else tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        child = subprocess.Popen(words, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=ENVIRONMENT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if into:
            os.fsync(out.fileno())
        seconds = time.perf_counter() - started
        if child.returncode != 0:
            raise SystemExit(f"exit {child.returncode}: {' '.join(words)}\n{_text(err)[-3000:]}")
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Took(seconds, usage.ru_utime + usage.ru_stime, peak, "" if into else _text(out))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


class Set:
    """The data, store and scratch folder of one size."""

    def __init__(self, work: Path, resources: int, options: Sequence[str]) -> None:
        self.resources = resources
        self.options = options
        self.folder = work / str(resources)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "ndjson"
        self.store = self.folder / "store.db"
        self.extra = self.folder / "extra"  # one more per thousand
        self.grown = self.folder / "store-holds-extra"

    def make_data(self) -> None:
        """Once; a folder is complete when it has its final name."""
        for folder, count, first in (
            (self.data, self.resources, 0),
            (self.extra, self.resources // 1000, self.resources),
        ):
            if not folder.exists():
                part = folder.with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)
                took(sys.executable, HERE / "data.py", part, "--resources", count, "--first", first)
                part.rename(folder)

    def fill(self) -> Took:
        """Import the data into a fresh store, which stays."""
        _remove_database(self.store)
        self.grown.unlink(missing_ok=True)
        part = self.folder / "part.db"
        _remove_database(part)
        result = took(FERRY, "import", self.data, "--store", part)
        part.rename(self.store)
        return result

    def ready(self) -> None:
        """A store with the data and nothing more."""
        self.make_data()
        if not self.store.exists() or self.grown.exists():
            self.fill()

    def export(self, *options: object, fresh_ledger: bool = True) -> tuple[Took, Path]:
        """One export into a fresh folder, with a fresh ledger or the one of the last; the caller removes the folder."""
        to, ledger = self.fresh("export"), self.folder / "ledger.db"
        if fresh_ledger:
            _remove_database(ledger)
        result = took(FERRY, "export", "--from", self.store, "--to", to, "--ledger", ledger, *self.options, *options)
        return result, to

    def fresh(self, name: str) -> Path:
        """A scratch folder that does not exist."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path


class Table:
    """Rows of a Markdown table."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []

    def add(self, what: str, values: Iterable[float], form: str = "{:.2f}", asked: str = "") -> float:
        """A row with the median and the spread of the values; returns the median."""
        values = list(values)
        middle = median(values)
        self.rows.append(
            (what, form.format(middle), f"{form.format(min(values))} .. {form.format(max(values))}", asked)
        )
        print("|", " | ".join(self.rows[-1]), file=sys.stderr)
        return middle

    def memory(self, what: str, runs: Iterable[Took], asked: str = "< 150") -> None:
        """A row with peak memory in MB."""
        self.add(f"{what}, peak memory MB", [run.peak / 1e6 for run in runs], "{:.0f}", asked)

    def text(self) -> str:
        """The table."""
        head = [("what", "median", "min .. max", "asked"), ("---", "---:", "---:", "---")]
        return "\n".join("| " + " | ".join(row) + " |" for row in [*head, *self.rows])


def measure_import(it: Set, runs: int, table: Table) -> None:
    """Whole import against `executemany` of the same rows."""
    ours: list[Took] = []
    bare: list[float] = []
    for _ in range(runs):
        ours.append(it.fill())
        copy = it.folder / "bare.db"
        _remove_database(copy)
        bare.append(float(took(sys.executable, HERE / "bare_import.py", it.store, copy).output))
        _remove_database(copy)
    table.add("import, resources/s", [it.resources / run.seconds for run in ours], "{:,.0f}", ">= 20,000")
    table.add("executemany alone, resources/s", [it.resources / seconds for seconds in bare], "{:,.0f}")
    pairs = zip(ours, bare, strict=True)
    table.add("**import / executemany**", [seconds / run.seconds for run, seconds in pairs], asked=">= 0.6")
    table.memory("import", ours)


def measure_export(it: Set, runs: int, table: Table) -> None:
    """Whole export against the bare loop, with cat beside it."""
    ours: list[Took] = []
    bare: list[Took] = []
    cat: list[Took] = []
    size = 0
    for _ in range(runs):
        run, to = it.export()
        ours.append(run)
        loop = it.fresh("loop")
        bare.append(took(sys.executable, HERE / "bare_loop.py", it.store, loop))
        size = _bytes(loop)
        if _bytes(to) != size:
            raise SystemExit(f"not comparable: the export holds {_bytes(to)} bytes, the loop {size}")
        shutil.rmtree(loop)
        copy = it.folder / "cat"
        cat.append(took("cat", *sorted(to.glob("*.ndjson")), into=copy))
        copy.unlink()
        shutil.rmtree(to)
    table.add("export, resources/s", [it.resources / run.seconds for run in ours], "{:,.0f}")
    for name, kind in (("export", ours), ("bare loop", bare), ("cat to a new file and fsync", cat)):
        table.add(f"{name}, MB/s", [size / 1e6 / run.seconds for run in kind], "{:.0f}")
    table.add("**export / bare loop**", _ratios(bare, ours), asked=">= 0.9")
    table.add("**export / cat**", _ratios(cat, ours), asked="aim: 1")
    table.memory("export", ours)
    table.memory("bare loop", bare, "")


def measure_verify(it: Set, runs: int, table: Table) -> None:
    """Reading an export again."""
    _, to = it.export()
    done = [took(FERRY, "verify", to) for _ in range(runs)]
    table.add("**verify, MB/s**", [_bytes(to) / 1e6 / run.seconds for run in done], "{:.0f}", ">= 150")
    table.memory("verify", done)
    shutil.rmtree(to)


def measure_increment(it: Set, runs: int, table: Table) -> None:
    """`--since` that finds one new resource per thousand, against the full export before it, whose ledger it uses."""
    full: list[Took] = []
    part: list[Took] = []
    _, to = it.export()
    since = json.loads((to / "manifest.json").read_text("utf-8"))["transactionTime"]
    shutil.rmtree(to)
    it.grown.touch()
    took(FERRY, "import", it.extra, "--store", it.store)
    for _ in range(runs):
        for results, options in ((full, ()), (part, ("--since", since))):
            run, to = it.export(*options, fresh_ledger=not options)
            results.append(run)
            found = sum(row["count"] for row in json.loads((to / "manifest.json").read_text("utf-8"))["output"])
            shutil.rmtree(to)
        if found != it.resources // 1000:
            raise SystemExit(f"the increment holds {found} resources instead of {it.resources // 1000}")
    table.add("export --since, 0.1 % new, s", [run.seconds for run in part], "{:.3f}")
    asked = "< 0.01" if it.resources >= 10 * BASE else f"< 0.01 at {10 * BASE:,}"
    table.add("**--since / full export, time**", _ratios(part, full), "{:.4f}", asked)
    table.add("--since / full export, CPU time", [a.cpu / b.cpu for a, b in zip(part, full, strict=True)], "{:.4f}")
    bare = [took(sys.executable, "-c", "import click, msgspec, sqlite3") for _ in range(runs)]
    table.add("of it: Python and three imports, s", [run.seconds for run in bare], "{:.3f}")


def measure_flatness(it: Set, runs: int, table: Table) -> None:
    """Rate and memory of this size against the smaller one."""
    small = Set(it.folder.parent, BASE, it.options)
    for each in (small, it):
        each.ready()
    results: dict[int, list[Took]] = {small.resources: [], it.resources: []}
    for _ in range(runs):
        for each in (small, it):
            run, to = each.export()
            shutil.rmtree(to)
            results[each.resources].append(run)
    pairs = list(zip(results[small.resources], results[it.resources], strict=True))
    scale = it.resources / small.resources
    name = f"{it.resources:,} / {small.resources:,}"
    table.add(f"**export rate, {name}**", [scale * a.seconds / b.seconds for a, b in pairs], asked=">= 0.9")
    table.add(f"export peak memory, {name}", [b.peak / a.peak for a, b in pairs], asked="flat")


def _ratios(over: Sequence[Took], under: Sequence[Took]) -> list[float]:
    return [a.seconds / b.seconds for a, b in zip(over, under, strict=True)]


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.ndjson"))


def _remove_database(path: Path) -> None:
    for tail in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + tail).unlink(missing_ok=True)


def main() -> None:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", type=int, default=BASE)
    parser.add_argument("--runs", type=int, default=7, help="of each of a pair; above a million import runs once")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated")
    parser.add_argument("--executor", help="handed to `fhirferry export`")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder for data and stores, kept")
    asked = parser.parse_args()
    it = Set(asked.work, asked.resources, ["--executor", asked.executor] if asked.executor else [])
    table = Table()
    sections = asked.only or [name for name in SECTIONS if name != "flat" or asked.resources > BASE]
    it.make_data()
    if "import" in sections:
        measure_import(it, asked.runs if asked.resources <= 1_000_000 else 1, table)
    # The increment grows the store, so it comes last.
    steps = {
        "export": measure_export,
        "verify": measure_verify,
        "flat": measure_flatness,
        "increment": measure_increment,
    }
    for name, step in steps.items():
        if name in sections:
            it.ready()
            step(it, asked.runs, table)
    print(
        f"{asked.resources:,} resources, {_bytes(it.data) / 1e6:,.0f} MB; {asked.runs} runs; Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} CPUs, {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f} (idle otherwise: about 1)\n"
    )
    print(table.text())


if __name__ == "__main__":
    main()
