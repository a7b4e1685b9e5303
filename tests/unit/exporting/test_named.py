"""Destinations by name: who may name what (issue: this is how data would leak)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fhirferry.exporting.named import Destinations, NamedDestination, Place, read_destinations, resolve_destination
from fhirferry.model.errors import RequestError
from fhirferry.settings import ConfigFile, destination_url

ARCHIVE = NamedDestination(url="file:///srv/archive", secret="archive-key")
SETTINGS = Destinations(named={"archive": ARCHIVE}, allowed=("file:///srv/exports", "s3://open/for-all/"))


@pytest.mark.parametrize("addresses_allowed", [True, False])
def test_a_name_is_the_url_and_the_secret_that_were_configured(addresses_allowed: bool) -> None:
    place = resolve_destination(SETTINGS, "archive", addresses_allowed=addresses_allowed)
    assert place == Place(uri="file:///srv/archive", name="archive", secret="archive-key")


def test_the_operators_own_command_line_may_give_any_address() -> None:
    place = resolve_destination(SETTINGS, "s3://anywhere/else", addresses_allowed=True)
    assert place == Place(uri="s3://anywhere/else")


@pytest.mark.parametrize(
    "asked", ["file:///srv/archive", "s3://evil/x", "/srv/archive", "https://evil", "", "a b", "../x"]
)
def test_a_request_may_give_no_address_and_gets_403_without_it_being_quoted(asked: str) -> None:
    for settings in (Destinations(named={"archive": ARCHIVE}), SETTINGS):
        with pytest.raises(RequestError, match="by its name, not by an address") as caught:
            resolve_destination(settings, asked, addresses_allowed=False)
        assert caught.value.status_code == 403


@pytest.mark.parametrize("asked", ["Archive", "archiv", "archive2"])
def test_a_name_that_nobody_configured_is_400_and_the_others_are_not_listed(asked: str) -> None:
    with pytest.raises(RequestError, match=f"no destination named '{asked}'") as caught:
        resolve_destination(SETTINGS, asked, addresses_allowed=False)
    assert caught.value.status_code == 400
    assert "archive'" not in caught.value.message.replace(repr(asked), "")


@pytest.mark.parametrize(
    "asked",
    [
        "file:///srv/exports",
        "file:///srv/exports/",
        "file:///srv/exports/2026/a-b_c~1.d",
        "file:///srv/exports/.hidden/x/",
        "s3://open/for-all/mine",
    ],
)
def test_an_address_that_the_operator_allows_or_one_below_it_may_be_given(asked: str) -> None:
    assert resolve_destination(SETTINGS, asked, addresses_allowed=False) == Place(uri=asked)


@pytest.mark.parametrize(
    "below",
    [
        "2",
        "/../archive",
        "/a/../../archive",
        "/./a",
        "/a//b",
        "/%2e%2e/archive",
        "/a%2fb",
        "/a\\..\\b",
        "/a?x=1",
        "/a#b",
        "/user@host",
        "/a:b",
        "/a\0",
        "/a\n",
        "/ä",
        "//",
    ],
)
def test_what_could_mean_another_place_than_below_an_allowed_one_is_refused(below: str) -> None:
    with pytest.raises(RequestError):
        resolve_destination(SETTINGS, "file:///srv/exports" + below, addresses_allowed=False)


def config(text: str) -> ConfigFile | None:
    Path("fhirferry.toml").write_text(text)
    return ConfigFile.find(None)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_they_are_configured_in_the_toml_file_and_are_no_options() -> None:
    found = config(
        'allow-addresses = ["exports"]\n[destinations.archive]\nurl = "data/archive"\nsecret = "archive-key"\n'
        '[destinations.Other_2]\nurl = "file:///srv/other"\n[export]\ncheck = true\n'
    )
    assert read_destinations(found, destination_url) == Destinations(
        named={
            "archive": NamedDestination(url=f"file://{os.getcwd()}/data/archive", secret="archive-key"),
            "Other_2": NamedDestination(url="file:///srv/other"),
        },
        allowed=(f"file://{os.getcwd()}/exports",),
    )
    assert found is not None
    assert found.options(("export",), {"check"}, commands={"export"}, elsewhere=set) == {"check": True}
    assert read_destinations(None, destination_url) == Destinations()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('destinations = "x"', "destinations is not a table"),
        ('[destinations]\narchive = "/srv"', r"\[destinations.archive\] has url"),
        ("[destinations.archive]", r"\[destinations.archive\] has url"),
        ('[destinations.archive]\nurl = "/a"\nAccountKey = "kanarie"', "nothing else"),
        ('[destinations.archive]\nurl = ""', r"\[destinations.archive\]: an empty address"),
        ('[destinations.archive]\nurl = "/a"\nsecret = "AccountKey=kanarie"', "not the name of a secret"),
        ('[destinations."a/b"]\nurl = "/a"', "letters, digits"),
        ('[destinations."file:"]\nurl = "/a"', "letters, digits"),
        ('allow-addresses = "/srv"', "not a list"),
        ("allow-addresses = [1]", "not a list"),
    ],
)
def test_what_is_wrong_there_is_told_with_its_place_and_never_quoted(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        read_destinations(config(text), destination_url)
    assert caught.value.message.startswith("fhirferry.toml: ")
    assert "kanarie" not in caught.value.message
