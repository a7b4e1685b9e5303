"""What an export of a few patients costs against one of everything: whole processes, in turn, on a store that is there.

    fhirferry generate --patients 100000 --to data && fhirferry import data --store s.db
    python benchmarks/group.py s.db [--patients 10] [--runs 3] [--work FOLDER]

The patients are spread evenly over the store's; they are named by a list, as the members of a Group would be.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.run import FERRY, Took, took


def main() -> None:
    """Measure, and print one line for each way and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="group-", dir=asked.work))
    ways: dict[str, list[Took]] = {"everything": [], f"{asked.patients} patients": []}
    held = dict.fromkeys(ways, 0)
    try:
        chosen = _chosen(asked.store, folder, asked.patients)
        for _ in range(asked.runs):
            for name, options in zip(ways, ((), ("--patients-from", chosen)), strict=True):
                to = folder / "out"
                way = ("--from", asked.store, "--to", to, "--ledger", folder / "ledger.db")
                ways[name].append(took(FERRY, "-q", "export", *way, *options))
                rows = json.loads((to / "manifest.json").read_text("utf-8"))["output"]
                held[name] = sum(row["count"] for row in rows)
                shutil.rmtree(to)
    finally:
        shutil.rmtree(folder)
    for name, runs in ways.items():
        seconds = sorted(run.seconds for run in runs)
        peak = max(run.peak for run in runs) / 1e6
        print(
            f"{name}: {median(seconds):.2f} s ({seconds[0]:.2f} .. {seconds[-1]:.2f}), {held[name]:,} resources, {peak:.0f} MB"
        )
    every, few = ways.values()
    for what in ("seconds", "cpu"):
        ratios = sorted(getattr(a, what) / getattr(b, what) for a, b in zip(few, every, strict=True))
        print(f"ratio, {what}: {median(ratios):.4f} ({ratios[0]:.4f} .. {ratios[-1]:.4f})")
    print("asked: < 0.01 for 10 of 100,000 patients")


def _chosen(store: Path, folder: Path, count: int) -> Path:
    """A file that names so many patients, as far from each other as they can be."""
    to = folder / "patients"
    took(FERRY, "-q", "export", "--from", store, "--to", to, "--type", "Patient", "--elements", "id",
         "--ledger", folder / "ledger.db")  # fmt: skip
    lines = [line for path in sorted(to.glob("*.ndjson")) for line in path.read_bytes().splitlines()]
    names = folder / "names.txt"
    names.write_text("".join(json.loads(line)["id"] + "\n" for line in lines[:: max(1, len(lines) // count)][:count]))
    shutil.rmtree(to)
    return names


if __name__ == "__main__":
    main()
