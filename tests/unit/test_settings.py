"""Places and options: what is typed means one thing, and what nobody knows is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fhirferry.model.errors import RequestError
from fhirferry.settings import ConfigFile, Settings, database_url, destination_url, path_of


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_default_home_is_here_and_store_and_ledger_are_different_files(tmp_path: Path) -> None:
    settings = Settings.at(None)
    assert settings.home == str(tmp_path / "fhirferry-data")
    assert path_of(settings.store) == tmp_path / "fhirferry-data" / "store.db"
    assert path_of(settings.ledger) == tmp_path / "fhirferry-data" / "ledger.db"


def test_home_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    os.umask(os.umask(0o022))
    settings = Settings.at("a/home")
    assert not Path(settings.home).exists()
    settings.make_home()
    settings.make_home()  # again: nothing changes
    assert stat.S_IMODE(Path(settings.home).stat().st_mode) == 0o700
    assert Path(settings.home, ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE(Path(settings.home, ".gitignore").stat().st_mode) == 0o600


def test_home_that_is_a_file_is_the_users_mistake() -> None:
    Path("home").write_text("")
    with pytest.raises(RequestError, match="FHIRFERRY_HOME"):
        Settings.at("home").make_home()


@pytest.mark.parametrize("text", ["data/s.db", "sqlite:data/s.db", "./data/../data/s.db", "sqlite:{}/data/s.db"])
def test_one_database_has_one_url(text: str, tmp_path: Path) -> None:
    assert database_url(text.format(tmp_path)) == f"sqlite://{tmp_path}/data/s.db"
    assert database_url(f"sqlite://{tmp_path}/data/s.db") == f"sqlite://{tmp_path}/data/s.db"


@pytest.mark.parametrize(
    "text", ["out dir", "file://{}/out dir", "./out dir/", "file://localhost{}/out dir", "FILE:{}/out%20dir"]
)
def test_one_folder_has_one_url_and_gives_its_path_back(text: str, tmp_path: Path) -> None:
    url = destination_url(text.format(tmp_path))
    assert url == f"file://{tmp_path}/out%20dir"
    assert path_of(url) == tmp_path / "out dir"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("file://{}/a%20b", "a b"),
        ("file://{}/100%2541", "100%41"),
        ("file://{}/%C3%BC", "ü"),
        ("file://{}/%2e%2e%2Fx", "x"),
        ("file://{}/100%", "100%"),
        ("{}/a%20b", "a%20b"),
    ],
)
def test_rfc8089_a_file_url_is_percent_decoded_and_a_path_is_taken_as_it_is(
    text: str, name: str, tmp_path: Path
) -> None:
    here = tmp_path / "here" if "%2e" in text else tmp_path
    assert path_of(destination_url(text.format(here))) == tmp_path / name


def test_a_database_address_is_taken_as_it_is(tmp_path: Path) -> None:
    assert path_of(database_url(f"sqlite://{tmp_path}/a%20b.db")) == tmp_path / "a%20b.db"


def test_an_address_with_a_nul_byte_is_refused() -> None:
    with pytest.raises(RequestError, match="NUL"):
        destination_url("file:///a%00b")


@pytest.mark.parametrize("name", ["100%41", "a#b?c", "ü", "odd:name", "me:pw@there", os.fsdecode(b"\xff old")])
def test_any_name_survives_the_way_through_a_url(name: str, tmp_path: Path) -> None:
    assert destination_url(f"./{name}").isascii(), "a record is text, a file's name any bytes"
    assert path_of(destination_url(f"./{name}")) == tmp_path / name
    assert destination_url(destination_url(f"./{name}")) == destination_url(f"./{name}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("postgresql://db/x", "sqlite:///"),
        ("file:///tmp/x", "sqlite:///"),
        ("sqlite://host/x", "names a host"),
        ("sqlite:", "names no path"),
        ("  ", "empty"),
    ],
)
def test_foreign_addresses_are_refused_with_what_is_offered(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        database_url(text)


@pytest.mark.parametrize("text", ["postgresql://me:s3cret@db/x", "sqlite://me:s3cret@h/x", "sqlite:me:s3cret@x"])
def test_S39_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        database_url(text)
    assert "password" in str(caught.value)
    assert "s3cret" not in str(caught.value)


COMMANDS = ("export", "worker", "jobs")
ALL = ("from", "to", "ledger", "max-file-size", "poll", "older-than", "yes")


def options(toml: str, *command: str, known: tuple[str, ...]) -> dict[str, object]:
    Path("fhirferry.toml").write_text(toml)
    config = ConfigFile.find(None)
    assert config is not None
    return config.options(command, known, commands=COMMANDS, elsewhere=lambda: ALL)


def test_the_nearer_table_wins_and_dashes_and_underscores_are_one() -> None:
    toml = 'ledger = "a"\nmax_file_size = 5\n[export]\nledger = "b"\n[worker]\nledger = "c"\n'
    assert options(toml, "export", known=("ledger", "max-file-size")) == {"ledger": "b", "max-file-size": 5}
    assert options(toml, "jobs", "list", known=("ledger",)) == {"ledger": "a"}


def test_tables_of_commands_inside_commands() -> None:
    toml = '[jobs]\nledger = "a"\nolder-than = "3d"\n[jobs.prune]\nolder-than = "4d"\n[jobs.delete]\nyes = true\n'
    assert options(toml, "jobs", "prune", known=("ledger", "older-than")) == {"ledger": "a", "older-than": "4d"}


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("max-file-sise = 5\n", "'max-file-sise'; the nearest is 'max-file-size'"),
        ("[export]\nlegder = 5\n", r"'legder' in \[export\]; the nearest is 'ledger'"),
        ("[exprot]\nledger = 5\n", "no table 'exprot'; the nearest is 'export'"),
        ("[export]\npoll = 5\n", r"'poll' in \[export\]; the nearest"),
        ("[export.ledger]\nx = 5\n", "is a table"),
        ("ledger = \n", "is not TOML"),
    ],
)
def test_what_nobody_knows_is_refused_with_the_nearest_right_name(toml: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        options(toml, "export", known=("ledger", "max-file-size"))


def test_no_file_is_no_error_but_a_named_one_must_be_there() -> None:
    assert ConfigFile.find(None) is None
    with pytest.raises(RequestError, match=r"nowhere\.toml: No such file"):
        ConfigFile.find("nowhere.toml")
