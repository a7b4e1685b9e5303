"""Progress as somebody sees it: bars on a terminal, lines elsewhere, nothing with -q; and what it costs who needs none."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.ferrying import SCRIPT, exported, ferry
from tests.acceptance.terminal import Terminal

TYPES = {"Condition": 150, "Encounter": 150, "ExplanationOfBenefit": 300, "Observation": 700, "Patient": 300}
ALL = sum(TYPES.values())
SLOWLY = ("--page-size", 40, "--limit-rate", "600kB", "--executor", "inline")
"""About two seconds for the store below."""
TOTAL = re.compile(r"^total .*?(\d+) %")
WHAT_IS_LOADED = """
import atexit, sys
from fhirferry.cli.main import main
atexit.register(lambda: print("LOADED" if "rich" in sys.modules else "SPARED"))
main()
"""
STUCK = """
import time
from fhirferry.cli.main import main
from fhirferry.sources.store import StoreSource
read, pages = StoreSource.read, iter(range(99))
StoreSource.read = lambda self, *order: (time.sleep(60 if next(pages) > 5 else 0), read(self, *order))[1]
main()
"""
"""The command, with a source that does not answer after some pages."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `in/` and the store of it; tests only read it."""
    folder = tmp_path_factory.mktemp("progress")
    (folder / "in").mkdir()
    for name, count in TYPES.items():
        lines = ({"resourceType": name, "id": f"{n}", "text": {"div": "x" * 600}} for n in range(count))
        (folder / "in" / f"{name}.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ferry("import", "in", "--store", "store.db", at=folder).code == 0
    return folder


@pytest.fixture
def export(ground: Path, tmp_path: Path) -> tuple[object, ...]:
    return ("export", "--from", ground / "store.db", "--home", tmp_path / "home", "--to", tmp_path / "out", *SLOWLY)


def share(lines: list[str]) -> int:
    """Percent in the total row; -1 where there is none."""
    return next((int(found[1]) for line in lines if (found := TOTAL.match(line))), -1)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_bars_fit_the_terminal_and_leave_it_clean(columns: int, export: tuple[object, ...], tmp_path: Path) -> None:
    with Terminal(columns, 20, *export, at=tmp_path) as terminal:
        shown = terminal.until(lambda lines: share(lines) >= 40 and "left" in lines[-1])
        assert shown[0].startswith("Export job ")
        rows = [line.split()[0] for line in shown[1:-1]]
        assert set(rows[:-1]) <= set(TYPES), "a row for each type, none wrapped"
        assert rows[-1] == "total"
        assert re.match(r"\d+s left, [\d.]+ kB/s, [\d,]+/s$", shown[-1])
        assert all(re.search(r" +\d+ %  +[\d,]+", line) for line in shown[1:-1])
        assert any("━" in line for line in shown) is (columns >= 80)
        assert any(f" of {ALL:,}" in line for line in shown) is (columns >= 100)
        assert terminal.end() == 0
        after = "\n".join(terminal.lines)
        assert "Exported 1,600 resources" in after
        assert "left" not in after
        assert "━" not in after
        assert b"\x1b[?25l" not in terminal.sent, "a process killed now would leave no cursor"
        assert terminal.cursor == (0, True)


def test_no_color_is_honoured(export: tuple[object, ...], tmp_path: Path) -> None:
    colour = re.compile(rb"\x1b\[[\d;]*\b[34]\d")
    with Terminal(80, 20, *export, at=tmp_path) as plain:
        plain.until(lambda lines: share(lines) >= 30)
        assert colour.search(plain.sent)
    with Terminal(80, 20, *export[:-6], "--to", tmp_path / "b", *SLOWLY, at=tmp_path, NO_COLOR="1") as plain:
        plain.until(lambda lines: share(lines) >= 30)
        assert not colour.search(plain.sent)


def test_a_narrower_and_lower_window_is_followed(export: tuple[object, ...], tmp_path: Path) -> None:
    with Terminal(110, 20, *export, at=tmp_path) as terminal:
        terminal.until(lambda lines: share(lines) >= 50)
        terminal.resize(60, 6)
        shown = terminal.until(lambda lines: share(lines) >= 60 and len(lines) <= 6)
        assert any(line.startswith("3 types done") for line in shown)
        assert terminal.end() == 0


def test_a_resumed_job_starts_where_it_was_and_messages_come_above_the_bars(
    export: tuple[object, ...], tmp_path: Path
) -> None:
    often = (*export, "--pages-per-commit", 3)
    with Terminal(80, 20, *often, at=tmp_path) as terminal:
        terminal.until(lambda lines: share(lines) >= 45)
        terminal.signal()
        assert terminal.end() == 6
        stopped = terminal.lines
        assert sum(line.startswith("Stopping at the next commit point") for line in stopped) == 1
        assert not any("━" in line for line in stopped)
        assert terminal.cursor == (0, True)
    done = next(int(found[1]) for line in stopped if (found := re.search(r"(\d+) % of job", line)))
    assert done >= 40
    with Terminal(80, 20, *often, at=tmp_path) as terminal:
        first = terminal.until(lambda lines: share(lines) >= 0)
        assert share(first) >= done
        shown = terminal.until(lambda lines: "left" in lines[-1])
        assert shown[-1].endswith(f"resumed at {done} %")
        rate = float(re.search(r"([\d.]+) kB/s", shown[-1])[1])  # type: ignore[index]
        assert 300 < rate < 800, "of this run only: 600 kB/s is the limit, which the first page may exceed"
        assert terminal.end() == 0
    assert len(exported(tmp_path / "out")) == ALL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_it_at_once_with_the_terminal_in_order(
    number: signal.Signals, export: tuple[object, ...], tmp_path: Path
) -> None:
    command = (sys.executable, "-c", STUCK)
    with Terminal(80, 20, *export, at=tmp_path, program=command) as terminal:
        terminal.until(lambda lines: share(lines) >= 0)
        terminal.signal(number)
        # The bars stand below the message; what is seen in the middle of a drawing does not count.
        shown = terminal.until(
            lambda lines: any("Stopping" in line for line in lines[:-2]) and bool(TOTAL.match(lines[-2]))
        )
        assert shown[1].startswith("Stopping at the next commit point")
        terminal.signal(number)
        assert terminal.end() == 130
        assert terminal.cursor == (0, True)


def test_what_keeps_nothing_ends_at_the_first_ctrl_c_with_the_terminal_in_order(ground: Path, tmp_path: Path) -> None:
    assert ferry("export", "--from", ground / "store.db", "--to", "out", at=tmp_path).code == 0
    command = (sys.executable, "-c", STUCK.replace("> 5", "> 2"))
    with Terminal(80, 20, "verify", "out", "--against", ground / "store.db", at=tmp_path, program=command) as terminal:
        terminal.until(lambda lines: any(line.startswith("all of the store ") for line in lines))
        terminal.signal()
        assert terminal.end() == 130
        assert [line for line in terminal.lines if line] == ["Stopped."]
        assert terminal.cursor == (0, True)


def test_kill_leaves_the_cursor(export: tuple[object, ...], tmp_path: Path) -> None:
    with Terminal(80, 20, *export, at=tmp_path) as terminal:
        terminal.until(lambda lines: share(lines) >= 0)
        terminal.signal(signal.SIGKILL)
        assert terminal.end() == -signal.SIGKILL
        assert terminal.cursor[1]


def test_bad_lines_are_told_whole_above_the_bars(tmp_path: Path) -> None:
    bad = 300
    good = '{"resourceType":"Patient","id":"1"}\n'
    line = good + "{bad}\n"
    os.mkfifo(tmp_path / "pipe.ndjson")
    with Terminal(100, bad + 30, "import", "pipe.ndjson", at=tmp_path) as terminal:
        with (tmp_path / "pipe.ndjson").open("w") as pipe:
            for n in range(bad):
                pipe.write(line)
                pipe.flush()
                if n in (100, 200):
                    # What has come is written, and told, when more comes.
                    terminal.until(lambda lines: pipe.write(good * 70) and not pipe.flush() and shows_bars(lines))
        assert terminal.end() == 3
        told = [line for line in terminal.lines if line.startswith("pipe.ndjson:")]
        assert len(told) == bad
        assert all(re.match(r"pipe\.ndjson:\d+: \S", line) and "total" not in line for line in told)
        assert not shows_bars(terminal.lines)


def shows_bars(lines: list[str]) -> bool:
    return any(line.startswith("total  ") for line in lines[-3:])


def test_quiet_shows_nothing_but_errors_and_bad_lines(export: tuple[object, ...], tmp_path: Path) -> None:
    with Terminal(80, 20, *export, "-q", at=tmp_path) as terminal:
        assert terminal.end() == 0
        assert terminal.lines[0].startswith("Exported 1,600 resources"), "a result, on stdout"
        assert b"\x1b" not in terminal.sent
    assert ferry(*export[:-6], "--new", "--to", "elsewhere", at=tmp_path, FHIRFERRY_QUIET="true").err == ""
    (tmp_path / "bad.ndjson").write_text("{bad}\n")
    assert ferry("import", "bad.ndjson", "-q", at=tmp_path).err.startswith("bad.ndjson:1: ")


def test_where_nothing_can_be_redrawn_there_are_lines(ground: Path, tmp_path: Path) -> None:
    slow = ("--page-size", 40, "--limit-rate", "200kB", "--executor", "inline")
    command = ("export", "--from", ground / "store.db", "--home", "home", "--to", "out", *slow)
    with Terminal(200, 20, *command, at=tmp_path, TERM="dumb") as terminal:
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.sent
        told = [line for line in terminal.lines if line.startswith("exporting ")]
    assert told
    for line in told:
        assert re.match(
            r"exporting \d+ %: \w+, [\d,]+ of 1,600 resources, [\d.]+ [kM]B, \d+/s, \d+ kB/s, \d+s left$", line
        )


def test_bars_and_results_do_not_mix_when_results_go_elsewhere(export: tuple[object, ...], tmp_path: Path) -> None:
    with (
        (tmp_path / "results").open("wb") as results,
        Terminal(80, 20, *export, "--json", at=tmp_path, results=results.fileno()) as terminal,
    ):
        terminal.until(lambda lines: share(lines) >= 30)
        assert terminal.end() == 0
        assert terminal.lines == [terminal.lines[0]]
    assert [json.loads(line)["type"] for line in (tmp_path / "results").read_text().splitlines()] == ["export"]


def test_watch_shows_a_job_that_runs_elsewhere(
    export: tuple[object, ...], tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    often = [str(each) for each in (*export, "--pages-per-commit", 2, "-q")]
    running = start([SCRIPT, *often], stdout=subprocess.DEVNULL)
    watch = ("jobs", "watch", "--interval", "50ms", "--ledger", tmp_path / "home" / "ledger.db")
    while (listed := ferry("jobs", "list", "--json", *watch[-2:], at=tmp_path)).code or not listed.lines:
        assert running.poll() is None
    with Terminal(250, 20, *watch, at=tmp_path) as terminal:
        shown = terminal.until(lambda lines: share(lines) >= 40 and "left" in lines[-1])
        assert any(line.startswith("ExplanationOfBenefit ") for line in shown)
        assert terminal.end() == 0
        said = [re.split(r" {2,}", line)[1] for line in terminal.lines]
        assert said in (["running", "completed"], ["queued", "running", "completed"])
    assert running.wait() == 0


def test_verify_shows_each_type_of_the_files_and_of_the_store(ground: Path, tmp_path: Path) -> None:
    assert ferry("export", "--from", ground / "store.db", "--to", "out", at=tmp_path).code == 0
    # Sand in the works: every page of the store takes its time.
    slow = """
import time
from fhirferry.cli import live
from fhirferry.cli.main import main
from fhirferry.sources.store import StoreSource
live.PATIENCE, live.EVERY = 0, 0.02
read = StoreSource.read
StoreSource.read = lambda self, *order: (time.sleep(0.2), read(self, *order))[1]
main()
"""
    command = (sys.executable, "-c", slow)
    with Terminal(80, 20, "verify", "out", "--against", ground / "store.db", at=tmp_path, program=command) as terminal:
        shown = terminal.until(lambda lines: any(line.startswith("Encounter, store") for line in lines))
        assert {f"{name}" for name in TYPES} <= {line.split("  ")[0] for line in shown}
        assert any(line.startswith("all of the store ") for line in shown)
        assert terminal.end() == 0
        assert terminal.lines[-1] == "All holds."


@pytest.mark.parametrize("seconds", ["short, on a terminal", "long, redirected"])
def test_who_needs_no_bars_does_not_pay_for_them(seconds: str, ground: Path, tmp_path: Path) -> None:
    program = (sys.executable, "-c", WHAT_IS_LOADED)
    command = ("export", "--from", ground / "store.db", "--to", "out")
    if seconds.startswith("short"):
        with Terminal(120, 30, *command, at=tmp_path, program=program) as terminal:
            assert terminal.end() == 0
            assert terminal.lines[-1] == "SPARED"
    else:
        done = subprocess.run(
            [*program, *map(str, command), *map(str, SLOWLY)], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("SPARED\n")
        assert "\x1b" not in done.stderr + done.stdout
