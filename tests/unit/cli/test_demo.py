"""`fhirferry demo`: how it looks at any width, whose folder it takes, and that it fails when something does not hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from fhirferry.cli import texts_demo as texts
from fhirferry.cli.demo_folder import MARK, DemoFolder
from fhirferry.cli.demo_shell import Ran
from fhirferry.cli.demo_story import DemoFailed, Story, _option
from fhirferry.cli.main import program
from fhirferry.cli.tables import table
from fhirferry.model.errors import RequestError
from fhirferry.model.quantity import parse_size
from fhirferry.testing.clock import FakeClock

ROWS = [(f"Type{i}", f"{i:,}", f"{i * 1000:,}", "1.5 MB") for i in range(20)]
TABLE = table(("TYPE", "FILES", "LINES", "SIZE"), ROWS, right=(1, 2, 3))
OUTPUT = f"{TABLE}\nExported 190 resources (12 MB) to /a/folder/with/a/long/name/of/its/own in 0.4s, 18.1 kB/s.\n"
COMMAND = ("fhirferry", "export", "--to", "a folder", "--max-file-size", "2MB", "--limit-rate", "7MB", "--check")


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_nothing_is_wider_than_the_terminal_nor_are_sentences_wider_than_one_reads(width: int) -> None:
    told = texts.comment("made-up data goes in, comes out, and is proved whole, though it is killed " * 3, width)
    assert all(line.startswith("# ") for line in told.splitlines())
    assert max(map(len, told.splitlines())) <= min(width, 88)
    shown = [line for piece in texts.excerpt(OUTPUT, width) for line in piece.splitlines()]
    assert max(map(len, shown)) <= width
    if width > 20:
        assert max(map(len, texts.typed(COMMAND, "$ ", width).splitlines())) <= width


@pytest.mark.parametrize("width", [20, 40, 60, 80, None])
def test_a_command_is_read_by_a_shell_as_it_was_run(width: int | None) -> None:
    shown = texts.typed(COMMAND, "", width)
    assert tuple(shlex.split(shown.replace("\\\n", " "))) == COMMAND
    assert all(line.endswith(" \\") for line in shown.splitlines()[:-1])
    assert "--to \\\n" not in shown, "an option and its value stay together"


def test_without_a_terminal_the_output_is_as_it_was_but_for_long_tables() -> None:
    shown = list(texts.excerpt(OUTPUT, None))
    whole = OUTPUT.splitlines()
    assert shown == [*whole[:4], "... 16 more", *whole[20:]]
    short = "\n".join(whole[:6])
    assert list(texts.excerpt(short, None)) == short.splitlines()
    assert list(texts.excerpt("", 40)) == []


def test_a_wide_table_is_cut_between_two_columns() -> None:
    shown = list(texts.excerpt(OUTPUT, 22))
    assert shown[:2] == ["TYPE    FILES  ...", "Type0       0"]


def test_what_is_copied_as_one_word_stays_one_line() -> None:
    line = '{"resourceType":"Bundle","entry":[{"request":{"method":"DELETE","url":"Patient/a"}}]}'
    assert list(texts.excerpt(line, 40)) == [line]


def test_no_colours_where_somebody_wants_none() -> None:
    assert texts.colours({"TERM": "xterm"})
    assert not texts.colours({"TERM": "xterm", "NO_COLOR": "1"})
    assert not texts.colours({"TERM": "dumb"})
    assert not texts.colours({})


@pytest.mark.parametrize("size", [7, 999, 10_400, 123_456, 2_340_000, 98_000_000, 5_000_000_000])
def test_sizes_are_typed_short_and_true(size: int) -> None:
    assert len(_option(size)) <= 6
    assert parse_size(_option(size)) == pytest.approx(size, rel=0.05)


def test_a_folder_of_others_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for again in (False, True):
        with pytest.raises(RequestError, match="no demo made it"):
            DemoFolder(str(tmp_path), typed=True).make(again=again)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_former_demo_goes_only_when_told_and_nothing_else_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kept").touch()
    folder = DemoFolder(str(tmp_path / "my demo"), typed=True)
    folder.make(again=False)
    (folder.path / "samples").mkdir()
    (folder.path / "samples" / "Patient.ndjson").touch()
    (folder.path / "notes").touch()
    (folder.path / "out").symlink_to(mine)
    with pytest.raises(RequestError, match="fhirferry demo --again --to 'my demo'"):
        folder.make(again=False)
    assert (folder.path / "samples" / "Patient.ndjson").exists()
    folder.make(again=True)
    assert {path.name for path in folder.path.iterdir()} == {MARK, "notes"}
    assert (mine / "kept").exists(), "a link goes, not what it leads to"


def test_a_refused_folder_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for place in (tmp_path, tmp_path / "there"):
        result = CliRunner().invoke(program, ["demo", "--to", str(place)])
        assert result.exit_code == 2
        assert "--to" in result.stderr


class FakeShell:
    """Runs nothing. code: how every command ends."""

    own_settings: Sequence[str] = ()

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def title(self, text: str) -> None: ...

    def tell(self, *paragraphs: str) -> None: ...

    def run(self, *words: str) -> Ran:
        return Ran(words, self.code)

    def start(self, *words: str) -> FakeShell:
        return self

    def kill_when(self, ripe: Callable[[], bool]) -> Ran:
        assert not ripe()
        return Ran(("fhirferry", "export"), self.code)


def story(tmp_path: Path, code: int = 0) -> Story:
    return Story(FakeShell(code), DemoFolder(str(tmp_path), typed=True), 500, 1, FakeClock())  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [1, 3, 4, 5, -9])
def test_whatever_verify_does_not_prove_fails_the_demo(tmp_path: Path, code: int) -> None:
    with pytest.raises(
        DemoFailed, match=re.escape(f"fhirferry verify out --against fhirferry-data/store.db` ended with {code}")
    ):
        story(tmp_path, code)._verify()
    story(tmp_path)._verify()


def test_an_export_that_ended_before_the_kill_is_said_and_fails_the_demo(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match=r"ended before it could be killed.*--patients 2000"):
        story(tmp_path)._export_and_kill(["fhirferry", "export"])
    with pytest.raises(DemoFailed, match="`fhirferry export` ended with 1"):
        story(tmp_path, 1)._export_and_kill(["fhirferry", "export"])
