"""docs/backup.md is so: its own commands, taken beside a running export, give a store and a ledger to go on with."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.ferrying import SCRIPT, Ran, exported, ferry
from tests.docs_runner import Block, blocks, follow

PAGE = Path(__file__).parents[2] / "docs" / "backup.md"
BACK_UP, RESTORE, SET_ASIDE = blocks(PAGE)
EXPORT = ["export", "--to", "out", "--max-file-size", "40kB", "--page-size", "10", "--limit-rate", "400kB"]
Start = Callable[..., "subprocess.Popen[bytes]"]


def as_the_page_says(block: Block, at: Path) -> None:
    """Run one block of the page in this folder."""
    page = at / "page.md"
    page.write_text(f"```{block.language}\n{block.text}```\n")
    assert [done.complaint() for done in follow(page, at)] == [None]


def listed(at: Path) -> list[str]:
    """Names of the only job's files in the ledger."""
    known = ferry("jobs", "list", "--json", at=at).lines
    shown = ferry("jobs", "show", known[0]["id"], "--json", at=at).lines if known else []
    return [line["name"] for line in shown if line["type"] == "file"]


@pytest.fixture
def at(tmp_path: Path) -> Path:
    """A folder with a filled store."""
    (tmp_path / "samples").mkdir()
    for kind in ("Condition", "Observation", "Patient"):
        with (tmp_path / "samples" / f"{kind}.ndjson").open("w") as file:
            for n in range(250):
                file.write(json.dumps({"resourceType": kind, "id": f"{n}", "text": {"div": "x" * 600}}) + "\n")
    assert ferry("import", "samples", at=tmp_path).code == 0
    return tmp_path


def back_up_beside_an_export(at: Path, start: Start) -> dict[str, bytes]:
    """Back up, with a write between the two copies as well, while an export runs; let that go on a little, then kill
    it. What the store held at its T."""
    ferry("export", "--to", "undisturbed", "--ledger", "other.db", at=at)
    at_t = exported(at / "undisturbed")
    child = start([SCRIPT, *EXPORT], cwd=at, stderr=subprocess.DEVNULL)
    while len(listed(at)) < 2:
        assert child.poll() is None
        time.sleep(0.02)
    both = '("ledger", "store")'
    assert both in BACK_UP.text
    as_the_page_says(BACK_UP._replace(text=BACK_UP.text.replace(both, '("ledger",)')), at)
    (at / "late.ndjson").write_text('{"resourceType":"Patient","id":"late"}\n{"resourceType":"Patient","id":"7"}\n')
    assert ferry("import", "late.ndjson", at=at).code == 0
    as_the_page_says(BACK_UP._replace(text=BACK_UP.text.replace(both, '("store",)')), at)
    published = len(list((at / "out").glob("*.ndjson")))
    while len(list((at / "out").glob("*.ndjson"))) < published + 1:
        assert child.poll() is None, "the export was too fast for this test"
        time.sleep(0.02)
    child.kill()
    child.wait()
    return at_t


def verified(at: Path) -> Ran:
    return ferry("verify", "out", "--against", "fhirferry-data/store.db", at=at)


def test_both_restored_and_resumed_to_a_verified_end(at: Path, start: Start) -> None:
    at_t = back_up_beside_an_export(at, start)
    as_the_page_says(RESTORE, at)
    assert {path.stat().st_mode & 0o777 for path in (at / "backup").iterdir()} == {0o600}
    known = listed(at)
    before = len(list((at / "out").glob("*.ndjson")))
    assert len(known) < before, "the destination went on after the backup"

    as_the_page_says(SET_ASIDE, at)
    aside = [path.name for path in (at / "out.aside").glob("*.ndjson")]
    assert aside
    assert len(aside) + len(list((at / "out").glob("*.ndjson"))) == before
    resumed = ferry(*EXPORT, at=at)
    assert (resumed.code, "Resuming export job" in resumed.err) == (0, True), resumed.err
    assert exported(at / "out") == at_t
    assert verified(at).code == 0


def test_a_resume_before_the_files_are_set_aside_fails_names_them_one_by_one_and_loses_nothing(
    at: Path, start: Start
) -> None:
    at_t = back_up_beside_an_export(at, start)
    as_the_page_says(RESTORE, at)
    (at / "aside").mkdir()
    (job,) = (line["id"] for line in ferry("jobs", "list", "--json", at=at).lines)
    for _ in range(40):
        tried = ferry(*EXPORT, at=at)
        if tried.code == 0:
            break
        assert tried.code == 1
        (named,) = {path for path in (at / "out").glob("*.ndjson") if f"{path} is there already" in tried.err}
        named.rename(at / "aside" / named.name)
        assert ferry("jobs", "retry", job, at=at).code == 0
    assert exported(at / "out") == at_t
    assert verified(at).code == 0


def test_an_export_that_completed_after_the_backup_is_kept_and_its_job_forgotten(at: Path, start: Start) -> None:
    at_t = back_up_beside_an_export(at, start)
    assert ferry(*EXPORT, at=at).code == 0
    as_the_page_says(RESTORE, at)
    assert ferry("verify", "out", at=at).code == 0
    (job,) = (line["id"] for line in ferry("jobs", "list", "--unfinished", "--json", at=at).lines)
    assert ferry("jobs", "delete", job, "--yes", "--keep-files", at=at).code == 0
    assert exported(at / "out") == at_t


def test_the_chain_goes_on_from_an_export_that_the_restored_ledger_lists(at: Path, start: Start) -> None:
    assert ferry("export", "--to", "full", at=at).code == 0
    as_the_page_says(BACK_UP, at)
    (at / "lost.ndjson").write_text('{"resourceType":"Patient","id":"lost"}\n')
    assert ferry("import", "lost.ndjson", at=at).code == 0
    as_the_page_says(RESTORE, at)
    (at / "new.ndjson").write_text('{"resourceType":"Patient","id":"new"}\n')
    assert ferry("import", "new.ndjson", at=at).code == 0
    since = json.loads((at / "full" / "manifest.json").read_bytes())["transactionTime"]
    assert ferry("export", "--to", "next", "--since", since, at=at).code == 0
    assert list(exported(at / "next")) == ["Patient/new"]
