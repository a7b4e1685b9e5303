"""A table fits the terminal: what matters least goes first, and a long place is cut at its beginning."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fhirferry.cli.tables import table
from tests.acceptance.ferrying import SCRIPT
from tests.unit.cli.conftest import FakeExporter, Run, completed, half, running

HEAD = ("ID", "STATUS", "SIZE", "PLACE")
ROWS = [("aaa1", "completed", "1 MB", "/srv/a/long/way/to/out"), ("bbb2", "queued", "200 kB", "/out")]


def fitted(width: int | None) -> list[str]:
    return table(HEAD, ROWS, right=(2,), drop=(2, 3), cut=3, width=width).splitlines()


def test_without_a_terminal_nothing_is_left_out() -> None:
    assert fitted(None) == fitted(200)
    assert fitted(None)[1] == "aaa1  completed    1 MB  /srv/a/long/way/to/out"


@pytest.mark.parametrize("width", range(15, 60))
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    assert max(map(len, fitted(width))) <= width


def test_a_long_place_is_cut_at_its_beginning_before_a_column_goes() -> None:
    assert fitted(45)[1] == "aaa1  completed    1 MB  ...a/long/way/to/out"
    assert fitted(34)[1] == "aaa1  completed  ...ong/way/to/out"
    assert fitted(20)[1] == "aaa1  completed"
    assert fitted(45)[2] == "bbb2  queued     200 kB  /out"


@pytest.fixture
def jobs(exporter: FakeExporter) -> Iterator[FakeExporter]:
    exporter.add("0123456789ab", running, half, destination="file:///srv/some/where/far/away/out")
    exporter.add("ba9876543210", running, completed, destination="file:///srv/out")
    return exporter


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_list_of_jobs_fits_and_keeps_ids_and_states(
    jobs: FakeExporter, run: Run, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirferry.cli.tables.terminal_width", lambda: width)
    lines = run("jobs", "list").stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[:2] for line in lines] == [
        ["ID", "STATUS"],
        ["0123456789ab", "running"],
        ["ba9876543210", "completed"],
    ]
    assert all(line.endswith("out") for line in lines[1:])


def test_the_width_is_that_of_the_terminal_and_a_pipe_has_none(tmp_path: Path) -> None:
    import fcntl
    import termios

    code = "from fhirferry.cli.tables import terminal_width; print(terminal_width())"
    command = [str(Path(SCRIPT).with_name("python")), "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    assert subprocess.run(command, capture_output=True, env=environment, check=True).stdout == b"None\n"
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 47, 0, 0))
    try:
        subprocess.run(command, stdout=terminal, env=environment, check=True)
        assert os.read(reader, 100) == b"47\r\n"
        subprocess.run(command, stdout=terminal, env={**environment, "COLUMNS": "61"}, check=True)
        assert os.read(reader, 100) == b"61\r\n"
    finally:
        with suppress(OSError):
            os.close(terminal)
        os.close(reader)
