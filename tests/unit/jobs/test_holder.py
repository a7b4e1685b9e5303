"""A holder is dead only when that is certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.jobs import holder
from fhirferry.jobs.holder import is_dead, make_holder

PRINT_HOLDER = (
    "import sys; from fhirferry.jobs.holder import make_holder; print(make_holder(), flush=True); sys.stdin.read()"
)
HOST, PID, START, NAMESPACE, BOOT = range(5)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells for certain")


@pytest.fixture
def child() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A living process and its holder text."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRINT_HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def changed(text: str, **parts: str) -> str:
    pieces = text.split("/")
    for name, value in parts.items():
        pieces[globals()[name]] = value
    return "/".join(pieces)


def test_this_very_process_lives_and_two_workers_of_it_differ() -> None:
    first, second = make_holder(), make_holder()
    assert first != second
    assert not is_dead(first)
    assert first.split("/")[PID] == str(os.getpid())


@linux
def test_a_process_lives_when_stopped_and_is_dead_as_a_zombie_and_after(
    child: tuple[subprocess.Popen[str], str],
) -> None:
    process, text = child
    assert not is_dead(text)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    assert not is_dead(text)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(text), "a zombie has ended"
    process.wait()
    assert is_dead(text)


@linux
def test_a_process_id_that_is_used_again_is_not_the_holder() -> None:
    mine = make_holder()
    assert is_dead(changed(mine, START=str(int(mine.split("/")[START]) - 1)))


@linux
@pytest.mark.parametrize("part", ["HOST", "BOOT", "NAMESPACE"])
def test_nothing_is_certain_about_another_host_boot_or_container(
    part: str, child: tuple[subprocess.Popen[str], str]
) -> None:
    process, text = child
    process.kill()
    process.wait()
    assert is_dead(text)
    assert not is_dead(changed(text, **{part: "other"}))


@pytest.mark.parametrize("text", ["", "worker-1", "a/b/c/d/e/f", "host/12/3", "a/-1/c/d/e/f", "a/²/c/d/e/f"])
def test_nothing_is_certain_about_a_text_that_is_no_holder(text: str) -> None:
    assert not is_dead(text)


@linux
@pytest.mark.parametrize("name", ["python", "a) Z 1 (b", ") Z (", "two words"])
def test_a_command_name_may_hold_blanks_and_brackets(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = f"12 ({name}) S 1 " + " ".join(str(n) for n in range(5, 53)) + "\n"
    monkeypatch.setattr(holder, "_read", lambda path: stat)
    assert holder._state_and_start(12) == ("S", "22")


@linux
def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = make_holder()
    monkeypatch.setattr(holder, "_state_and_start", lambda pid: ("-", "-"))
    assert not is_dead(mine)


def test_without_proc_only_a_process_id_nobody_has_is_dead(
    monkeypatch: pytest.MonkeyPatch, child: tuple[subprocess.Popen[str], str]
) -> None:
    monkeypatch.setattr(holder, "_system", lambda: ("-", "-"))
    process, text = child
    text = changed(text, START="-", NAMESPACE="-", BOOT="-")
    assert make_holder().split("/")[START:5] == ["-", "-", "-"]
    assert not is_dead(text)
    process.kill()
    process.wait()
    assert is_dead(text)


def test_without_rights_over_the_process_nothing_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(holder, "_system", lambda: ("-", "-"))
    monkeypatch.setattr(os, "kill", refuse)
    assert not is_dead(make_holder())


def test_a_person_is_told_the_process_and_its_host() -> None:
    assert holder.describe("myhost/4711/812345/4026531836/0b5c/1f2e") == "process 4711 on myhost"
    assert holder.describe("somebody") == "somebody"
