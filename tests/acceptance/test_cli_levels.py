"""Patients, groups, lists, chains and folders with the command line itself: kill, resume as told, verify."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.ferrying import FAULTY, Ran, deleted, exported, ferry, manifest

STORE = "fhirferry-data/store.db"
SMALL = ("--page-size", 10, "--pages-per-commit", 2)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(*resources: dict[str, Any]) -> None:
    Path("in.ndjson").write_text("".join(json.dumps(each) + "\n" for each in resources))
    assert ferry("import", "in.ndjson").code == 0


def patient(ident: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": ident, **more}


def seen(ident: str, of: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "id": ident, "status": "final", "code": {"text": "x"},
        "subject": {"reference": f"Patient/{of}"}, "performer": [{"reference": "Practitioner/doc"}],
    }  # fmt: skip


def group(*members: str) -> dict[str, Any]:
    entities = [{"entity": {"reference": f"Patient/{each}"}} for each in members]
    return {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": entities}


def export(*arguments: object, code: int = 0) -> tuple[Ran, dict[str, Any]]:
    ran = ferry("export", "--to", "out", "--json", *arguments)
    assert ran.code == code, ran.out + ran.err
    return ran, ran.lines[-1]


def folder_of(line: dict[str, Any]) -> Path:
    return Path(line["destination"].removeprefix("file://"))


def holds(folder: Path, *arguments: object) -> None:
    ran = ferry("verify", folder, "--against", STORE, *arguments)
    assert ran.code == 0, ran.out + ran.err


@pytest.fixture
def three() -> None:
    put(
        {"resourceType": "Practitioner", "id": "doc"},
        *(patient(each) for each in "abc"),
        *(seen(f"o{each}", each) for each in "abc"),
        group("a", "b"),
    )


CHAIN = ("--group", "g", "--since", "last", "--layout", "<timestamp>-<id>/<resourcename>")
LAYOUT = (*CHAIN, "--include-referenced", "none")


def test_b29_a_chain_of_a_group_brings_who_joined_and_tells_who_left(three: None) -> None:
    ran, line = export(*LAYOUT)
    assert "this one is full" in ran.err
    folder = folder_of(line)
    assert folder.parent == Path("out").absolute()
    assert (folder / "Patient" / "Patient-1.ndjson").is_file()
    assert set(exported(folder)) == {"Patient/a", "Patient/b", "Observation/oa", "Observation/ob", "Group/g"}
    holds(folder)

    put(patient("a", active=True), group("a", "c"))
    plan = ferry("export", "--to", "out", *LAYOUT, "--left-members", "delete", "--dry-run", "--json").lines[-1]
    assert (plan["continues"], plan["patients"]) == (line["job"], 2)
    ran, second = export(*LAYOUT, "--left-members", "delete")
    assert f"Going on from export job {line['job']}" in ran.err
    assert second["continues"] == line["job"]
    folder = folder_of(second)
    assert set(exported(folder)) == {"Patient/a", "Patient/c", "Observation/oc", "Group/g"}
    assert deleted(folder) == {"Patient/b", "Observation/ob"}
    holds(folder)

    ran, third = export(*LAYOUT, "--new-members", "since")
    assert (third["continues"], third["resources"]) == (second["job"], 0)
    holds(folder_of(third))
    shown = ferry("jobs", "show", second["job"]).out
    assert f"continues     job {line['job']}\n" in shown


def test_l32_what_was_brought_along_once_comes_again_only_when_it_changed(three: None) -> None:
    _, first = export(*CHAIN)
    assert "Practitioner/doc" in exported(folder_of(first))
    put(seen("new", "a"))
    _, second = export(*CHAIN)
    assert set(exported(folder_of(second))) == {"Observation/new"}
    holds(folder_of(first))
    holds(folder_of(second))


def test_promise_1_a_killed_increment_is_found_by_since_last_and_by_the_command_that_is_told(three: None) -> None:
    _, first = export(*LAYOUT)
    put(*(seen(f"x{number}", "a") for number in range(60)), group("a", "c"))
    typed = ("export", "--to", "out", *LAYOUT, *SMALL)
    for number, fault in enumerate(("cohort-recorded", "commit-after:2")):
        env = {**os.environ, "FHIRFERRY_POLL": "20ms", "FHIRFERRY_FAULT": f"{fault}:{'1:' * (number == 0)}kill"}
        killed = subprocess.run([*FAULTY, *map(str, typed)], env=env, capture_output=True, text=True, timeout=60)
        assert killed.returncode == -9, killed.stderr
    jobs = ferry("jobs", "list", "--json").lines
    assert [job["status"] for job in jobs] == ["completed", "running"]
    assert jobs[1]["continues"] == first["job"]
    shown = ferry("jobs", "show", jobs[1]["id"]).out
    told = shlex.split(next(line for line in shown.splitlines() if "fhirferry export" in line).partition(": ")[2])
    ran = ferry(*told[1:], "--json")
    assert (ran.code, ran.lines[-1]["job"]) == (0, jobs[1]["id"]), ran.err
    folder = folder_of(ran.lines[-1])
    assert set(exported(folder)) == {
        "Group/g", "Patient/c", "Observation/oc", *(f"Observation/x{number}" for number in range(60)),
    }  # fmt: skip
    holds(folder)


def test_a_long_list_is_exported_resumed_by_a_worker_and_verified_with_ledger_or_list() -> None:
    ids = [f"p{number}" for number in range(300)]
    put(*(patient(ident) for ident in ids), *(seen(f"o{ident}", ident) for ident in ids))
    wanted = ids[:150]
    Path("list").write_text("# half of them\n" + "\n".join(f"Patient/{ident}" for ident in wanted))
    typed = ["export", "--to", "out", "--patients-from", "list", *map(str, SMALL)]
    env = {**os.environ, "FHIRFERRY_POLL": "20ms", "FHIRFERRY_FAULT": "commit-after:3:kill"}
    killed = subprocess.run([*FAULTY, *typed], env=env, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9, killed.stderr
    (job,) = ferry("jobs", "list", "--json").lines
    assert (job["level"], job["patients"], len(job["patient_list"])) == ("patient", None, 64)
    assert "Let a worker do it: fhirferry worker --until-idle\n" in ferry("jobs", "show", job["id"]).out
    assert ferry("worker", "--until-idle").code == 0
    assert set(exported(Path("out"))) == {
        name for ident in wanted for name in (f"Patient/{ident}", f"Observation/o{ident}")
    }
    holds(Path("out"))
    Path(STORE).rename("store.db")
    alone = ("verify", "out", "--against", "store.db", "--home", "elsewhere")
    without = ferry(*alone)
    assert without.code == 5
    assert "verify it with that ledger" in without.out
    assert ferry(*alone, "--ledger", "fhirferry-data/ledger.db").code == 0
    assert ferry(*alone, "--patients-from", "list").code == 0
    Path("list").write_text("p1\n")
    other = ferry(*alone, "--patients-from", "list")
    assert other.code == 2
    assert "not the one that this export was made of" in other.err


def test_l1_who_is_not_there_is_no_export_of_anybody(three: None) -> None:
    for arguments, says in (
        (("--group", "h"), "Group h was not found."),
        (("--patient", "a", "--patient", "z"), "not there: z"),
        (("--group", "g", "--patient", "c"), "no active members of Group g: c"),
        (("--patients-from", "/dev/null"), "names no patients"),
    ):
        ran = ferry("export", "--to", "out", *arguments)
        assert (ran.code, says in ran.err) == (2, True), ran.err
    assert not Path("out").exists()
    put(group())
    plan = ferry("export", "--to", "out", "--group", "g", "--dry-run").out
    assert "Group/g has no active member" in plan
    _, line = export("--group", "g", code=3)
    assert "Patient" not in {item["type"] for item in manifest(Path("out"))["output"]}
    assert line["issue_count"] == 1


def test_patients_on_stdin_narrow_a_group(three: None) -> None:
    done = subprocess.run(
        [*FAULTY[:1], "-m", "fhirferry.cli.main", "export", "--to", "out", "--group", "g", "--patients-from", "-",
         "--include-referenced", "none"],
        input="b\n", text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(exported(Path("out"))) == {"Patient/b", "Observation/ob"}
    holds(Path("out"))
