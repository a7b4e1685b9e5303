"""`fhirferry store index`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from fhirferry.store import indexing
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Ticking, of, resource
from tests.unit.cli.conftest import Run


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that knows nobody's compartments, as one of schema 1 does after it was opened."""
    monkeypatch.setattr(indexing, "AT_ONCE", 3)
    path = str(tmp_path / "store.db")
    with SqliteStore(path, clock=Ticking(), create=True) as store:
        store.write([resource(f"Observation/{number}", subject=of("a")) for number in range(10)])
    db = sqlite3.connect(path)
    db.execute("update version set patient = 0")
    db.execute("update state set unindexed = 0")
    db.commit()
    db.close()
    return path


def test_a_store_is_indexed_once(run: Run, path: str) -> None:
    result = run("store", "index", "--store", path, "--json")
    line = json.loads(result.stdout)
    assert (result.exit_code, line["type"], line["versions"], line["stopped"]) == (0, "indexed", 10, False)
    assert "Indexed 10 versions" not in result.stdout
    again = run("store", "index", "--store", path)
    assert "is indexed already" in again.stdout + again.stderr


def test_s79_a_signal_stops_it_between_batches_and_the_same_command_goes_on(
    run: Run, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on = indexing._step

    def signaled(*args: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return went_on(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(indexing, "_step", signaled)
    result = run("store", "index", "--store", path, "--json")
    line = json.loads(result.stdout)
    assert (result.exit_code, line["versions"], line["stopped"]) == (6, 3, True)
    assert "Stopping after this batch" in result.stderr
    monkeypatch.setattr(indexing, "_step", went_on)
    assert json.loads(run("store", "index", "--store", path, "--json").stdout)["versions"] == 7
    with SqliteStore(path, clock=Ticking()) as store, store.reading() as db:
        assert db.execute("select count(*) from version where patient = 1").fetchone() == (10,)


def test_where_there_is_no_store_it_says_so(run: Run, tmp_path: Path) -> None:
    result = run("store", "index", "--store", str(tmp_path / "none.db"))
    assert result.exit_code == 2
    assert "there is no store" in result.stderr
