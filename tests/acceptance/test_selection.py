"""Type filters and elements from the command line to the files: exactly what was asked for, through a kill as well."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.ferrying import FAULTY, Ran, ferry, manifest

ASKED = (
    "--type", "Observation,Patient,Condition",
    "--type-filter", "Observation?category=laboratory&date=ge2020",
    "--type-filter", "Observation?code=http://loinc.org|8302-2",
    "--type-filter", "Condition?clinical-status=nonsense",
    "--elements", "id,Observation.value,Observation.effective,Patient.name,birthDate",
)  # fmt: skip


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ferry("generate", "--patients", 5, "--to", "samples").code == 0
    assert ferry("import", "samples").code == 0


def lines(folder: str, kind: str) -> list[dict[str, Any]]:
    files = [item["url"] for item in manifest(Path(folder))["output"] if item["type"] == kind]
    return [json.loads(line) for name in files for line in Path(folder, name).read_text().splitlines()]


def samples(kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("samples", f"{kind}.ndjson").read_text().splitlines()]


def wanted(observation: dict[str, Any]) -> bool:
    categories = {c["code"] for one in observation.get("category", ()) for c in one.get("coding", ())}
    codes = {(c["system"], c["code"]) for c in observation["code"].get("coding", ())}
    laboratory = "laboratory" in categories and observation.get("effectiveDateTime", "") >= "2020"
    return laboratory or ("http://loinc.org", "8302-2") in codes


def assert_what_was_asked_for(folder: str) -> None:
    ids = [observation["id"] for observation in samples("Observation") if wanted(observation)]
    found = lines(folder, "Observation")
    assert 0 < len(ids) < len(samples("Observation"))
    assert sorted(one["id"] for one in found) == sorted(ids)
    always = {"resourceType", "id", "meta", "status", "code"}
    for one in found:
        assert one.keys() <= always | {"effectiveDateTime", "valueQuantity", "valueCodeableConcept", "valueString"}
        assert one["meta"]["tag"][-1]["code"] == "SUBSETTED"
    assert any("valueQuantity" in one for one in found)
    patients = lines(folder, "Patient")
    assert len(patients) == 5
    assert all("name" in one and "birthDate" in one and "gender" not in one for one in patients)
    assert "Condition" not in {item["type"] for item in manifest(Path(folder))["output"]}  # B74
    ran = ferry("verify", folder, "--against", "fhirferry-data/store.db")
    assert ran.code == 0, ran.out + ran.err


def test_b46_b36_filters_and_elements_from_the_command_line_and_verify_holds() -> None:
    plan = ferry("export", "--to", "out", *ASKED, "--dry-run")
    assert (plan.code, "At most" in plan.out) == (0, True)
    assert ferry("export", "--to", "out", *ASKED).code == 0
    assert_what_was_asked_for("out")
    (job,) = [line for line in ferry("jobs", "list", "--json").lines if line["type"] == "job"]
    assert len(job["type_filters"]) == 3
    shown = ferry("jobs", "show", job["id"]).out
    assert "Observation?code=http://loinc.org|8302-2" in shown
    assert "Patient.name" in shown


@pytest.mark.parametrize("executor", ["threads:2", "processes:2"])
def test_promise_1_a_killed_selection_goes_on_with_the_command_that_jobs_show_tells(executor: str) -> None:
    small = ("--page-size", 10, "--pages-per-commit", 2, "--executor", executor)
    command = [*FAULTY, "export", "--to", "out", *ASKED, *map(str, small)]
    env = {**os.environ, "FHIRFERRY_POLL": "20ms", "FHIRFERRY_FAULT": "commit-after:3:kill"}
    killed = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9, killed.stderr
    (job,) = ferry("jobs", "list", "--json").lines
    shown = ferry("jobs", "show", job["id"]).out
    resume = shlex.split(next(line for line in shown.splitlines() if "fhirferry export" in line).partition(": ")[2])
    assert resume[0] == "fhirferry"
    ran: Ran = ferry(*resume[1:])
    assert ran.code == 0, ran.err
    assert f"Resuming export job {job['id']}" in ran.err
    assert_what_was_asked_for("out")


def test_b50_wrong_selections_are_told_all_at_once_and_nothing_is_made() -> None:
    ran = ferry(
        "export", "--to", "out", "--type", "Patient", "--type-filter", "Patient?gendr=male", "--type-filter",
        "Observation?code=x", "--elements", "Patient.nmae", "--lenient",
    )  # fmt: skip
    assert ran.code == 2
    assert "did you mean 'gender'" in ran.err
    assert "Observation is not in _type" in ran.err
    assert not Path("out").exists()
    assert ferry("export", "--to", "out", "--type-filter", "Patient?gender=male").code == 2  # S68
    assert ferry("export", "--to", "out", "--elements", "Patient.name.family").code == 2


def test_b50_lenient_says_what_it_passed_over() -> None:
    ran = ferry("export", "--to", "out", "--type", "Patient", "--elements", "Patient.nmae", "--lenient")
    assert ran.code == 3, ran.err
    told = Path("out", "error", "OperationOutcome-1.ndjson").read_text()
    assert json.loads(told)["issue"][0]["severity"] == "warning"
    assert all("name" not in one for one in lines("out", "Patient"))
    assert ferry("verify", "out", "--against", "fhirferry-data/store.db").code == 0
