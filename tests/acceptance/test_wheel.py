"""What users install: a wheel built from the tree works in an empty environment outside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from fhirferry.__about__ import __version__

pytestmark = pytest.mark.xdist_group("wheel")  # built and installed once

ROOT = Path(__file__).parents[2]


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


def pip(*arguments: object, cwd: Path, python: object = sys.executable) -> None:
    """Runs pip; without a registry to reach, the test says so and skips."""
    tried = run(python, "-m", "pip", *arguments, "--disable-pip-version-check", "--retries=1", "--timeout=20", cwd=cwd)
    if tried.returncode == 0:
        return
    unreachable = ("Could not find a version", "Connection", "No matching distribution", "Max retries")
    if any(text in tried.stderr + tried.stdout for text in unreachable):
        pytest.skip("no package registry to build and install from")
    raise AssertionError(tried.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("fhirferry-*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path) -> Path:
    """The command, installed in an empty environment."""
    home = wheel.parent / "empty"
    venv.create(home, with_pip=True)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    pip("install", wheel, cwd=wheel.parent, python=scripts / "python")
    return scripts / "fhirferry"


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """SQL and type marker included: what is not Python is what builds forget."""
    package = ROOT / "src" / "fhirferry"
    ours = {path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == ours
    assert "fhirferry/py.typed" in held
    assert any(name.startswith("fhirferry/store/sql/") and name.endswith(".sql") for name in held)
    assert any(name.startswith("fhirferry/jobs/sql/") and name.endswith(".sql") for name in held)


def test_installed_program_tells_version_and_help(program: Path, tmp_path: Path) -> None:
    told = run(program, "--version", cwd=tmp_path)
    assert (told.returncode, __version__ in told.stdout) == (0, True), told.stderr
    told = run(program, "--help", cwd=tmp_path)
    assert told.returncode == 0
    assert {"import", "export", "verify", "jobs", "worker", "store"} <= set(told.stdout.split())
    assert list(tmp_path.iterdir()) == []


def test_installed_program_carries_resources_there_and_proves_it(program: Path, tmp_path: Path) -> None:
    lines = [f'{{"resourceType":"Patient","id":"p{n}","multipleBirthInteger":{n}}}' for n in range(3)]
    (tmp_path / "in.ndjson").write_text("\n".join(lines) + "\n")
    for command in (
        ("import", "in.ndjson", "--store", "store.db"),
        ("export", "--from", "store.db", "--to", "out", "--ledger", "ledger.db"),
        ("verify", "out", "--against", "store.db"),
    ):
        done = run(program, *command, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
    (file,) = (tmp_path / "out").glob("*.ndjson")
    assert sorted(json.loads(line)["id"] for line in file.read_text().splitlines()) == ["p0", "p1", "p2"]
    assert {row["type"] for row in json.loads((tmp_path / "out" / "manifest.json").read_text())["output"]} == {
        "Patient"
    }
