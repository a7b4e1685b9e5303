"""`export`: whose data, since when, into which folders; how it is read, refused, shown and gone on with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from fhirferry.model.job import ExportJobRecord
from fhirferry.model.request import ExportRequest
from fhirferry.testing.clock import FakeClock
from fhirferry.transforms import asking
from tests.unit.cli.conftest import FakeExporter, Run, a_dead_holder, completed, failed, given_back, half, held_by

MANY = [f"p{number}" for number in range(150)]


@pytest.fixture(autouse=True)
def _offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "NOT_YET", {}, raising=False)


def asked(exporter: FakeExporter, run: Run, *arguments: str, **more: Any) -> ExportJobRecord:
    result = run("export", "--to", "out", "--detach", "--new", *arguments, **more)
    assert result.exit_code == 0, result.stderr
    return exporter.jobs()[-1]


@pytest.mark.parametrize(
    ("arguments", "level", "group", "patients"),
    [
        ([], "system", None, None),
        (["--all-patients"], "patient", None, None),
        (["--patient", "b", "--patient", "Patient/a"], "patient", None, ("a", "b")),
        (["--patients-from", "list", "--patient", "c"], "patient", None, ("a", "b", "c")),
        (["--group", "g"], "group", "g", None),
        (["--group", "Group/g", "--patient", "a"], "group", "g", ("a",)),
        (["--group", "g", "--patients-from", "list"], "group", "g", ("a", "b")),
    ],
)
def test_s8_the_level_follows_from_who_is_named(
    exporter: FakeExporter, run: Run, arguments: list[str], level: str, group: str | None, patients: Any
) -> None:
    Path("list").write_bytes(b"\xef\xbb\xbfPatient/a\r\n\r\n# those of the south\r\n  b  # moved\r\na")
    request = asked(exporter, run, *arguments).request
    assert (request.level, request.group_id, request.patients) == (level, group, patients)


def test_patients_come_from_stdin_a_variable_or_a_toml_list_too(exporter: FakeExporter, run: Run) -> None:
    assert asked(exporter, run, "--patients-from", "-", input="a\nPatient/b\n").request.patients == ("a", "b")
    assert asked(exporter, run, env={"FHIRFERRY_PATIENT": "a b"}).request.patients == ("a", "b")
    Path("fhirferry.toml").write_text('[export]\npatient = ["Patient/a", "c"]\n')
    assert asked(exporter, run).request.patients == ("a", "c")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "names no patients, and nobody is not everybody"),
        (b"# nobody\n\n", "names no patients"),
        (b"a\nMrs. Example\nb\n", "list, line 2: no patient's id"),
        (b"Group/a\nb\n\xff\n", "list, lines 1, 3: no patient's id"),
        (b"a b\n" * 9, "lines 1, 2, 3, 4, 5 and 4 more"),
        (b"#" * 5000 + b"\na\n", "line 1"),
        (b"x" * 5000, "line 1"),
    ],
)
def test_l1_a_list_that_names_nobody_or_something_else_is_refused_and_never_quoted(
    exporter: FakeExporter, run: Run, content: bytes, says: str
) -> None:
    Path("list").write_bytes(content)
    result = run("export", "--to", "out", "--patients-from", "list")
    assert (result.exit_code, says in result.stderr) == (2, True), result.stderr
    assert "Example" not in result.stderr
    assert not exporter.jobs()


SOME = "2026-11-22T08:30:00Z"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--all-patients", "--group", "g"], "give the one or the others"),
        (["--all-patients", "--patient", "a"], "give the one or the others"),
        (["--group", ""], "the group is not named by an id"),
        (["--patient", ""], "not a patient's id"),
        (["--patient", "Group/a"], "not a patient's id"),
        (["--patients-from", "nowhere"], "cannot read the patients from nowhere"),
        (["--patients-from", ""], "cannot read the patients"),
        (["--group", "h"], "Group h was not found"),
        (["--patient", "nobody"], "not there: nobody"),
        (["--new-members", "full", "--group", "g"], "need --since"),
        (["--left-members", "delete", "--group", "g"], "need --since"),
        (["--new-members", "full", "--all-patients", "--since", "last"], "need a cohort"),
        (["--left-members", "delete", "--since", "last"], "need a cohort"),
        (["--new-members", "full", "--group", "g", "--since", SOME], "no completed job of this selection"),
        (["--organize-output-by", "Patient"], "needs patients"),
        (["--include-referenced", "none,Device"], "not both"),
        (["--include-referenced", "none", "--all-patients", "--reference-depth", "2"], "follows no reference"),
        (["--reference-depth", "2"], "needs references"),
        (["--include-associated-data", "_all"], "there is LatestProvenanceResources"),
        (["--layout", "../<id>"], "is not a layout"),
        (["--layout", "<when>"], "the tags <timestamp>, <id> and <resourcename>"),
        (["--min-file-size", "9MB", "--max-file-size", "9MB"], "min_file_size must be"),
    ],
)
def test_wrong_ones_are_refused_in_the_words_of_the_command(
    exporter: FakeExporter, run: Run, arguments: list[str], says: str
) -> None:
    for more in ([], ["--dry-run"]):
        result = run("export", "--to", "out", *arguments, *more)
        assert (result.exit_code, says in result.stderr) == (2, True), result.stderr
    assert not exporter.jobs()
    assert not Path("out").exists()


def test_what_comes_along_reaches_the_request(exporter: FakeExporter, run: Run) -> None:
    along = ("--include-associated-data", "_deleted,LatestProvenanceResources", "--reference-depth", "2")
    request = asked(exporter, run, "--all-patients", *along, "--include-referenced", "Device,Location").request
    assert request.include_associated_data == ("LatestProvenanceResources", "_deleted")
    assert (request.include_referenced, request.reference_depth) == (("Device", "Location"), 2)
    assert asked(exporter, run, "--all-patients", "--include-referenced", "none").request.include_referenced == ()
    usual = asked(exporter, run, "--all-patients").request.include_referenced
    assert usual is not None
    assert "Practitioner" in usual, "L32"


def test_since_last_says_what_it_goes_on_from_and_resumes_its_own_job(
    exporter: FakeExporter, run: Run, clock: FakeClock
) -> None:
    typed = ["export", "--to", "out", "--group", "g", "--since", "last", "--layout", "<timestamp>/<resourcename>"]
    exporter.ends = [completed]
    full = run(*typed)
    assert full.exit_code == 0
    assert "No such export was completed before" in full.stderr
    (first,) = exporter.jobs()
    assert (first.request.since, first.continues, first.request.new_members) == (None, None, "since")
    clock.advance(10)
    planned = json.loads(run(*typed, "--dry-run", "--json").stdout)
    assert (planned["continues"], planned["level"], planned["group"], planned["patients"]) == (
        first.id, "group", "g", 2,
    )  # fmt: skip
    assert len(exporter.jobs()) == 1
    exporter.ends = [given_back]
    stopped = run(*typed)
    assert stopped.exit_code == 6
    assert f"Going on from export job {first.id}: what came after" in stopped.stderr
    second = exporter.jobs()[-1]
    assert (second.continues, second.request.since) == (first.id, first.transaction_time)
    assert second.request.new_members == "full"
    clock.advance(10)
    command = shlex.split(stopped.stdout.splitlines()[-1])
    for again in (typed, command[1:]):
        result = run(*again)
        assert f"Resuming export job {second.id}" in result.stderr
    assert len(exporter.jobs()) == 2
    exporter.ends = [completed]
    line = json.loads(run(*typed, "--json").stdout)
    assert (line["job"], line["continues"], line["level"], line["group"]) == (second.id, first.id, "group", "g")
    assert line["destination"].endswith("/out/" + second.destination_uri.rpartition("/")[2])


def test_since_last_into_one_folder_says_how_each_run_gets_its_own(
    exporter: FakeExporter, run: Run, clock: FakeClock
) -> None:
    exporter.ends = [completed]
    assert run("export", "--to", "out", "--since", "last").exit_code == 0
    Path("out").mkdir()
    Path("out", "manifest.json").write_text("{}")
    clock.advance(10)
    result = run("export", "--to", "out", "--since", "last")
    assert result.exit_code == 2
    assert "--layout '<timestamp>'" in result.stderr


def test_another_layout_is_another_command(exporter: FakeExporter, run: Run) -> None:
    exporter.ends = [given_back]
    run("export", "--to", "out", "--layout", "<id>")
    for layout in ("<id>", "x/<id>"):
        result = run("export", "--to", "out", "--layout", layout)
        assert ("Resuming" in result.stderr) == (layout == "<id>"), result.stderr


EVERYTHING = [
    "--group", "g", "--patient", "a", "--type", "Patient,Observation", "--include-associated-data", "_deleted",
    "--include-referenced", "Device", "--reference-depth", "3", "--new-members", "full", "--left-members", "delete",
    "--layout", "daily/<timestamp>-<id>/<resourcename>", "--min-file-size", "1MB",
]  # fmt: skip


def test_the_command_that_is_told_finds_a_job_of_many_options(
    exporter: FakeExporter, run: Run, clock: FakeClock
) -> None:
    exporter.ends = [completed]
    first = [word for word in EVERYTHING if word not in ("--new-members", "full", "--left-members", "delete")]
    assert run("export", "--to", "out", *first).exit_code == 0
    clock.advance(5)
    exporter.ends = [given_back]
    assert run("export", "--to", "out", *EVERYTHING, "--since", "last").exit_code == 6
    record = exporter.jobs()[-1]
    shown = run("jobs", "show", record.id).stdout
    for said in (
        "whom          Group/g, patient a\n", f"continues     job {exporter.jobs()[0].id}\n", "referenced    Device, 3 steps",
        "members       new ones in full; what those who left have is listed as deleted", "along         _deleted",
        "layout        daily/<timestamp>-<id>/<resourcename>\n",
    ):  # fmt: skip
        assert said in shown
    told = next(line for line in shown.splitlines() if "fhirferry export" in line).partition(": ")[2]
    clock.advance(5)
    exporter.ends = [completed]
    again = run(*shlex.split(told)[1:])
    assert f"Resuming export job {record.id}" in again.stderr
    line = json.loads(run("jobs", "list", "--json").stdout.splitlines()[-1])
    assert (line["group"], line["patients"], line["destination_root"].rpartition("/")[2]) == ("g", ["a"], "out")


def test_a_job_with_a_list_of_its_own_is_run_by_a_worker_or_whoever_has_the_list(
    exporter: FakeExporter, run: Run, clock: FakeClock
) -> None:
    Path("list").write_text("\n".join(MANY))
    exporter.ends = [given_back]
    stopped = run("export", "--to", "out", "--patients-from", "list")
    assert stopped.exit_code == 6, stopped.stderr
    assert stopped.stdout.endswith("To go on:\n  fhirferry worker --until-idle\n")
    (record,) = exporter.jobs()
    assert tuple(exporter.ledger.listed(record.id)) == tuple(sorted(MANY))
    page = run("jobs", "show", record.id).stdout
    assert "whom          patients of a list (SHA-256 " in page
    assert "Let a worker do it: fhirferry worker --until-idle\n" in page
    assert "type its command again, with the same list" in page
    exporter.ends = [completed]
    Path("same").write_text("\n".join(f"Patient/{ident}" for ident in reversed(MANY)))
    assert f"Resuming export job {record.id}" in run("export", "--to", "out", "--patients-from", "same").stderr
    with_list = ExportRequest(level="patient", patient_list=str(record.request.patient_list))
    for number, (changes, says) in enumerate(
        [
            (
                (held_by(a_dead_holder()), half),
                "Its process has ended. Let a worker do it: fhirferry worker --until-idle",
            ),
            ((held_by("x/1/2/3/4/5"), failed), "fhirferry jobs retry j1"),
        ]
    ):
        exporter.add(f"j{number}", *changes, request=with_list)
        assert says in run("jobs", "show", f"j{number}").stdout


def test_verify_reads_the_list_only_to_compare_with_a_store(exporter: FakeExporter, run: Run) -> None:
    Path("out").mkdir()
    Path("list").write_text("a\n")
    result = run("verify", "out", "--patients-from", "list")
    assert result.exit_code == 2
    assert "--against" in result.stderr


def test_help_is_told_in_sections(run: Run) -> None:
    said = run("export", "--help").stdout
    titles = [line for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options:", "Whom:", "What:", "Since when:", "Files:", "How:", "Example:"]
    assert "Whom:" not in run("import", "--help").stdout
