"""`fhirferry demo` as a newcomer meets it: redirected to a file, in a narrow terminal, and stopped."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

from tests.acceptance.ferrying import SCRIPT, deleted, exported, ferry
from tests.acceptance.terminal import Terminal

KILLED = re.compile(r"\$ kill -9 \d+")


def commands(shown: str, prompt: str) -> list[list[str]]:
    """The commands that were shown, as a shell reads them."""
    whole = shown.replace("\\\n", " ")
    return [shlex.split(line[len(prompt) :]) for line in whole.splitlines() if line.startswith(prompt + "fhirferry ")]


def test_the_demo_proves_what_it_tells_and_what_it_offers_works_as_typed(tmp_path: Path) -> None:
    record = tmp_path / "record.txt"
    mine = tmp_path / "mine"
    with record.open("wb") as file:
        done = subprocess.run(
            [SCRIPT, "demo", "--patients", "20", "--seed", "4", "--to", "my demo"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=120,
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm", "FHIRFERRY_HOME": str(mine)},
        )
    shown = record.read_text()
    assert done.returncode == 0, shown
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "\n\n\n" not in shown
    assert not mine.exists(), "the reader's own store is no part of it"
    assert "FHIRFERRY_HOME" in shown
    assert [int(n) for n in re.findall(r"(?m)^# --- (\d)/6 ", shown)] == [1, 2, 3, 4, 5, 6]
    assert KILLED.search(shown)
    assert re.search(r"interrupted +\d\d %", shown)
    assert shown.count("All holds.") == 2

    demo = tmp_path / "my demo"
    first, second = [words for words in commands(shown, "$ ") if words[:2] == ["fhirferry", "export"]][:2]
    assert first == second, "the same command again"
    job, increment = ferry("jobs", "list", "--json", at=demo).lines
    assert (job["status"], job["epoch"], increment["status"]) == ("completed", 2, "completed")
    percent = re.search(r"Resuming export job \w+: (\d+) % done", shown)
    assert percent is not None
    assert 40 <= int(percent[1]) < 99, "killed in the middle"
    assert f"It took up the same job at {percent[1]} %." in shown.replace("\n# ", " ")

    changed, gone = exported(demo / "changes"), deleted(demo / "changes")
    assert [name.partition("/")[0] for name in changed] == ["Patient"]
    assert len(gone) == 1
    before = exported(demo / "out")
    assert before.keys() > changed.keys() | gone
    assert b"555-0100" in changed[next(iter(changed))]

    offered = commands(shown, "  ")[-7:]
    assert len(offered) == 7
    for words in offered:
        if "FOLDER" not in words and "mine" not in words:
            ran = ferry(*words[1:], at=demo)
            assert ran.code == 0, (words, ran.err)
    copy = ferry("store", "info", "--store", "copy.db", "--json", at=demo).lines[0]
    assert sum(each["resources"] for each in copy["by_type"].values()) == len(before) - 1


def test_a_narrow_terminal_shows_it_whole(tmp_path: Path) -> None:
    with Terminal(40, 400, "demo", "--patients", 10, at=tmp_path, NO_COLOR="1") as terminal:
        assert terminal.end(120) == 0
        lines = terminal.lines
        sent = terminal.sent.decode()
    assert not re.search(r"\x1b\[[0-9;]*m[#$]", sent), "what the demo itself says has no colours"
    where = next(i for i, line in enumerate(lines) if KILLED.search(line))
    bars = lines[:where][-16:]
    assert any(re.match(r"total +\d+ %", line) for line in bars), "what was drawn stays above the kill"
    assert any("# Now, from outside, at" in line for line in bars)
    torn = [
        (line, after)
        for line, after in pairwise(lines)
        if line.startswith("# ") and after and not after.startswith(("# ", "  "))
    ]
    assert not torn, "no comment is longer than the terminal is wide"
    assert "# --- 6/6 Write, then export the changes" in lines
    assert "  fhirferry --help" in lines


def test_the_first_ctrl_c_ends_the_command_at_work_and_says_where_things_are(tmp_path: Path) -> None:
    with Terminal(80, 200, "demo", "--patients", 20, at=tmp_path) as terminal:
        terminal.until(lambda lines: any("s left, " in line for line in lines))
        terminal.signal()
        assert terminal.end() == 6
        lines = terminal.lines
    assert lines[-2:] == [
        "Stopped. What there is so far stays in fhirferry-demo. To begin anew:",
        "  fhirferry demo --again",
    ]
    (job,) = ferry("jobs", "list", "--json", at=tmp_path / "fhirferry-demo").lines
    assert job["status"] == "queued", "it was stopped as anybody stops it, not killed"
