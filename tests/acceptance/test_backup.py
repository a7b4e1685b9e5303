"""docs/backup.md is so: its own commands, taken beside a running export, give a store and a ledger to go on with."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.ferrying import SCRIPT, Ran, exported, ferry
from tests.docs_runner import Block, blocks, follow

PAGE = Path(__file__).parents[2] / "docs" / "backup.md"
BACK_UP, RESTORE, SET_ASIDE = blocks(PAGE)
EXPORT = ["export", "--to", "out", "--max-file-size", "40kB", "--page-size", "10", "--limit-rate", "200kB"]
SLOW = [*EXPORT[:-1], "120kB"]  # for as long as a write and a backup take, however busy the machine
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


def back_up(at: Path, name: str) -> None:
    """The page's program, for one of the two files."""
    both = '("ledger", "store")'
    assert both in BACK_UP.text
    as_the_page_says(BACK_UP._replace(text=BACK_UP.text.replace(both, f'("{name}",)')), at)


def exporting(at: Path, start: Start, files: int, command: Sequence[str] = EXPORT) -> subprocess.Popen[bytes]:
    """The export, so far that this many of its files are listed."""
    child = start([SCRIPT, *command], cwd=at, stderr=subprocess.DEVNULL)
    while _count(at) < files:
        assert child.poll() is None, "the export was too fast for this test"
        time.sleep(0.02)
    return child


def _count(at: Path) -> int:
    """Files in the ledger, asked without starting a process."""
    try:
        with closing(sqlite3.connect(f"file:{at}/fhirferry-data/ledger.db?mode=ro", uri=True)) as ledger:
            return int(ledger.execute("select count(*) from file").fetchone()[0])
    except sqlite3.Error:  # not there yet
        return 0


def write(at: Path) -> None:
    """What an export that has its T must not show."""
    (at / "late.ndjson").write_text('{"resourceType":"Patient","id":"late"}\n{"resourceType":"Patient","id":"7"}\n')
    assert ferry("import", "late.ndjson", at=at).code == 0


def back_up_beside_an_export(at: Path, start: Start, files: int = 2) -> dict[str, bytes]:
    """Back up while an export runs, with a write between the two copies; let the export go on a little, then kill it.
    What the store held at its T."""
    at_t = undisturbed(at)
    child = exporting(at, start, files)
    back_up(at, "ledger")
    write(at)
    back_up(at, "store")
    published = len(list((at / "out").glob("*.ndjson")))
    while len(list((at / "out").glob("*.ndjson"))) == published and child.poll() is None:
        time.sleep(0.02)
    child.kill()
    child.wait()
    return at_t


def undisturbed(at: Path) -> dict[str, bytes]:
    """What the store holds now, by an export of its own."""
    assert ferry("export", "--to", "undisturbed", "--ledger", "other.db", at=at).code == 0
    return exported(at / "undisturbed")


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
    at_t = back_up_beside_an_export(at, start, files=4)
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
    if not (at / "out" / "manifest.json").exists():
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


def test_a_t_that_was_fixed_between_the_two_copies_is_found_in_the_store(at: Path, start: Start) -> None:
    at_t = undisturbed(at)
    assert ferry(*SLOW, "--detach", at=at).code == 0
    back_up(at, "ledger")
    child = exporting(at, start, files=1, command=SLOW)
    write(at)
    back_up(at, "store")
    assert child.poll() is None, "the export was too fast for this test"
    child.kill()
    child.wait()
    as_the_page_says(RESTORE, at)
    as_the_page_says(SET_ASIDE, at)
    assert ferry(*SLOW, at=at).code == 0
    assert exported(at / "out") == at_t
    assert verified(at).code == 0


@pytest.mark.parametrize("pruned", [False, True], ids=["", "pruned"])
def test_an_export_that_completed_between_the_two_copies_is_done_again_or_fails(
    at: Path, start: Start, pruned: bool
) -> None:
    at_t = undisturbed(at)
    child = exporting(at, start, files=1)
    back_up(at, "ledger")
    write(at)
    assert child.wait(30) == 0
    if pruned:
        assert ferry("store", "prune", at=at).code == 0
    back_up(at, "store")
    as_the_page_says(RESTORE, at)
    as_the_page_says(SET_ASIDE, at)
    again = ferry(*EXPORT, at=at)
    if pruned:
        assert (again.code, "cannot be shown any more" in again.err) == (1, True)
        assert not (at / "out" / "manifest.json").exists()
    else:
        assert again.code == 0
        assert exported(at / "out") == at_t
