"""`fhirferry generate` as an engineer meets it: what it makes goes in, comes out, and is told apart by nobody."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.ferrying import SCRIPT, exported, ferry, measured


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("odd", [[], ["--odd"]], ids=["usual", "odd"])
def test_what_is_generated_imports_without_a_bad_line_exports_byte_for_byte_and_verifies(
    tmp_path: Path, odd: list[str]
) -> None:
    made = ferry("generate", "--patients", 20, "--seed", 5, "--to", "set", "--json", *odd, at=tmp_path)
    (line,) = made.lines
    assert (made.code, line["type"], line["patients"], line["seed"], line["odd"]) == (0, "generate", 20, 5, bool(odd))
    assert line["resources"] == sum(each["resources"] for each in line["by_type"].values())
    assert line["bytes"] == sum(path.stat().st_size for path in (tmp_path / "set").iterdir())

    imported = ferry("import", "set", "--json", at=tmp_path)
    (end,) = imported.lines
    assert (imported.code, end["bad"], end["new"], end["resources"]) == (0, 0, line["resources"], line["resources"])

    assert ferry("export", "--to", "out", at=tmp_path).code == 0
    verified = ferry("verify", "out", "--against", "fhirferry-data/store.db", at=tmp_path)
    assert (verified.code, "All holds." in verified.out) == (0, True), verified.out
    lines = {each for path in (tmp_path / "set").iterdir() for each in path.read_bytes().splitlines()}
    kept = sum(each in lines for each in exported(tmp_path / "out").values())
    assert kept >= len(lines) - 10  # those without versionId or lastUpdated, of the odd ones, are given one
    assert odd or kept == len(lines)


def test_it_says_what_it_made_and_how_to_go_on(tmp_path: Path) -> None:
    done = ferry("generate", "--patients", 3, "--to", "my set", at=tmp_path)
    assert done.code == 0
    assert "of 3 patients, seed 1" in done.out
    assert [row.split()[0] for row in done.out.splitlines()[:2]] == ["TYPE", "AllergyIntolerance"]
    assert f"fhirferry import '{tmp_path / 'my set'}'" in done.out


def test_quiet_and_json_say_nothing_else(tmp_path: Path) -> None:
    done = ferry("generate", "--patients", 3, "--to", "set", "-q", "--json", at=tmp_path)
    assert (done.code, done.err, len(done.lines)) == (0, "", 1)


def test_a_second_process_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = ferry(
            "generate", "--patients", 10, "--seed", 3, "--to", name, at=tmp_path, PYTHONHASHSEED=str(ord(name))
        )
        assert done.code == 0
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_memory_stays_bounded_with_a_resource_of_25_mb(tmp_path: Path) -> None:
    done = measured(tmp_path, "generate", "--patients", 200, "--to", tmp_path / "set", "--odd")
    assert done.code == 0
    assert done.rss < 100_000_000


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--patients", "0", "--to", "set"], 2, "'0' is not a whole number above zero"),
        (["--patients", "-1", "--to", "set"], 2, "'-1' is not a whole number above zero"),
        (["--seed", "x", "--to", "set"], 2, "'x' is not a whole number of at most 18 digits"),
        (["--seed", "1" * 19, "--to", "set"], 2, "at most 18 digits"),
        ([], 2, "--to"),
        (["--to", "full"], 2, "full is not empty; name a folder"),
        (["--to", "full/file"], 2, "file is a file; name a folder"),
        (["--to", "/proc/set"], 1, "/proc/set cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_input_is_told_and_nothing_is_written(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = ferry("generate", *arguments, at=tmp_path)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir(mode=0o500)
    done = ferry("generate", "--to", "set", at=tmp_path)
    assert (done.code, "set cannot be written: Permission denied" in done.err) == (1, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 6), (signal.SIGTERM, 6), (signal.SIGKILL, -9)])
def test_a_run_that_is_ended_leaves_no_file_and_the_same_command_starts_anew(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    begun = tmp_path / "set/.generating/Observation.ndjson"
    with subprocess.Popen([SCRIPT, "generate", "--patients", "1000000", "--to", "set"], cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == code
    assert not list(tmp_path.glob("set/*.ndjson"))
    assert (tmp_path / "set").exists() == (number is signal.SIGKILL)
    assert ferry("generate", "--patients", 2, "--to", "set", at=tmp_path).code == 0
    assert not begun.parent.exists()
