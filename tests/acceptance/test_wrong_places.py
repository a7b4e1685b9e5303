"""A file that cannot be what it is given as is a wrong command (exit 2) in every command, and nothing is left behind."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fhirferry.cli.main import program

JOB = "abc"
LEDGER = {
    "export": ["--to", "new"],
    "export --detach": ["--to", "new"],
    "export --dry-run": ["--to", "new"],
    "worker --until-idle": [],
    "jobs list": [],
    "jobs show": [JOB],
    "jobs watch": [],
    "jobs wait": [JOB],
    "jobs resume": [JOB],
    "jobs retry": [JOB],
    "jobs cancel": [JOB],
    "jobs delete --yes": [JOB],
    "jobs prune --older-than 1d": [],
}
STORE = {
    "import": ["Patient.ndjson", "--store"],
    "export --to new": ["--from"],
    "export --to new --dry-run": ["--from"],
    "verify": ["out", "--against"],
    "store info": ["--store"],
    "store prune": ["--store"],
    "store delete": ["Patient/1", "--store"],
}
NO_PLACE = {"text": "text.db", "folder": "folder", "missing folder": "nowhere/x.db", "below a file": "text.db/x.db"}


def run(*arguments: str, home: str = "home") -> Result:
    return CliRunner().invoke(program, [*arguments, "--home", home], catch_exceptions=False)


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Patient.ndjson").write_text(json.dumps({"resourceType": "Patient", "id": "1"}) + "\n")
    Path("text.db").write_text("no database at all\n" * 100)
    Path("folder").mkdir()
    assert run("import", "Patient.ndjson").exit_code == 0
    assert run("export", "--to", "out").exit_code == 0


def tree() -> dict[Path, bytes | None]:
    return {
        path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*") if "-shm" not in path.name
    }


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("place", [*NO_PLACE.values(), "home/store.db"], ids=[*NO_PLACE, "store"])
def test_what_is_no_ledger_is_a_wrong_command_everywhere(place: str, tmp_path: Path) -> None:
    before = tree()
    for command, more in LEDGER.items():
        if command.startswith("export") and place == "home/store.db":
            more = [*more, "--from", "copy.db"]
            Path("copy.db").write_bytes(Path("home/store.db").read_bytes())
        result = run(*command.split(), *more, "--ledger", place)
        Path("copy.db").unlink(missing_ok=True)
        assert (result.exit_code, result.stdout) == (2, ""), command
        assert str(tmp_path / place) in result.stderr, command
        assert tree() == before, command


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("place", [*NO_PLACE.values(), "home/ledger.db"], ids=[*NO_PLACE, "ledger"])
def test_what_is_no_store_is_a_wrong_command_everywhere(place: str, tmp_path: Path) -> None:
    before = tree()
    for command, more in STORE.items():
        result = run(*command.split(), *more, place)
        assert (result.exit_code, result.stdout) == (2, ""), command
        assert str(tmp_path / place) in result.stderr, command
        assert tree() == before, command


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("command", [command for command in LEDGER if not command.startswith("export")])
def test_a_named_ledger_that_is_not_there_is_not_made(command: str, tmp_path: Path) -> None:
    result = run(*command.split(), *LEDGER[command], "--ledger", "typo.db")
    assert result.exit_code == 2
    assert f"there is no ledger at {tmp_path}/typo.db; an export makes it" in result.stderr
    assert not Path("typo.db").exists()


@pytest.mark.usefixtures("_here")
def test_a_default_ledger_may_not_be_there_yet(tmp_path: Path) -> None:
    for command in ("jobs list", "jobs watch", "jobs prune --older-than 1d"):
        result = run(*command.split(), home="new")
        assert (result.exit_code, result.stdout) == (0, ""), command
        assert f"No jobs yet: there is no ledger at {tmp_path}/new/ledger.db" in result.stderr
    shown = run("jobs", "show", JOB, home="new")
    assert (shown.exit_code, "No jobs yet" in shown.stderr, "no job 'abc'" in shown.stderr) == (2, True, True)
    assert not Path("new").exists()
    assert run("worker", "--until-idle", home="new").exit_code == 0


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    "wrong",
    [["--from", "text.db"], ["--from", "home/store.db", "--to", "out"], ["--from", "home/store.db", "--type", "Pat"]],
    ids=["no store", "folder in use", "no such type"],
)
def test_an_export_that_is_refused_leaves_no_ledger_and_no_home(wrong: list[str]) -> None:
    before = tree()
    for ledger in ([], ["--ledger", "new.db"]):
        assert run("export", "--to", "elsewhere", *wrong, *ledger, home="new").exit_code == 2
        assert tree() == before


@pytest.mark.usefixtures("_here")
def test_a_home_that_others_may_read_is_told_once_and_its_files_are_private() -> None:
    Path("open").mkdir()
    Path("open").chmod(0o755)
    for command in (["import", "Patient.ndjson"], ["export", "--to", "another"], ["store", "info"], ["jobs", "list"]):
        result = run(*command, home="open")
        assert result.exit_code == 0
        assert result.stderr.count("chmod 700 ") == 1, command
    assert {stat.S_IMODE(file.stat().st_mode) for file in Path("open").iterdir()} == {0o600}
    assert stat.S_IMODE(Path("open").stat().st_mode) == 0o755, "whose folder it is decides"
    assert "chmod" not in run("jobs", "list", "-q", home="open").stderr
    assert "chmod" not in run("jobs", "list", home="home").stderr
    assert "chmod" not in run("jobs", "list", "--ledger", "open/ledger.db", home="open").stderr
