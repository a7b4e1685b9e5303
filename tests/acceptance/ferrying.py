"""What the acceptance tests share: the command line as a process, what an export holds, what a store holds."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

SCRIPT = str(Path(sys.executable).with_name("fhirferry"))
FAULTY = [sys.executable, "-m", "fhirferry.testing.faulty"]
FOREVER = 2**63 - 1
State = dict[str, bytes]

_decode = msgspec.json.decode


class Ran(msgspec.Struct):
    """How a command ended. rss: the largest resident set of it and its children, in bytes."""

    code: int
    out: str
    err: str
    rss: int = 0

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def ferry(*arguments: object, at: Path | None = None, timeout: float = 120, **env: str) -> Ran:
    """Run `fhirferry`; no traceback, whatever happens."""
    done = subprocess.run(
        [SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        cwd=at,
        env={**os.environ, "FHIRFERRY_POLL": "20ms", **env},
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


# A process of its own, and a small one: what is started inherits the largest resident set of its starter.
_MEASURE = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
open(sys.argv[1], "w").write(str(used.ru_maxrss))
sys.exit(child.returncode)
"""


def measured(scratch: Path, *arguments: object, timeout: float = 300) -> Ran:
    """`ferry`, with `rss` filled in."""
    figure = scratch / "rss"
    done = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURE, str(figure), SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert "Traceback" not in done.stderr, done.stderr
    unit = 1 if sys.platform == "darwin" else 1024
    return Ran(done.returncode, done.stdout, done.stderr, int(figure.read_text()) * unit)


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return found


def lines_of(folder: Path, kind: str = "output") -> Iterator[bytes]:
    """The lines of the files that the manifest lists, without their newlines."""
    for item in manifest(folder).get(kind, []):
        path = folder / item["url"]
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                assert line.endswith(b"\n")
                yield line[:-1]


def name_of(line: bytes) -> str:
    found = _decode(line)
    return f"{found['resourceType']}/{found['id']}"


def exported(folder: Path) -> State:
    """Type/id -> line; each once."""
    found: State = {}
    for line in lines_of(folder):
        name = name_of(line)
        assert name not in found, f"{name} is there twice"
        found[name] = line
    return found


def deleted(folder: Path) -> set[str]:
    """Type/id of every deletion; each once."""
    found = [
        entry["request"]["url"] for line in lines_of(folder, "deleted") for entry in _decode(line).get("entry", [])
    ]
    assert len(found) == len(set(found))
    return set(found)


def stored(store: Path) -> State:
    """Type/id -> body of a store's current resources, read past all of our reading code."""
    db = sqlite3.connect(store)
    db.text_factory = bytes
    try:
        rows = db.execute(
            "select type.name, id, body from version join body using (key) join type on type.code = version.type"
            " where ended = ? and size > 0",
            (FOREVER,),
        ).fetchall()
    finally:
        db.close()
    found = {f"{kind.decode()}/{ident.decode()}": body for kind, ident, body in rows}
    assert len(found) == len(rows)
    return found
