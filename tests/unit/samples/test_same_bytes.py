"""Same seed, same bytes: at any time, in any process, with any Python."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fhirferry.samples import writing
from fhirferry.samples.writing import generate

# A change of the data is a new release note: who pinned a seed gets other bytes.
PINNED = "ea294cb200b8aa5364730d1c1a0046793e995cd2686a5eda335f981361456093"
PINNED_ODD = "e23ebbbaed5df889c8288a0c809e27b90a22b6aef3e709c892466c4645a673b1"


def digest(folder: Path) -> str:
    """Of all names and bytes."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        whole.update(path.name.encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def test_the_bytes_of_a_seed_are_pinned(folder: Path) -> None:
    assert digest(folder) == PINNED


def test_the_bytes_of_the_odd_corners_are_pinned(odd: Path) -> None:
    assert digest(odd) == PINNED_ODD


def test_batches_do_not_show(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BATCH", 7)
    generate(tmp_path / "set", patients=60, seed=7)
    assert digest(tmp_path / "set") == digest(folder)


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_another_process_with_another_hash_seed_and_place_makes_the_same(
    folder: Path, tmp_path: Path, hash_seed: str
) -> None:
    code = "from pathlib import Path; from fhirferry.samples.writing import generate; generate(Path('x'), patients=60, seed=7)"
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
    assert digest(tmp_path / "x") == digest(folder)


def test_another_seed_makes_other_bytes(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path / "set", patients=60, seed=8)
    for path in folder.iterdir():
        assert path.read_bytes() != (tmp_path / "set" / path.name).read_bytes()
