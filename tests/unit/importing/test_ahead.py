"""A process reads ahead of a large import: nothing else about the import may change, whatever becomes of it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirferry.importing import ahead, importer
from fhirferry.importing.inputs import Input, Role
from fhirferry.importing.reader import HELD, _Outbox
from tests.unit.importing.conftest import Remembered, Run, basic

LARGE = ',"s":"' + "x" * 20_000 + '"'
DELETION = b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"DELETE","url":"Basic/9"}}]}'
PARENT = """
import os, sys
from pathlib import Path
from fhirferry.importing import ahead
from fhirferry.importing.importer import import_paths
ahead.AHEAD_FROM = 0
class Slow:
    def write_behind(self, items, force):
        print("writing", flush=True)
        sys.stdin.read()
start = ahead._Child.__init__
def started(self):
    start(self)
    print(self._process.pid, flush=True)
ahead._Child.__init__ = started
import_paths(Slow(), [Path(sys.argv[1])], strict=False, force=False, on_bad=print, on_progress=print, clock=lambda: 0)
"""


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Every import reads ahead; the processes that did."""
    started: list[subprocess.Popen[bytes]] = []

    class Child(ahead._Child):
        def __init__(self) -> None:
            super().__init__()
            assert self._process is not None
            started.append(self._process)

    monkeypatch.setattr(ahead, "_Child", Child)
    monkeypatch.setattr(ahead, "AHEAD_FROM", 0)
    yield started
    assert all(child.returncode is not None for child in started), "collected, whatever happened"


def everything(folder: Path) -> None:
    """Files of each kind, flawless and not, more of them than are asked for at once."""
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": json.loads(basic("e"))}, {}]}
    (folder / "a.ndjson").write_bytes(b"\n".join([basic(0), b"", b"{", DELETION, basic(1, LARGE)]))
    (folder / "b.json").write_text(json.dumps(bundle, indent=2))
    (folder / "c.ndjson.gz").write_bytes(gzip.compress(b"".join(basic(n, LARGE) + b"\n" for n in range(100))))
    (folder / "d.ndjson.gz").write_bytes(gzip.compress(basic("cut") + b"\n")[:-5])
    (folder / "e.ndjson").write_bytes(b"")
    (folder / "skipped.txt").write_bytes(b"")
    for number in range(2 * ahead.FILES_AHEAD):
        (folder / f"f{number:03}.json").write_bytes(basic(f"f{number}"))
    (folder / "g.ndjson").symlink_to("/nowhere")


@pytest.mark.parametrize("strict", [False, True])
def test_the_process_changes_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, children: list[object], strict: bool
) -> None:
    everything(tmp_path)
    done = run(tmp_path, strict=strict)
    assert len(children) == 1
    monkeypatch.setattr(ahead, "AHEAD_FROM", 10**12)
    alone = run(tmp_path, strict=strict)
    assert len(children) == 1
    assert alone.bad
    assert (done.items, done.bad, done.totals) == (alone.items, alone.bad, alone.totals)


@pytest.mark.parametrize("after", [0, 1, 150])
def test_a_process_that_is_killed_is_not_missed(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, children: list[subprocess.Popen[bytes]], after: int
) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n, LARGE) + b"\n" for n in range(2000)) + b"{")
    (tmp_path / "b.ndjson").write_bytes(basic("last") + b"\n{")
    weigh, left = importer.weight, [after]

    def killing(item: importer.Item) -> int:
        left[0] -= 1
        if left[0] == 0:
            children[0].kill()
        return weigh(item)

    monkeypatch.setattr(importer, "weight", killing)
    if not after:
        monkeypatch.setattr(ahead, "PROGRAM", "pass")
    done = run(tmp_path)
    assert done.ids == [f"Basic/{n}" for n in range(2000)] + ["Basic/last"]
    assert [bad[:2] for bad in done.bad] == [("a.ndjson", 2001), ("b.ndjson", 2)]
    assert children[0].returncode == (-signal.SIGKILL if after else 0)


def test_an_interpreter_that_cannot_be_started_is_not_missed(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "AHEAD_FROM", 0)
    (tmp_path / "a.ndjson").write_bytes(basic(1))
    for executable in ("/nowhere", "", None):
        monkeypatch.setattr(sys, "executable", executable)
        assert run(tmp_path).ids == ["Basic/1"]


def test_stopping_between_batches_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n, LARGE) + b"\n" for n in range(2000)))
    monkeypatch.setattr(importer, "BATCH_BYTES", 1_000_000)

    class Stop(Exception):
        pass

    def stop(totals: importer.ImportTotals) -> None:
        assert os.getsid(children[0].pid) != os.getsid(0), "Ctrl-C is the parent's alone"
        raise Stop

    with pytest.raises(Stop):
        importer.import_paths(
            Remembered(),  # type: ignore[arg-type]
            [tmp_path],
            strict=False,
            force=False,
            on_bad=lambda *bad: None,
            on_progress=stop,
            clock=lambda: 0,
        )
    assert children[0].returncode is not None


@pytest.mark.parametrize("idle", [True, False], ids=["waits for orders", "waits for room"])
def test_it_does_not_outlive_its_parent(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], idle: bool
) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n, LARGE) + b"\n" for n in range(4000)))
    if idle:
        (tmp_path / "a.ndjson").write_bytes(basic(1))
        os.mkfifo(tmp_path / "b.ndjson")  # the parent waits for somebody who writes into it
    parent = start([sys.executable, "-c", PARENT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if not idle:
        assert parent.stdout.readline() == b"writing\n"
    time.sleep(0.3)  # for it to get where it waits
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    until = time.monotonic() + 2
    while _runs(child):
        assert time.monotonic() < until
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_small_imports_start_no_process(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_Child", None)
    (tmp_path / "a.ndjson").write_bytes(basic(1) + b" " * 15_000_000)
    assert run(tmp_path).ids == ["Basic/1"]


def test_what_only_this_process_can_read_is_read_here(tmp_path: Path, run: Run, children: list[object]) -> None:
    os.mkfifo(tmp_path / "b.ndjson")
    for name in ("a", "c"):
        (tmp_path / f"{name}.ndjson").write_bytes(basic(name))
    writer = threading.Thread(target=(tmp_path / "b.ndjson").write_bytes, args=(basic("b"),))
    writer.start()
    assert run(tmp_path).ids == ["Basic/a", "Basic/b", "Basic/c"]
    writer.join()
    assert len(children) == 1
    assert ahead._size(Input(Path("/dev/stdin"), Role.DETECT)) is None
    assert ahead._size(Input(Path("/proc/self/status"), Role.DETECT)) is None


def test_promise4_what_it_holds_back_is_bounded_by_bytes() -> None:
    outbox = _Outbox()
    outbox.put(b"x" * (HELD + 1))  # one of any size
    late = threading.Thread(target=outbox.put, args=(b"y",), daemon=True)
    late.start()
    late.join(0.1)
    assert late.is_alive()
    read, write = os.pipe()
    threading.Thread(target=outbox.run, args=(write,), daemon=True).start()
    got = 0
    while got < HELD + 1 + 8 + 9:
        got += len(os.read(read, 1 << 20))
    late.join(5)
    assert not late.is_alive()
    os.close(read)
