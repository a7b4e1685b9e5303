"""Importing into the real store: killed and repeated, nothing doubles."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirferry.importing.importer import ImportTotals, import_paths
from fhirferry.model.errors import RequestError
from fhirferry.store import provenance
from fhirferry.store.sqlite import SqliteStore
from tests.unit.importing.conftest import basic

COUNT = 60_000
PROGRAM = """
import sys
from pathlib import Path
from fhirferry.importing.importer import import_paths
from fhirferry.store.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], clock=lambda: 10**15, create=True)
import_paths(store, [Path(sys.argv[2])], strict=False, force=False, on_bad=print,
             on_progress=lambda totals: print(totals.resources, flush=True), clock=lambda: 0)
"""


def load(store: SqliteStore, *paths: Path, force: bool = False) -> ImportTotals:
    bad: list[object] = []
    totals = import_paths(
        store,
        paths,
        strict=False,
        force=force,
        on_bad=lambda *report: bad.append(report),
        on_progress=lambda totals: None,
        clock=lambda: time.time_ns() // 1000,
    )
    assert bad == []
    return totals


def test_killed_and_repeated_there_are_no_doubles(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    lines, path = tmp_path / "a.ndjson", tmp_path / "store.db"
    lines.write_bytes(b"".join(basic(n, f',"n":{n}.50') + b"\n" for n in range(COUNT)))
    child = start([sys.executable, "-c", PROGRAM, str(path), str(lines)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    committed = int(child.stdout.readline())
    child.kill()
    child.wait()

    store = SqliteStore(str(path), clock=lambda: 2 * 10**15)
    kept = store.info().types["Basic"].resources
    assert committed <= kept < COUNT
    done = load(store, lines).types["Basic"]
    assert (done.equal, done.new, done.changed) == (kept, COUNT - kept, 0)
    info = store.info().types["Basic"]
    assert (info.resources, info.versions) == (COUNT, COUNT)
    store.close()


def test_what_the_store_stamped_comes_back_equal_and_what_it_deleted_is_counted(tmp_path: Path) -> None:
    now = [10**15]
    store = SqliteStore(str(tmp_path / "store.db"), clock=lambda: now[0], create=True)
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n) + b"\n" for n in range(3)))
    assert load(store, tmp_path / "a.ndjson").types["Basic"].new == 3
    bodies = [store.get("Basic", str(n)) for n in range(3)]
    (tmp_path / "b.ndjson").write_bytes(
        b"\n".join(bytes(body, "utf-8") if isinstance(body, str) else body for body in bodies)
    )  # type: ignore[arg-type]

    now[0] += 10**9
    assert load(store, tmp_path / "b.ndjson").types["Basic"].equal == 3
    (tmp_path / "c.json").write_bytes(
        b'{"resourceType":"Bundle","type":"transaction","entry":['
        b'{"request":{"method":"DELETE","url":"Basic/1"}},{"request":{"method":"DELETE","url":"Basic/7"}},'
        b'{"resource":%s},{"resource":%s}]}'
        % (basic(2, ',"x":2'), basic(0, ',"x":0,"meta":{"lastUpdated":"1999-01-01T00:00:00Z"}'))
    )
    done = load(store, tmp_path / "c.json").types["Basic"]
    assert (done.deleted, done.absent, done.changed, done.older) == (1, 1, 1, 1)
    assert load(store, tmp_path / "c.json", force=True).types["Basic"].changed == 1
    store.close()


def test_what_was_written_is_durable_and_waited_for_when_reading_fails_later(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n) + b"\n" for n in range(17_600)))
    empty = tmp_path / "b.ndjson"
    empty.touch()
    with SqliteStore(str(tmp_path / "store.db"), clock=lambda: 10**15, create=True) as store:
        with pytest.raises(RequestError, match="no such file"):
            load(store, tmp_path / "a.ndjson", *[empty] * 64, tmp_path / "none.ndjson")
        assert store.info().types["Basic"].resources >= 17_500


def test_b45_what_provenance_is_about_is_indexed_by_the_import_not_by_the_first_export(tmp_path: Path) -> None:
    (tmp_path / "p.ndjson").write_text('{"resourceType":"Provenance","id":"x","target":[{"reference":"Basic/1"}]}\n')
    with SqliteStore(str(tmp_path / "store.db"), clock=lambda: 10**15, create=True) as store:
        load(store, tmp_path / "p.ndjson")
        assert provenance.index(store) == 0, "nothing is left to do"
        with store.reading() as db:
            assert db.execute("select reference from target").fetchall() == [(b"Basic/1",)]
