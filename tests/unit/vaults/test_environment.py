"""Secrets that are given to the process, and only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirferry.model.errors import SecretNotFound, SecretStoreError
from fhirferry.vaults.environment import LARGEST, EnvironmentSecretStore, FileSecretStore


def test_the_variable_is_the_name_in_capitals_and_is_told_when_it_is_missing() -> None:
    vault = EnvironmentSecretStore({"FHIRFERRY_SECRET_MY_BLOB": "x"})
    assert vault.get("my-blob").reveal() == "x"
    with pytest.raises(SecretNotFound, match="variable FHIRFERRY_SECRET_OTHER is not set"):
        vault.get("other")


def test_the_process_environment_is_read_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = EnvironmentSecretStore()
    monkeypatch.setenv("FHIRFERRY_SECRET_LATER", "now")
    assert vault.get("later").reveal() == "now"


@pytest.mark.parametrize(("written", "read"), [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")])
def test_one_line_end_is_the_editors(tmp_path: Path, written: str, read: str) -> None:
    tmp_path.joinpath("s").write_bytes(written.encode())
    assert FileSecretStore(tmp_path).get("s").reveal() == read


def test_a_file_that_is_changed_is_read_anew_through_the_links_of_a_mount(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tmp_path.joinpath(name).mkdir()
        tmp_path.joinpath(name, "s").write_text(name)
    data = tmp_path / "..data"
    data.symlink_to("one")
    tmp_path.joinpath("s").symlink_to("..data/s")
    vault = FileSecretStore(tmp_path)
    assert vault.get("s").reveal() == "one"
    data.unlink()
    data.symlink_to("two")
    assert vault.get("s").reveal() == "two"


def test_what_is_no_text_too_large_or_a_folder_fails_with_the_reason_and_500(tmp_path: Path) -> None:
    tmp_path.joinpath("large").write_bytes(b"x" * (LARGEST + 1))
    tmp_path.joinpath("binary").write_bytes(b"\xff\xfe")
    tmp_path.joinpath("folder").mkdir()
    for name, reason in (("large", "larger than"), ("binary", "not text in UTF-8"), ("folder", "directory")):
        with pytest.raises(SecretStoreError, match=reason) as caught:
            FileSecretStore(tmp_path).get(name)
        assert caught.value.status_code == 500
