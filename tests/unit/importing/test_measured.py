"""How far an import is, in bytes of its files as they are stored: all of them in the end, never more on the way."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fhirferry.importing import ahead, importer
from fhirferry.importing.importer import import_paths
from fhirferry.importing.inputs import stored_bytes
from tests.unit.importing.conftest import Remembered, Run, basic

LINES = b"".join(basic(n, f',"text":"{"x" * 500}"') + b"\n" for n in range(9_000))
BUNDLE = json.dumps(
    {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": json.loads(basic(n))} for n in range(9)]}
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    place.mkdir()
    (place / "a.ndjson").write_bytes(LINES)
    (place / "b.ndjson.gz").write_bytes(gzip.compress(LINES, 1))
    (place / "c.json").write_text(BUNDLE)
    (place / "d.ndjson.gz").write_bytes(gzip.compress(LINES)[:-9])  # cut off
    (place / "e.ndjson").write_bytes(LINES + b"{bad}\n")
    (place / "notes.txt").write_bytes(b"not taken")
    return place


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("ahead_from", [0, 1 << 40], ids=["by a process", "here"])
def test_all_bytes_are_counted_whoever_reads(
    strict: bool, ahead_from: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "AHEAD_FROM", ahead_from)
    monkeypatch.setattr(importer, "BATCH_BYTES", 1_000_000)  # strict reads what is larger a second time
    read: list[int] = []
    totals = import_paths(
        Remembered(),  # type: ignore[arg-type]
        [folder],
        strict=strict,
        force=False,
        on_bad=lambda *_: None,
        on_progress=lambda totals: read.append(totals.read),
        clock=lambda: 0,
    )
    whole = stored_bytes([folder])
    assert totals.read == whole == sum(path.stat().st_size for path in folder.glob("*.*") if path.suffix != ".txt")
    assert read == sorted(read)
    assert read[-1] == whole
    assert len(set(read)) >= 3, "it moves on the way"
    if not strict:
        assert 0 < read[0] < len(LINES), "within a file, too"


def test_what_is_read_again_after_a_process_died_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "AHEAD_FROM", 0)
    monkeypatch.setattr(importer, "BATCH_BYTES", 1_000_000)
    answers = iter([None])
    receive = ahead.receive
    monkeypatch.setattr(ahead, "receive", lambda stream: next(answers) if len(read) == 2 else receive(stream))
    read: list[int] = []
    path = tmp_path / "a.ndjson"
    path.write_bytes(LINES * 3)
    totals = import_paths(
        Remembered(),  # type: ignore[arg-type]
        [path],
        strict=False,
        force=False,
        on_bad=lambda *_: None,
        on_progress=lambda totals: read.append(totals.read),
        clock=lambda: 0,
    )
    assert next(answers, "asked") == "asked"
    assert totals.resources == 27_000
    assert max(read) == read[-1] == len(LINES) * 3


def test_what_has_no_size_makes_the_whole_unknown_and_what_is_missing_does_not(folder: Path, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    assert stored_bytes([folder, tmp_path / "pipe"]) is None
    assert stored_bytes([tmp_path / "nobody"]) is None, "the import says what is wrong"
    (folder / "manifest.json").write_text('{"output":[{"url":"a.ndjson"},{"url":"gone.ndjson"}]}')
    assert stored_bytes([folder]) == len(LINES)


def test_a_pipe_counts_nothing_and_comes_in(run: Run, tmp_path: Path) -> None:
    import os
    import threading

    os.mkfifo(tmp_path / "pipe.ndjson")
    writer = threading.Thread(target=(tmp_path / "pipe.ndjson").write_bytes, args=(LINES,))
    writer.start()
    store = run(tmp_path / "pipe.ndjson")
    writer.join()
    assert store.totals is not None
    assert (store.totals.resources, store.totals.read) == (9_000, 0)
