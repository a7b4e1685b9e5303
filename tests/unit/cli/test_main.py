"""Errors become exit codes in one place; nobody who makes a mistake sees a traceback; start-up imports little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fhirferry.__about__ import __version__
from fhirferry.cli.exits import Exit, exit_for
from fhirferry.model import errors
from tests.unit.cli.conftest import FakeExporter, Run


@pytest.mark.parametrize(
    ("error", "command", "code"),
    [
        (errors.RequestError("x"), "export", 2),
        (errors.JobNotFound("x"), "jobs", 2),
        (errors.FolderInUse("x"), "export", 2),
        (errors.IllegalStep("x"), "jobs", 2),
        (errors.SnapshotGone("x"), "verify", 5),
        (errors.SnapshotGone("x"), "export", 1),
        (errors.StoreDamaged("x"), "store", 1),
        (errors.StoreBusy("x"), "store", 1),
        (errors.JobConflict("x"), "jobs", 1),
        (OSError(28, "No space left on device"), "import", 1),
        (ZeroDivisionError(), "export", 1),
        (KeyboardInterrupt(), "jobs", 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_of_every_error(error: BaseException, command: str, code: int) -> None:
    assert exit_for(error, command) == code


def test_exit_codes_are_the_contract() -> None:
    assert [int(code) for code in Exit] == [0, 1, 2, 3, 4, 5, 6, 130]


def fail_with(exporter: FakeExporter, error: BaseException) -> None:
    def jobs(*, unfinished: bool = False) -> object:
        raise error

    exporter.jobs = jobs  # type: ignore[assignment, method-assign]


def test_an_unexpected_error_is_one_line_and_debug_shows_more(exporter: FakeExporter, run: Run) -> None:
    fail_with(exporter, ZeroDivisionError("secret content"))
    result = run("jobs", "list")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "--debug" in result.stderr
    assert "secret" not in result.stderr, "an unexpected error may quote a resource"
    assert "Traceback" in run("jobs", "list", "--debug").stderr


def test_a_users_mistake_shows_no_traceback_and_details(exporter: FakeExporter, run: Run) -> None:
    fail_with(exporter, errors.StoreBusy("the ledger is locked", details="by another process"))
    assert run("jobs", "list").stderr == "Error: the ledger is locked by another process\n"


def test_an_operating_system_error_names_the_file(exporter: FakeExporter, run: Run) -> None:
    fail_with(exporter, PermissionError(13, "Permission denied", "/srv/x"))
    assert run("jobs", "list").stderr == "Error: Permission denied: /srv/x\n"


def test_json_has_the_error_as_last_line(exporter: FakeExporter, run: Run) -> None:
    fail_with(exporter, errors.StoreBusy("the ledger is locked"))
    line = json.loads(run("jobs", "list", "--json").stdout)
    assert line == {"type": "error", "error": "StoreBusy", "message": "the ledger is locked", "exit_code": 1}


def test_ctrl_c_is_130(exporter: FakeExporter, run: Run) -> None:
    fail_with(exporter, KeyboardInterrupt())
    assert run("jobs", "list").exit_code == 130


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"fhirferry {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["jobs"], ["nothing"], ["jobs", "nothing"], ["jobs", "show"]])
def test_wrong_usage_is_2_and_says_something(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert not result.stdout


def python(code: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **more)  # type: ignore[call-overload, no-any-return]


def test_start_up_imports_little() -> None:
    code = "import sys; sys.argv = ['fhirferry', {!r}]; from fhirferry.cli.main import main\ntry: main()\n"
    code += "except SystemExit: print('\\n' + ' '.join(sys.modules))"
    version = python(code.format("--version")).stdout.split()
    for heavy in ("msgspec", "logging", "sqlite3", "json", "fhirferry.exporter", "fhirferry.cli.export"):
        assert heavy not in version
    usage = python(code.format("export")).stdout.split()
    assert "fhirferry.cli.export" in usage
    for heavy in ("logging", "asyncio", "concurrent.futures", "multiprocessing", "tomllib", "subprocess", "tempfile"):
        assert heavy not in usage
    assert not [name for name in usage if name in ("fhirferry.cli.worker", "fhirferry.cli.jobs", "fhirferry.exporter")]


def test_a_reader_who_goes_away_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    code = (
        "from fhirferry.cli.console import Console\n"
        "import sys\n"
        "console = Console()\n"
        "for _ in range(3): console.text('x' * 100_000)\n"
        "print(console.closed, file=sys.stderr)\n"
        "console.flush()"
    )
    result = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "True\n")
