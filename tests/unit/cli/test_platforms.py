"""docs/platforms.md: Windows is refused, databases on network file systems are warned of, the rest is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from fhirferry.cli import platforms
from fhirferry.cli.main import program
from fhirferry.cli.options import Invocation
from fhirferry.cli.platforms import look_around, network_kind
from fhirferry.model.errors import RequestError
from tests.unit.cli.test_docs import LEAVES

LINE = '{"resourceType":"Patient","id":"a"}\n'


def mounts(path: Path, kind: str) -> Path:
    """A list of mounts in which what holds `path` is a file system of this kind."""
    device = path.stat().st_dev
    table = path / "mountinfo"
    table.write_text(
        "22 27 0:99999 / /proc rw,relatime - proc proc rw\n"
        f"27 1 {os.major(device)}:{os.minor(device)} / /home rw,relatime shared:1 - {kind} server:/home rw\n"
    )
    return table


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("nfs4", True),
        ("nfs", True),
        ("cifs", True),
        ("smb3", True),
        ("9p", True),
        ("fuse.sshfs", True),
        ("fuse.s3fs", True),
        ("ext4", False),
        ("xfs", False),
        ("btrfs", False),
        ("overlay", False),
        ("tmpfs", False),
        ("fuseblk", False),
        ("fuse.fuse-overlayfs", False),
    ],
)
def test_network_file_systems_are_known_by_their_kind(kind: str, network: bool, tmp_path: Path) -> None:
    found = network_kind(str(tmp_path / "not" / "there" / "yet.db"), str(mounts(tmp_path, kind)))
    assert found == (kind if network else None)


@pytest.mark.parametrize("content", [None, "", "nonsense\n", "1 2\n"])
def test_what_cannot_be_told_is_not_warned_of(content: str | None, tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    if content is not None:
        table.write_text(content)
    assert network_kind(str(tmp_path), str(table)) is None


def test_import_export_and_worker_warn_once_of_each_database_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(platforms, "MOUNTS", str(mounts(tmp_path, "nfs4")))
    (tmp_path / "a.ndjson").write_text(LINE)
    said = {}
    for command in ("import a.ndjson", "export --to out", "worker --until-idle", "jobs list", "-q export --to again"):
        result = CliRunner().invoke(program, command.split())
        assert result.exit_code == 0, result.stderr
        said[command] = [line.split()[1] for line in result.stderr.splitlines() if "(nfs4)" in line]
    assert said == {
        "import a.ndjson": ["store"],
        "export --to out": ["store", "ledger"],
        "worker --until-idle": ["ledger"],
        "jobs list": [],
        "-q export --to again": [],
    }


def test_a_store_elsewhere_is_looked_at_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ndjson").write_text(LINE)
    monkeypatch.setattr(platforms, "network_kind", lambda path: "nfs" if path.endswith("/far.db") else None)
    result = CliRunner().invoke(program, ["import", "a.ndjson", "--store", "far.db"])
    assert result.exit_code == 0
    assert f"The store {tmp_path}/far.db lies on a network file system (nfs)" in result.stderr
    assert not (tmp_path / "fhirferry-data").exists()


@pytest.mark.parametrize("platform", ["win32", "cygwin"])
def test_windows_is_refused(platform: str) -> None:
    with pytest.raises(RequestError, match="WSL 2"):
        look_around(Invocation(), {}, platform)


def test_windows_is_refused_before_a_command_does_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(look_around, "__defaults__", ("win32",))
    result = CliRunner().invoke(program, ["generate", "--to", "made"])
    assert (result.exit_code, "does not run on Windows" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(program, ["--version"]).exit_code == 0


def test_no_command_that_names_a_database_is_forgotten() -> None:
    """The parameters that `look_around` knows are those that the commands have."""
    for name in platforms.WRITING:
        command = LEAVES[(name,)]
        named = {param.name for param in command.params if getattr(param, "metavar", None) == "URL"}
        assert named - {"destination"} <= set(platforms.DATABASES), name
