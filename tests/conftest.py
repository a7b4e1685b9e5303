"""What all tests share: clean environment, hypothesis profiles, Synthea's bundles, children that do not stay behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fhirferry.testing.clock import FakeClock

ROOT = Path(__file__).parents[1]
SYNTHEA_ARCHIVE = ROOT.parent / "shared" / "data" / "synthea-dev.tar.xz"

# Quick runs repeat exactly; `make soak` searches on. Time-outs of single examples say nothing on a busy machine.
settings.register_profile(
    "quick", deadline=None, max_examples=30, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
SOAKING = os.environ.get("HYPOTHESIS_PROFILE") == "soak"

# A developer's own settings must not steer the tests; children inherit the clean environment.
for _name in [name for name in os.environ if name.startswith("FHIRFERRY_")]:
    del os.environ[_name]
# A process whose modules are compiled anew each time starts several times slower, and these tests start hundreds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture
def clock() -> FakeClock:
    """Stands still until told otherwise."""
    return FakeClock()


@pytest.fixture(scope="session")
def synthea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the 51 Synthea bundles (read only by agreement); unpacked once for all xdist workers."""
    archive = Path(os.environ.get("SYNTHEA_ARCHIVE", SYNTHEA_ARCHIVE))
    if not archive.exists():
        pytest.skip(f"no Synthea bundles: {archive.name} is not beside this checkout; SYNTHEA_ARCHIVE may name it")
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "synthea"
    with (base / "synthea.lock").open("w") as lock:
        import fcntl  # only where there is something to unpack: not on every platform

        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tarfile.open(archive) as bundles:
                bundles.extractall(base / "synthea.part", filter="data")
            (base / "synthea.part").rename(folder)
    return folder


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a child: `start([program, ...], **popen_arguments)`. At the test's end it is gone, and so are its children
    that stayed in its session."""
    children: list[subprocess.Popen[bytes]] = []

    def run(arguments: list[str], **more: object) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(arguments, start_new_session=True, **more)  # type: ignore[call-overload]
        children.append(child)
        return child

    yield run
    for child in children:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill a child's whole process group by its id, collect the child, close its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left in the group
        os.killpg(child.pid, 9)
    child.wait(10)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


@pytest.hookimpl(tryfirst=True)  # before marks select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What searches for counterexamples is part of `make soak`, with more examples than in `make test`."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False) and SOAKING:
            item.add_marker(pytest.mark.soak)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Each tests folder prints its time (over all processes)."""
    seconds: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = "/".join(report.nodeid.split("/")[:2])
                seconds[folder] += report.duration
                count[folder] += report.when == "call"
    if seconds:
        terminalreporter.section("time per folder")
    for folder in sorted(seconds):
        terminalreporter.line(f"{seconds[folder]:8.1f} s  {count[folder]:5d} tests  {folder}")
