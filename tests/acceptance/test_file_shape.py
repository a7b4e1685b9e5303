"""Files in folders, packed, between two sizes: from the command line, through a kill, and back into a store."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.ferrying import FAULTY, ferry, lines_of, manifest

SHAPE = (
    "--layout", "<resourcename>", "--compress", "gzip", "--min-file-size", "20kB", "--max-file-size", "30kB",
    "--type", "Observation,Patient", "--type-filter", "Observation?code=http://loinc.org|8302-2",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store."""
    folder = tmp_path_factory.mktemp("made")
    assert ferry("generate", "--patients", 60, "--to", "samples", at=folder).code == 0
    assert ferry("import", "samples", at=folder).code == 0
    return folder


@pytest.fixture(autouse=True)
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made / "fhirferry-data", tmp_path / "fhirferry-data")
    monkeypatch.chdir(tmp_path)


def raw_sizes(kind: str) -> list[int]:
    items = manifest(Path("out"))["output"]
    return [item["extension"]["rawBytes"] for item in items if item["type"] == kind]


@pytest.mark.parametrize(
    "fault", ["page-written:9", "unit-finished:1", "commit-inside:2", "published:2", "sums-written:1"]
)
def test_promise_1_b54_s65_killed_and_the_same_command_again(fault: str) -> None:
    env = {**os.environ, "FHIRFERRY_POLL": "20ms", "FHIRFERRY_FAULT": f"{fault}:kill"}
    killed = subprocess.run(
        [*FAULTY, "export", "--to", "out", *SHAPE], env=env, capture_output=True, text=True, timeout=60
    )
    assert killed.returncode == -9, killed.stderr
    ran = ferry("export", "--to", "out", *SHAPE)
    assert ran.code == 0, ran.err
    assert "Resuming" in ran.err
    assert ferry("verify", "out", "--against", "fhirferry-data/store.db").code == 0
    sizes = raw_sizes("Observation")
    assert len(sizes) > 2
    assert sum(size < 20_000 for size in sizes) <= 2  # the last, and what one of two threads had left
    assert max(sizes) <= 30_000
    assert all(len(Path(item["url"]).parts) == 2 for item in manifest(Path("out"))["output"])
    assert ferry("import", "out", "--store", "copy.db").code == 0


def test_a_packed_file_that_is_cut_off_is_found_and_what_is_whole_is_imported() -> None:
    assert ferry("export", "--to", "out", "--compress", "gzip", "--type", "Observation").code == 0
    (path,) = Path("out").glob("*.gz")
    lines = len(list(lines_of(Path("out"))))
    path.write_bytes(path.read_bytes()[:-26])  # behind a member, which is whole
    assert gzip.decompress(path.read_bytes()).count(b"\n") == lines
    found = ferry("verify", "out")
    assert found.code == 4
    assert f"cut off between two members; whole lines before: {lines}" in found.out + found.err
    taken = ferry("import", "out", "--store", "copy.db", "--json")
    assert taken.code == 3
    bad, ended = taken.lines
    assert (bad["file"], bad["line"]) == (str(path), lines + 1)
    assert (ended["new"], ended["bad"]) == (lines, 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert ferry("verify", "out").code == 4
    assert 0 < ferry("import", "out", "--store", "other.db", "--json").lines[-1]["new"] <= lines
