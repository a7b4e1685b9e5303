"""`export`: exit codes, resuming, what is refused, and what a person is told."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from fhirferry.model.errors import FolderInUse
from fhirferry.model.job import ExportJobRecord, JobSettings
from fhirferry.model.request import ExportRequest
from fhirferry.testing.clock import FakeClock
from tests.unit.cli.conftest import (
    FakeExporter,
    Run,
    a_dead_holder,
    canceled,
    completed,
    failed,
    given_back,
    half,
    held_by,
    retriable,
    running,
    with_issues,
)


@pytest.mark.parametrize(
    ("ends", "code"),
    [([completed], 0), ([with_issues], 3), ([failed], 1), ([canceled], 1), ([given_back], 6)],
    ids=["complete", "issues", "failed", "canceled", "stopped"],
)
def test_exit_codes(exporter: FakeExporter, run: Run, ends: list[object], code: int) -> None:
    exporter.ends = ends
    result = run("export", "--to", "out", "--json")
    assert result.exit_code == code
    line = json.loads(result.stdout)
    assert (line["type"], line["status"], line["resumed"]) == ("export", exporter.jobs()[0].status, False)


def test_a_failure_says_why_and_what_to_do(exporter: FakeExporter, run: Run) -> None:
    exporter.ends = [failed]
    result = run("export", "--to", "out")
    job = exporter.jobs()[0].id
    assert f"job {job} failed: The folder is not writable. mode 0500" in result.stderr
    assert f"fhirferry jobs retry {job}" in result.stderr


def test_waiting_for_the_next_try_is_told(exporter: FakeExporter, run: Run) -> None:
    exporter.ends = [retriable, completed]
    result = run("export", "--to", "out")
    assert result.exit_code == 0
    assert "trying again in 1.0s (The disk is full.)" in result.stderr
    assert run("export", "--to", "other", "-q").stderr == ""


def test_the_command_that_goes_on_finds_the_very_job(exporter: FakeExporter, run: Run) -> None:
    exporter.ends = [given_back]
    typed = [
        "--to",
        "a b",
        "--type",
        "Patient,Group",
        "--since",
        "2026-11-22T08:30:00.123456Z",
        "--max-file-size",
        "5MB",
    ]
    typed += [
        "--until",
        "2026-11-23T08:30:00Z",
        "--limit-rate",
        "3MB",
        "--check",
        "--compress",
        "gzip",
        "--ledger",
        "l.db",
    ]
    stopped = run("export", *typed, "--seconds-per-commit", "500ms", "--new")
    assert stopped.exit_code == 6
    command = stopped.stdout.splitlines()[-1].strip()
    assert command.startswith("fhirferry export --from")
    assert "--new" not in command
    exporter.ends = [completed]
    again = run(*shlex.split(command)[1:])
    assert (again.exit_code, len(exporter.jobs())) == (0, 1)
    assert f"Resuming export job {exporter.jobs()[0].id}: 50 % done" in again.stderr


def test_the_same_command_resumes_and_new_does_not(exporter: FakeExporter, run: Run) -> None:
    exporter.ends = [given_back]
    run("export", "--to", "out")
    run("export", "--to", "out", "--type", "Patient")
    run("export", "--to", "other")
    assert len(exporter.jobs()) == 3
    run("export", "--to", "out", "--new")
    assert len(exporter.jobs()) == 4
    exporter.ends = [completed]
    assert json.loads(run("export", "--to", "out", "--json").stdout)["resumed"] is True
    assert len(exporter.jobs()) == 4


def test_S52_other_settings_than_the_recorded_ones_are_refused(exporter: FakeExporter, run: Run) -> None:
    exporter.ends = [given_back]
    run("export", "--to", "out", "--max-file-size", "5MB")
    result = run("export", "--to", "out", "--compress", "gzip")
    assert result.exit_code == 2
    assert "--max-file-size was 5000000, now 256000000; --compress was none, now gzip" in result.stderr
    assert f"jobs delete {exporter.jobs()[0].id}" in result.stderr


def here(tmp_path: Path) -> dict[str, str]:
    return {"source": f"sqlite://{tmp_path}/fhirferry-data/store.db", "destination": f"file://{tmp_path}/out"}


def test_a_job_that_runs_elsewhere_is_named_briefly(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    exporter.add("aa", held_by("myhost/4711/812345/4026531836/0b5c/1f2e"), **here(tmp_path))
    exporter.ends = [completed]
    said = run("export", "--to", "out").stderr
    assert "Export job aa is running already (process 4711 on myhost); waiting for it" in said


def test_who_only_waited_says_that_another_process_did_it(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    exporter.add("aa", held_by("myhost/4711/812345/4026531836/0b5c/1f2e"), half, **here(tmp_path))
    exporter.ends = [completed]
    assert "by another process" in run("export", "--to", "out").stdout
    exporter.add("bb", given_up, **here(tmp_path))
    assert "(resumed)" in run("export", "--to", "out").stdout


def given_up(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return given_back(running(record, now), now)


def test_who_waits_no_longer_says_where_the_job_goes_on(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    exporter.add("aa", held_by("myhost/4711/812345/4026531836/0b5c/1f2e"), half, **here(tmp_path))
    exporter.ends = []  # a signal ended the waiting
    result = run("export", "--to", "out")
    assert result.exit_code == 6
    assert "Job aa goes on without this command (process 4711 on myhost); to wait for it again:\n" in result.stdout


def test_a_job_whose_process_was_killed_is_resumed(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    exporter.add("aa", held_by(a_dead_holder()), half, **here(tmp_path))
    exporter.ends = [completed]
    assert "Resuming export job aa: 50 % done" in run("export", "--to", "out").stderr


def test_a_job_of_the_same_command_that_ended_meanwhile_is_told_with_its_end(
    exporter: FakeExporter, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    def other_command(*_: object, **__: object) -> None:
        clock.advance(1)
        exporter.add("aa", running, completed, **here(tmp_path))
        raise FolderInUse("out holds the export of job aa")

    monkeypatch.setattr(exporter, "_checked", other_command)
    result = run("export", "--to", "out", "--json")
    assert (result.exit_code, json.loads(result.stdout)["job"]) == (0, "aa")
    assert "ended just now" in result.stderr


def test_an_equal_command_that_comes_after_the_end_does_not_get_the_old_job(
    exporter: FakeExporter, run: Run, tmp_path: Path, clock: FakeClock
) -> None:
    exporter.add("aa", running, completed, **here(tmp_path))
    clock.advance(1)
    run("export", "--to", "out")
    assert len(exporter.jobs()) == 2


def test_a_folder_of_a_failed_job_says_how_to_go_on(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    exporter.add("ff", running, failed, destination=f"file://{tmp_path}/out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Patient-1.ndjson").write_text("{}\n")
    result = run("export", "--to", "out")
    assert result.exit_code == 2
    assert "job ff failed there; to go on with it: fhirferry jobs retry ff" in result.stderr


def test_dry_run_tells_and_writes_nothing(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    result = run("export", "--to", "out", "--dry-run", "--json")
    plan = json.loads(result.stdout)
    assert (plan["type"], plan["resources"], plan["problem"]) == ("plan", 4, None)
    assert plan["free_bytes"] > 0
    assert not (tmp_path / "out").exists()
    assert not exporter.jobs()
    text = run("export", "--to", "out", "--dry-run").stdout
    assert "Patient" in text
    assert "can be used" in text


def test_dry_run_into_a_strange_folder_is_refused(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Patient-1.ndjson").write_text("{}\n")
    assert run("export", "--to", "out", "--dry-run").exit_code == 2


def test_detach_only_queues(exporter: FakeExporter, run: Run) -> None:
    result = run("export", "--to", "out", "--detach", "--json")
    assert json.loads(result.stdout)["status"] == "queued"
    assert result.exit_code == 0
    assert run("export", "--to", "out", "--detach", "--dry-run").exit_code == 2
    assert run("export", "--to", "out", "--detach", "--executor", "processes:2").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "out", "--from", "nowhere.db"], "fhirferry import PATH --store"),
        (["--to", "ftp://bucket/x"], "ftp: is not offered here"),
        (["--to", "out", "--ledger", "fhirferry-data/store.db"], "must be two files"),
        (["--to", "out", "--type", "Patient,patient"], "'patient' is not a resource type"),
        (["--to", "out", "--type", "Nonsense"], "'Nonsense': no such resource type"),
        (["--to", "out", "--since", "2026-11-22"], "is not an instant"),
        (["--to", "out", "--since", "2026-11-22T08:00:00Z", "--until", "2026-11-22T08:00:00Z"], "earlier"),
        ([], "Missing option '--to'"),
    ],
)
def test_wrong_requests_are_refused(exporter: FakeExporter, run: Run, arguments: list[str], says: str) -> None:
    result = run("export", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not exporter.jobs()


def test_without_a_store_it_says_how_to_fill_one(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("export", "--to", "out")
    assert result.exit_code == 2
    assert "fhirferry import PATH" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_settings_reach_the_job(exporter: FakeExporter, run: Run) -> None:
    run("export", "--to", "out", "--detach", "--heartbeat-timeout", "5s", "--page-size", "7", "--pages-per-commit", "3")
    expected = JobSettings(heartbeat_timeout=5, page_resources=7, pages_per_commit=3)
    assert exporter.jobs()[0].settings == expected


def test_the_request_reaches_the_job(exporter: FakeExporter, run: Run) -> None:
    run("export", "--to", "out", "--detach", "--type", "Patient", "--type", "Group, Location")
    assert exporter.jobs()[0].request == ExportRequest(types=("Group", "Location", "Patient"))


def test_the_hint_for_the_next_export_leaves_no_gap_behind_until(exporter: FakeExporter, run: Run) -> None:
    from fhirferry.cli.texts_export import result_page
    from fhirferry.model.request import ExportRequest
    from fhirferry.testing.job_store_bench import a_record

    def hint(**bounds: int) -> str:
        record = a_record("aa", transaction_time=5_000_000, request=ExportRequest(**bounds))
        return result_page(record, [], 1.0, 0, "").splitlines()[1].partition("--since ")[2]

    assert hint() == "1970-01-01T00:00:05.000Z"
    assert hint(until=4_000_000) == "1970-01-01T00:00:03.999999Z"  # what changed at 4 s itself is still to come
    assert hint(until=9_000_000) == "1970-01-01T00:00:05.000Z"
