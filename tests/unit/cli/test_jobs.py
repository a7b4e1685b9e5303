"""`jobs` and `worker`: the ledger as a person reads and steers it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace

from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Issue, Kind
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

FILE = OutputFile(
    kind=Kind.OUTPUT, type="Patient", part="p", name="Patient-1.ndjson", sequence=1, count=3, bytes=300, raw_bytes=300,
    sha256="ab" * 32, partition=0,
)  # fmt: skip


def with_file(exporter: FakeExporter, job_id: str) -> None:
    record = exporter.ledger.get(job_id)
    exporter.ledger.commit(record, record.version, files=[FILE])


def test_list_tells_state_progress_rate_time_left_and_age(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running, half, destination="file:///srv/out")
    exporter.add("bbb2", running, failed)
    lines = run("jobs", "list").stdout.splitlines()
    assert lines[0].split() == ["ID", "STATUS", "DONE", "RESOURCES", "RATE", "LEFT", "AGE", "DESTINATION"]
    assert lines[1].split() == ["aaa1", "running", "50", "%", "1,000", "200", "kB/s", "10s", "1m30s", "/srv/out"]
    assert "failed" in lines[2]
    assert len(lines) == 3, "nothing waits"


def test_what_is_printed_to_be_typed_names_the_same_ledger(exporter: FakeExporter, run: Run, tmp_path: Path) -> None:
    exporter.add("aaa1")
    exporter.add("bbb2", running, failed)
    exporter.add("ccc3", held_by(a_dead_holder()), half)
    (tmp_path / "my home").mkdir(mode=0o700)
    for name in ("store.db", "ledger.db"):
        (tmp_path / "my home" / name).write_text("")
    for typed, place in (
        (["--ledger", "fhirferry-data/ledger.db"], "fhirferry-data"),
        (["--home", "my home"], "my home"),
    ):
        there = f"--ledger {shlex.quote(f'{tmp_path}/{place}/ledger.db')}"
        listed = run("jobs", "list", *typed).stdout
        assert f"Start one: fhirferry worker {there}\n" in listed
        assert f"fhirferry export --from /store.db --to /out {there}\n" in run("jobs", "show", "ccc3", *typed).stdout
        assert f"let a worker do it: fhirferry worker {there}\n" in run("jobs", "show", "aaa1", *typed).stdout
        assert f"fhirferry jobs retry bbb2 {there}\n" in run("jobs", "show", "bbb2", *typed).stdout
        detached = run("export", "--to", "to " + place, "--detach", *typed).stdout
        assert f"Start one: fhirferry worker {there}\n" in detached
        assert f"fhirferry jobs show {exporter.jobs()[-1].id} {there}\n" in detached
    assert "--ledger" not in run("jobs", "list").stdout


def test_list_tells_interrupted_jobs_and_how_to_go_on(exporter: FakeExporter, run: Run) -> None:
    exporter.add("ccc3", held_by(a_dead_holder()), half)
    said = "1 job is interrupted: type its command again (fhirferry jobs show ID), or start a worker: fhirferry worker"
    assert run("jobs", "list").stdout.splitlines()[-1] == said
    exporter.add("ddd4", held_by(a_dead_holder()), half)
    assert run("jobs", "list").stdout.splitlines()[-1].startswith("2 jobs are interrupted: ")


def test_one_is_one_and_not_ones(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running, one_issue)
    with_file(exporter, "aaa1")
    assert "completed, 1 issue " in run("jobs", "list").stdout
    assert "acquired      1 time\n" in run("jobs", "show", "aaa1").stdout
    assert "with 1 file." in run("jobs", "delete", "aaa1", "--yes").stdout
    assert "0 jobs forgotten." in run("jobs", "prune", "--older-than", "1d").stderr


def one_issue(record: ExportJobRecord, now: int) -> ExportJobRecord:
    return replace(with_issues(record, now), issue_count=1)


def test_L7_list_says_how_long_the_oldest_waits_and_that_no_worker_runs(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1")
    assert "1 job waits, the oldest for 1m30s: waiting for a worker" in run("jobs", "list").stdout
    exporter.add("bbb2", running)
    assert run("jobs", "list").stdout.splitlines()[-1] == "1 job waits, the oldest for 1m30s."


def test_a_killed_job_is_interrupted_and_a_silent_one_stalled_and_both_say_how_to_go_on(
    exporter: FakeExporter, run: Run, clock: FakeClock
) -> None:
    exporter.add("silent", held_by("elsewhere/1/2/3/4/5"), half)
    clock.advance(100)
    exporter.add("killed", held_by(a_dead_holder()), half, destination="file:///out")
    exporter.add("waits")
    lines = run("jobs", "list").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["silent", "stalled"],
        ["killed", "interrupted"],
        ["waits", "queued"],
    ]
    assert "no job is running. Start one: fhirferry worker" in lines[-1]
    for job_id, why in (("killed", "Its process has ended"), ("silent", "Nothing is heard of its holder")):
        page = run("jobs", "show", job_id).stdout
        assert f"{why}; go on with it here: fhirferry export --from /store.db --to /out\n" in page
        assert "or let a worker do it: fhirferry worker" in page
    told = [json.loads(line) for line in run("jobs", "list", "--json").stdout.splitlines()]
    assert [(line["status"], line["holder_dead"]) for line in told[:2]] == [("running", False), ("running", True)]
    assert "killed  interrupted  1,000 resources" in run("jobs", "wait", "killed", "--timeout", "20ms").stdout


def test_list_as_json_lines(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running, half)
    exporter.add("bbb2")
    lines = [json.loads(line) for line in run("jobs", "list", "--json").stdout.splitlines()]
    assert [(line["type"], line["id"], line["status"]) for line in lines] == [
        ("job", "aaa1", "running"),
        ("job", "bbb2", "queued"),
    ]
    assert (lines[0]["total_bytes"], lines[0]["bytes"], lines[0]["progress"]) == (4_000_000, 2_000_000, 50)
    assert lines[0]["transaction_time"].endswith("Z")


def test_list_of_nothing(exporter: FakeExporter, run: Run) -> None:
    result = run("jobs", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No jobs.\n")


@pytest.mark.parametrize(("command", "code"), [(["list"], 0), (["show", "a"], 2), (["prune", "--older-than", "1d"], 0)])
def test_no_default_ledger_is_told_with_its_place_and_means_no_jobs(
    command: list[str], code: int, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("jobs", *command)
    assert result.exit_code == code
    assert f"no ledger at {tmp_path}/fhirferry-data/ledger.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_S73_show_tells_the_failure_and_what_to_do(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running, half, failed)
    with_file(exporter, "aaa1")
    text = run("jobs", "show", "aa").stdout
    for part in ("The folder is not writable.", "mode 0500", "jobs retry aaa1", "1,000 of 2,000", "Patient-1.ndjson"):
        assert part in text
    job, file = (json.loads(line) for line in run("jobs", "show", "aaa1", "--json").stdout.splitlines())
    assert (job["failure"], job["failure_details"]) == ("The folder is not writable.", "mode 0500")
    assert (file["type"], file["job"], file["resource_type"], file["count"]) == ("file", "aaa1", "Patient", 3)


def test_show_tells_the_first_issues(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", issues=(Issue(diagnostics="Patient/x could not be read"),), issue_count=7)
    text = run("jobs", "show", "aaa1").stdout
    assert "acquired" not in text, "not yet"
    assert "issues        7\n              Patient/x could not be read" in text


def test_an_id_may_be_cut_to_what_is_unique(exporter: FakeExporter, run: Run) -> None:
    for job_id in ("ab1", "ab2", "ab"):
        exporter.add(job_id)
    assert run("jobs", "show", "ab1").exit_code == 0
    assert "job           ab\n" in run("jobs", "show", "ab").stdout, "a whole id wins"
    several = run("jobs", "show", "a")
    assert (several.exit_code, "3 jobs" in several.stderr) == (2, True)
    none = run("jobs", "show", "zz")
    assert (none.exit_code, "no job 'zz'" in none.stderr) == (2, True)


@pytest.mark.parametrize(
    ("states", "code"),
    [([completed], 0), ([with_issues], 3), ([failed], 1), ([canceled], 1)],
    ids=["complete", "issues", "failed", "canceled"],
)
@pytest.mark.parametrize("command", ["wait", "watch"])
def test_wait_and_watch_end_as_the_job_did(
    exporter: FakeExporter, run: Run, command: str, states: list[object], code: int
) -> None:
    exporter.add("aaa1", running, *states)
    result = run("jobs", command, "aaa1", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["id"] == "aaa1"


def test_wait_no_longer_than_told(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1")
    result = run("jobs", "wait", "aaa1", "--timeout", "20ms")
    assert result.exit_code == 6
    assert "fhirferry worker" in result.stderr


def test_watch_follows_all_until_none_is_unfinished(exporter: FakeExporter, run: Run) -> None:
    exporter.add("old", running, completed)
    exporter.add("aaa1", running, half)
    looks = 0
    really = exporter.jobs

    def jobs(*, unfinished: bool = False) -> object:
        nonlocal looks
        looks += 1
        if looks == 3:
            record = exporter.ledger.get("aaa1")
            exporter.ledger.commit(completed(record, exporter.ledger.now()), record.version)
        return really(unfinished=unfinished)

    exporter.jobs = jobs  # type: ignore[assignment, method-assign]
    result = run("jobs", "watch", "--interval", "1ms")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["aaa1", "running"], ["aaa1", "completed"]]


@pytest.mark.parametrize("command", ["resume", "retry"])
@pytest.mark.parametrize("states", [[running, failed], [running, retriable], []], ids=["failed", "retriable", "queued"])
def test_resume_and_retry_queue_and_say_how_to_run_it(
    exporter: FakeExporter, run: Run, command: str, states: list[object]
) -> None:
    exporter.add("aaa1", *states)
    result = run("jobs", command, "aaa1")
    assert result.exit_code == 0
    assert exporter.jobs()[0].status == "queued"
    assert "fhirferry export --from /store.db --to /out\n" in result.stderr


def test_a_completed_job_cannot_be_retried(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running, completed)
    result = run("jobs", "retry", "aaa1", "--json")
    assert result.exit_code == 2
    line = json.loads(result.stdout)
    assert (line["type"], line["error"], line["exit_code"]) == ("error", "IllegalStep", 2)


def test_cancel(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running)
    assert run("jobs", "cancel", "aaa1").exit_code == 0
    assert exporter.jobs()[0].status == "canceled"
    assert run("jobs", "cancel", "aaa1").exit_code == 2


def test_delete_without_a_terminal_needs_yes(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running, completed)
    with_file(exporter, "aaa1")
    refused = run("jobs", "delete", "aaa1")
    assert refused.exit_code == 2
    assert "Patient-1.ndjson" in refused.stderr
    assert exporter.jobs()
    assert run("jobs", "delete", "aaa1", "--yes").exit_code == 0
    assert not exporter.jobs()


def test_delete_says_what_state_it_is_in_and_that_there_was_nothing_to_remove(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", held_by(a_dead_holder()), destination="file:///out")
    assert "Job aaa1 is interrupted; it has no files in /out." in run("jobs", "delete", "aaa1").stderr
    assert run("jobs", "delete", "aaa1", "--yes").stdout == "Job aaa1 is deleted; it had no files.\n"


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_delete_asks_on_a_terminal(
    exporter: FakeExporter, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("fhirferry.cli.jobs_delete._can_ask", lambda: True)
    exporter.add("aaa1", running, completed)
    assert run("jobs", "delete", "aaa1", input=answer).exit_code == code
    assert len(exporter.jobs()) == code


def test_delete_can_leave_the_files(exporter: FakeExporter, run: Run) -> None:
    exporter.add("aaa1", running, completed)
    with_file(exporter, "aaa1")
    kept = []
    delete = exporter.ledger.delete
    exporter.ledger.delete = lambda job_id, keep_files: kept.append(keep_files) or delete(job_id, keep_files=keep_files)  # type: ignore[assignment, func-returns-value, method-assign]
    line = json.loads(run("jobs", "delete", "aaa1", "--yes", "--keep-files", "--json").stdout)
    assert (line, kept) == ({"type": "deleted-job", "job": "aaa1", "files": []}, [True])


def test_prune_forgets_what_ended_long_ago(exporter: FakeExporter, run: Run, clock: FakeClock) -> None:
    exporter.add("aaa1", running, completed)
    exporter.worker().clean_up("aaa1")
    clock.advance(86_000)
    assert run("jobs", "prune", "--older-than", "1d", "--json").stdout == ""
    clock.advance(1_000)
    assert json.loads(run("jobs", "prune", "--older-than", "1d", "--json").stdout)["job"] == "aaa1"
    assert run("jobs", "prune").exit_code == 2


@pytest.mark.parametrize(
    ("ends", "code"),
    [([completed], 0), ([with_issues], 3), ([failed], 1), ([given_back], 6)],
    ids=["complete", "issues", "failed", "given back"],
)
def test_worker_tells_each_change_and_ends_with_the_worst(
    exporter: FakeExporter, run: Run, ends: list[object], code: int
) -> None:
    exporter.add("aaa1")
    exporter.ends = ends
    result = run("worker", "--until-idle", "--json")
    assert result.exit_code == code
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["status"] for line in lines] == ["running", exporter.jobs()[0].status]
    assert "No job" not in result.stderr


def test_a_worker_without_work_says_so(exporter: FakeExporter, run: Run) -> None:
    assert run("worker", "--until-idle").stderr == "No job waited.\n"
