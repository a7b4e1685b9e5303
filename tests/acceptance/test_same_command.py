"""Equal `export` commands at the same instant are one job: one runs it, the others wait for it and tell its end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.ferrying import SCRIPT, exported, ferry

ROUNDS, AT_ONCE = 4, 5


@pytest.fixture
def store(tmp_path: Path) -> Path:
    lines = ({"resourceType": "Patient", "id": f"{n}", "text": {"div": "x" * 500}} for n in range(200))
    (tmp_path / "Patient.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ferry("import", "Patient.ndjson", at=tmp_path)
    return tmp_path


def test_two_equal_commands_at_the_same_instant_make_one_job(
    store: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    # Slow enough for the second process to meet the first one's job, though one of them gets the cores first.
    slowly = ["--json", "--limit-rate", "300kB", "--page-size", "20", "--ledger", "ledger.db"]
    for number in range(ROUNDS):
        places = [f"out{number}-{place}" for place in range(AT_ONCE)]
        pairs = {
            place: [
                start(
                    [SCRIPT, "export", "--to", place, *slowly],
                    cwd=store,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                for _ in range(2)
            ]
            for place in places
        }
        for place, both in pairs.items():
            ends = [child.communicate(timeout=60) for child in both]
            said = "\n".join(err.decode() for _, err in ends)
            assert [child.returncode for child in both] == [0, 0], said
            lines = [json.loads(out) for out, _ in ends]
            assert lines[0]["job"] == lines[1]["job"]
            assert sorted(line["resumed"] for line in lines) == [False, True]
            assert len(exported(store / place)) == 200
    jobs = ferry("jobs", "list", "--json", "--ledger", "ledger.db", at=store).lines
    assert [job["status"] for job in jobs] == ["completed"] * ROUNDS * AT_ONCE
