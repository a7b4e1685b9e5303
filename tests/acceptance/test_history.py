"""`_history` from the command line: earlier versions beside the current ones, through a kill and a pruning, and not back in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.ferrying import FAULTY, ferry, manifest

HISTORY = ("--include-associated-data", "_history")
SMALL = ("--page-size", 5, "--pages-per-commit", 1)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty patients in three versions each, one of them deleted; two newcomers."""
    monkeypatch.chdir(tmp_path)
    for value in range(3):
        write(f"{value}.ndjson", [(str(number), value) for number in range(20)])
        assert ferry("import", f"{value}.ndjson").code == 0
    Path("gone.json").write_text(
        json.dumps(
            {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [{"request": {"method": "DELETE", "url": "Patient/7"}}],
            }
        )
    )
    assert ferry("import", "gone.json").code == 0


def write(name: str, patients: list[tuple[str, Any]]) -> None:
    lines = [{"resourceType": "Patient", "id": ident, "language": str(value)} for ident, value in patients]
    Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def versions(folder: str, *, history: bool) -> list[tuple[str, str]]:
    items = [item for item in manifest(Path(folder))["output"] if item["extension"].get("history", False) == history]
    lines = [json.loads(line) for item in items for line in Path(folder, item["url"]).read_text().splitlines()]
    return sorted((line["id"], line["language"]) for line in lines)


FORMER = sorted((str(number), str(value)) for number in range(20) for value in (0, 1, 2) if value < 2 or number == 7)
CURRENT = sorted((str(number), "2") for number in range(20) if number != 7)


def assert_whole(folder: str) -> None:
    assert versions(folder, history=False) == CURRENT
    assert versions(folder, history=True) == FORMER
    assert sorted(path.name for path in Path(folder).glob("*.ndjson")) == [
        item["url"] for item in manifest(Path(folder))["output"] if not item["extension"].get("history")
    ], "who reads *.ndjson reads each resource once (B96)"
    ran = ferry("verify", folder, "--against", "fhirferry-data/store.db")
    assert (ran.code, "earlier versions" in ran.out) == (0, True), ran.out + ran.err


def test_b96_earlier_versions_lie_beside_and_verify_holds() -> None:
    ran = ferry("export", "--to", "out", *HISTORY)
    assert ran.code == 0, ran.err
    assert "Patient (history)" in ran.out
    assert_whole("out")
    assert sorted(str(path) for path in Path("out").rglob("*.ndjson")) == [
        "out/Patient-1.ndjson",
        "out/history/Patient-1.ndjson",
    ]


def test_an_import_of_it_takes_what_is_current() -> None:
    assert ferry("export", "--to", "out", *HISTORY).code == 0
    ran = ferry("import", "out", "--store", "back.db", "--json")
    assert ran.code == 0, ran.err
    assert ferry("export", "--from", "back.db", "--to", "again").code == 0
    assert versions("again", history=False) == CURRENT, "and nothing that is deleted"
    named = ferry("import", "out/history/Patient-1.ndjson", "--store", "back.db", "--json")
    (done,) = [line for line in named.lines if line["type"] == "import"]
    assert done["older"] == len(FORMER) - 3, "named by itself, it overwrites nothing that is newer"


@pytest.mark.parametrize("point", ["page-written:7", "commit-after:4", "snapshot-pinned:1"])
def test_promise_1_a_kill_and_a_pruning_cost_no_version(point: str) -> None:
    command = [*FAULTY, "export", "--to", "out", *HISTORY, *map(str, SMALL)]
    env = {**os.environ, "FHIRFERRY_POLL": "20ms", "FHIRFERRY_FAULT": f"{point}:kill"}
    killed = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9, killed.stderr
    write("later.ndjson", [(str(number), "later") for number in range(20)])
    if not point.startswith("snapshot"):  # there the pin does not keep earlier versions yet
        assert ferry("import", "later.ndjson").code == 0
        assert ferry("store", "prune").code == 0
    ran = ferry("export", "--to", "out", *HISTORY, *SMALL)
    assert ran.code == 0, ran.err
    assert_whole("out")


def test_what_was_pruned_before_is_said() -> None:
    assert ferry("store", "prune").code == 0
    ran = ferry("export", "--to", "out", *HISTORY)
    assert ran.code == 3
    assert versions("out", history=False) == CURRENT
    assert versions("out", history=True) == []
    (issue,) = [json.loads(line) for line in Path("out/error/OperationOutcome-1.ndjson").read_text().splitlines()]
    assert "had been pruned" in issue["issue"][0]["diagnostics"]
    assert ferry("verify", "out", "--against", "fhirferry-data/store.db").code == 0


def test_an_increment_brings_what_ended_since() -> None:
    first = ferry("export", "--to", "first", "--json")
    write("new.ndjson", [("3", "new"), ("21", "new")])
    assert ferry("import", "new.ndjson").code == 0
    t = manifest(Path("first"))["transactionTime"]
    assert first.code == 0
    assert ferry("export", "--to", "second", "--since", t, *HISTORY).code == 0
    assert versions("second", history=False) == [("21", "new"), ("3", "new")]
    assert versions("second", history=True) == [("3", "2")]
