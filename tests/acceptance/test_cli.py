"""The command line as an engineer meets it: real processes, every exit code reached for real."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fhirferry.cli.main import program

SCRIPT = str(Path(sys.executable).with_name("fhirferry"))
FAULTY = [sys.executable, "-m", "fhirferry.testing.faulty"]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with two small files of resources."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FHIRFERRY_POLL", "20ms")  # workers look often, so that the tests are quick
    os.umask(os.umask(0o022))
    write("Patient.ndjson", "Patient", 30)
    Path("bundles").mkdir()
    write("bundles/Observation.ndjson", "Observation", 20)


def write(name: str, kind: str, count: int, pad: int = 0) -> None:
    lines = ({"resourceType": kind, "id": f"{n}", "text": {"div": "x" * pad}} for n in range(count))
    Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def ferry(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env={**os.environ, **(env or {})},
    )


def here(*arguments: str) -> Result:
    """The same without a process of its own, where nothing depends on one."""
    return CliRunner().invoke(program, arguments, catch_exceptions=False)


def last(result: Result) -> dict[str, object]:
    """The last JSON line."""
    line: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return line


def test_import_export_verify_and_no_second_export_into_the_same_folder() -> None:
    imported = ferry("import", "Patient.ndjson", "bundles")
    assert (imported.returncode, "50" in imported.stdout) == (0, True), imported.stderr
    exported = ferry("export", "--to", "out")
    assert exported.returncode == 0, exported.stderr
    assert "Exported 50 resources" in exported.stdout
    assert sorted(os.listdir("out")) == [
        ".fhirferry",
        "Observation-1.ndjson",
        "Patient-1.ndjson",
        "SHA256SUMS",
        "manifest.json",
    ]
    verified = ferry("verify", "out", "--against", "fhirferry-data/store.db")
    assert (verified.returncode, "All holds." in verified.stdout) == (0, True), verified.stdout
    again = ferry("export", "--to", "out")
    assert again.returncode == 2
    assert "out holds the export" in again.stderr


def test_a_dry_run_writes_nothing() -> None:
    here("import", "Patient.ndjson")
    before = sorted(Path().rglob("*"))
    plan = last(here("export", "--to", "out", "--dry-run", "--json"))
    assert (plan["resources"], plan["problem"]) == (30, None)
    assert sorted(Path().rglob("*")) == before


def test_home_is_private() -> None:
    here("import", "Patient.ndjson")
    here("export", "--to", "out")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path("fhirferry-data").iterdir()}
    assert stat.S_IMODE(Path("fhirferry-data").stat().st_mode) == 0o700
    assert (modes["store.db"], modes["ledger.db"]) == (0o600, 0o600)
    assert Path("fhirferry-data/.gitignore").read_text() == "*\n"


def test_variables_and_file_reach_a_real_run() -> None:
    Path("fhirferry.toml").write_text('[import]\nstore = "my.db"\n[export]\nfrom = "my.db"\nmax-file-size = 1000\n')
    assert ferry("import", "Patient.ndjson").returncode == 0
    exported = ferry("export", env={"FHIRFERRY_TO": "out", "FHIRFERRY_JSON": "true", "FHIRFERRY_HOME": "elsewhere"})
    line = json.loads(exported.stdout)
    assert (line["type"], line["status"], line["resources"]) == ("export", "completed", 30)
    assert line["files"] > 1
    assert Path("elsewhere/ledger.db").exists()


def test_exit_1_a_job_that_failed_and_its_retry() -> None:
    here("import", "Patient.ndjson")
    here("export", "--to", "out", "--detach")
    os.rename("fhirferry-data/store.db", "kept.db")
    Path("fhirferry-data/store.db").write_text("not a database at all" * 100)
    failed = ferry("worker", "--until-idle")
    assert failed.returncode == 1
    job = str(last(here("jobs", "list", "--json"))["id"])
    shown = here("jobs", "show", job).stdout
    assert "not a fhirferry store" in shown
    assert f"fhirferry jobs retry {job}" in shown
    assert here("jobs", "wait", job).exit_code == 1

    os.replace("kept.db", "fhirferry-data/store.db")
    assert here("jobs", "retry", job).exit_code == 0
    assert here("worker", "--until-idle").exit_code == 0
    assert here("verify", "out", "--against", "fhirferry-data/store.db").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "--to", "out"],
        ["import", "nowhere"],
        ["verify", "nowhere"],
        ["verify", "bundles"],
        ["verify", "bundles", "--against", "nowhere.db"],
        ["store", "info"],
        ["jobs", "wait", "abc"],
        ["worker", "--executor", "threads"],
    ],
    ids=" ".join,
)
def test_exit_2_wrong_inputs(arguments: list[str]) -> None:
    before = sorted(Path().rglob("*"))
    result = here(*arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(Path().rglob("*")) == before


def test_exit_3_bad_lines_are_told_and_the_rest_goes_in() -> None:
    with open("Patient.ndjson", "a") as file:
        file.write('{"resourceType":"Patient"}\nno json\n')
    result = ferry("import", "Patient.ndjson", "--json")
    assert result.returncode == 3
    *bad, end = (json.loads(line) for line in result.stdout.splitlines())
    assert [(line["type"], line["file"], line["line"]) for line in bad] == [
        ("bad-line", "Patient.ndjson", 31),
        ("bad-line", "Patient.ndjson", 32),
    ]
    assert (end["type"], end["new"], end["bad"]) == ("import", 30, 2)
    assert "Patient.ndjson:32: " in here("import", "Patient.ndjson").stderr
    strict = last(here("import", "Patient.ndjson", "--strict", "--store", "strict.db", "--json"))
    assert (strict["new"], strict["bad"]) == (0, 2)


def test_exit_3_a_resource_that_cannot_be_read_goes_to_the_error_file() -> None:
    here("import", "Patient.ndjson")
    db = sqlite3.connect("fhirferry-data/store.db")
    with db:
        db.execute("update body set body = null where key = (select min(key) from body)")
    db.close()
    result = here("export", "--to", "out")
    assert result.exit_code == 3
    assert "1 issue:" in result.stdout
    shown = here("jobs", "show", str(last(here("jobs", "list", "--json"))["id"]), "--json").stdout.splitlines()
    errors = [file for line in shown if (file := json.loads(line)).get("kind") == "error"]
    assert [file["count"] for file in errors] == [1]
    assert "Patient/" in Path("out", errors[0]["name"]).read_text()
    assert here("jobs", "wait", str(last(here("jobs", "list", "--json"))["id"])).exit_code == 3


def test_exit_4_a_file_that_was_changed() -> None:
    here("import", "Patient.ndjson")
    here("export", "--to", "out")
    with open("out/Patient-1.ndjson", "r+") as file:
        file.write("[")
    result = here("verify", "out", "--json")
    assert result.exit_code == 4
    assert last(result)["outcome"] == "differs"
    assert here("verify", "out/manifest.json", "--against", "fhirferry-data/store.db").exit_code == 4


def test_exit_5_the_versions_were_pruned() -> None:
    here("import", "Patient.ndjson")
    here("export", "--to", "out")
    assert "Patient/1: deleted" in here("store", "delete", "Patient/1", "Patient/99").stdout
    pruned = last(here("store", "prune", "--json"))
    assert (pruned["type"], pruned["versions"]) == ("pruned", 1)
    assert ferry("verify", "out", "--against", "fhirferry-data/store.db").returncode == 5


def started(start: Start, *arguments: str, fault: str) -> subprocess.Popen[bytes]:
    """A child that waits a second at a fault point."""
    return start(
        [*FAULTY, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "FHIRFERRY_FAULT": fault},
    )


def read_until(child: subprocess.Popen[bytes], text: bytes) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        if text in line:
            return
    pytest.fail(f"the child ended without saying {text!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_exit_6_first_signal_stops_at_a_commit_point_and_the_printed_command_goes_on(
    start: Start, number: signal.Signals
) -> None:
    here("import", "Patient.ndjson", "bundles")
    child = started(start, "export", "--to", "out", "--page-size", "10", fault="page-read:1:sleep")
    read_until(child, b"started")
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert child.returncode == 6, err
    assert b"Stopping" in err
    command = shlex.split(out.decode().splitlines()[-1])
    assert command[:2] == ["fhirferry", "export"]
    job = last(here("jobs", "list", "--json"))
    assert (job["status"], job["failure_count"]) == ("queued", 0)
    again = ferry(*command[1:])
    assert again.returncode == 0, again.stderr
    assert f"Resuming export job {job['id']}" in again.stderr
    assert here("verify", "out", "--against", "fhirferry-data/store.db").exit_code == 0


def test_exit_6_a_worker_gives_its_job_back(start: Start) -> None:
    here("import", "Patient.ndjson")
    here("export", "--to", "out", "--detach", "--page-size", "10")
    child = started(start, "worker", fault="page-read:1:sleep")
    assert child.stdout is not None
    assert b"running" in child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == 6
    assert here("worker", "--until-idle").exit_code == 0
    assert here("verify", "out").exit_code == 0


def test_exit_130_second_signal_ends_at_once_and_nothing_committed_is_lost(start: Start) -> None:
    here("import", "Patient.ndjson")
    child = started(start, "export", "--to", "out", fault="page-read:1:sleep")
    read_until(child, b"started")
    child.send_signal(signal.SIGINT)
    read_until(child, b"Stopping")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert child.returncode == 130
    assert here("export", "--to", "out").exit_code == 0
    assert here("verify", "out", "--against", "fhirferry-data/store.db").exit_code == 0


def test_detach_list_worker_wait_delete() -> None:
    here("import", "Patient.ndjson")
    here("export", "--to", "out", "--detach")
    listed = here("jobs", "list").stdout
    assert "waiting for a worker" in listed
    job = str(last(here("jobs", "list", "--json"))["id"])
    assert here("jobs", "wait", job[:6], "--timeout", "10ms").exit_code == 6
    assert ferry("worker", "--until-idle", "--poll", "50ms").returncode == 0
    assert here("jobs", "wait", job).exit_code == 0
    Path("out/mine.txt").write_text("mine")
    assert here("jobs", "delete", job).exit_code == 2
    assert here("jobs", "delete", job, "--yes").exit_code == 0
    assert os.listdir("out") == ["mine.txt"]


def test_an_export_and_its_increment_go_into_another_store() -> None:
    here("import", "Patient.ndjson")
    here("export", "--to", "out")
    moment = str(last(here("jobs", "list", "--json"))["transaction_time"])
    here("store", "delete", "Patient/3")
    assert here("export", "--to", "changes", "--since", moment).exit_code == 0
    assert here("import", "out", "changes", "--store", "copy.db").exit_code == 0
    kinds = last(here("store", "info", "--store", "copy.db", "--json"))["by_type"]
    assert isinstance(kinds, dict)
    assert (kinds["Patient"]["resources"], kinds["Patient"]["deletions"]) == (29, 1)


def test_results_into_a_closed_pipe_are_quiet() -> None:
    here("import", "Patient.ndjson")
    shell = f"{shlex.quote(SCRIPT)} import Patient.ndjson | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def examples() -> list[tuple[tuple[str, ...], str]]:
    leaves = program.leaves(click.Context(program))
    return [(names, line.strip()) for names, command in leaves for line in command.example.strip().splitlines()]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every example makes sense: a store, a completed export in `out`."""
    folder = tmp_path_factory.mktemp("examples")
    before = Path.cwd()
    os.chdir(folder)
    try:
        write("Patient.ndjson", "Patient", 3)
        Path("bundles").mkdir()
        here("import", "Patient.ndjson")
        here("export", "--to", "out")
    finally:
        os.chdir(before)
    return folder


@pytest.mark.parametrize(("names", "example"), examples(), ids=lambda value: value if isinstance(value, str) else "")
def test_examples_of_help_work_as_they_stand(
    names: tuple[str, ...], example: str, template: Path, tmp_path: Path
) -> None:
    shutil.copytree(template, tmp_path / "example")
    os.chdir(tmp_path / "example")
    if example == "fhirferry export --to out":
        shutil.rmtree("out")
    if names[0] == "jobs" and names[1] in ("resume", "retry", "cancel"):
        here("export", "--to", "later", "--detach")
    job = str(last(here("jobs", "list", "--json"))["id"])
    words = shlex.split(example.replace("3f9a", job[:6]))[1:]
    if "worker" in words and "--until-idle" not in words:
        words += ["--until-idle"]  # the one example that would work for ever
    asks = "delete" in words and "jobs" in words and "--yes" not in words
    assert here(*words).exit_code == (2 if asks else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_results_that_stdout_cannot_take_fail_the_command_without_a_traceback(
    tmp_path: Path, options: list[str]
) -> None:
    home = ["--home", str(tmp_path / "home")]
    (tmp_path / "a.ndjson").write_text('{"resourceType":"Patient","id":"a"}\n')
    program = [sys.executable, "-m", "fhirferry.cli.main"]
    subprocess.run([*program, *home, "import", str(tmp_path / "a.ndjson")], check=True, capture_output=True)
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [*program, *home, "export", "--to", str(tmp_path / "out"), *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ran.returncode == 1
    assert "could not be written to stdout" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "out" / "manifest.json").exists()  # the work itself went on


def test_a_closed_stderr_does_not_keep_the_work_from_being_done(tmp_path: Path) -> None:
    home = f"--home {tmp_path}/home"
    (tmp_path / "a.ndjson").write_text('{"resourceType":"Patient","id":"a"}\n')
    program = f"{sys.executable} -m fhirferry.cli.main {home}"
    shell = (
        f"{program} import {tmp_path}/a.ndjson 2>&- >/dev/null && {program} export --to {tmp_path}/out 2>&- >/dev/null"
    )
    assert subprocess.run(["sh", "-c", shell]).returncode == 0
    assert (tmp_path / "out" / "manifest.json").exists()
