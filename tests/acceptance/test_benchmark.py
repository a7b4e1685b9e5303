"""The benchmark runs from end to end: on a small set, where its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import data
from benchmarks.shapes import SHAPES

ROOT = Path(__file__).parents[2]


def test_made_up_data_is_fhir_shaped_repeatable_and_goes_on(tmp_path: Path) -> None:
    for name, count, seed, first in (("a", 2000, 1, 0), ("b", 2000, 1, 0), ("c", 500, 1, 2000), ("d", 2000, 2, 0)):
        data.write(tmp_path / name, count, seed, first)
    read = {}
    for folder in tmp_path.iterdir():
        lines = {kind: (folder / f"{kind}.ndjson").read_bytes().splitlines() for kind in SHAPES}
        rows = [(kind, json.loads(line)) for kind in SHAPES for line in lines[kind]]
        assert all(kind == row["resourceType"] and "meta" not in row for kind, row in rows)
        assert all(b"$" not in line and b"%" not in line for kind in SHAPES for line in lines[kind])
        read[folder.name] = (lines, {(kind, row["id"]) for kind, row in rows})
    assert read["a"] == read["b"]
    assert len(read["a"][1]) == 2000
    assert len(read["a"][1] | read["c"][1] | read["d"][1]) == 4500
    mean = sum(path.stat().st_size for path in (tmp_path / "a").iterdir()) / 2000
    assert 1100 < mean < 1400


def test_benchmark_prints_its_table(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "--resources", "2000", "--runs", "1", "--work", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    figures = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in done.stdout.splitlines() if "|" in row}
    for name in (
        "import / executemany",
        "export / bare loop",
        "export / cat",
        "verify, MB/s",
        "--since / full export, time",
    ):
        assert float(figures[f"**{name}**"]) > 0
