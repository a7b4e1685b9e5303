"""How sentences and numbers are told."""

from __future__ import annotations

import sys
from io import StringIO

import pytest

from fhirferry.cli.console import Console
from fhirferry.cli.words import counted, folded


def test_one_thing_has_no_s() -> None:
    assert [counted(n, "file") for n in (0, 1, 1234)] == ["0 files", "1 file", "1,234 files"]


def test_sentences_break_between_words_and_commands_and_tables_stay_whole() -> None:
    command = "  fhirferry export --to a-folder-with-a-long-name"
    table = "TYPE     FILES  LINES  A VERY LONG COLUMN"
    text = "\n".join(("Stopped: 41 % of job 4711 is committed. To go on:", command, table))
    assert folded(text, 20).split("\n") == ["Stopped: 41 % of job", "4711 is committed.", "To go on:", command, table]
    assert folded(text, None) == folded(text, 200) == text
    assert folded("/a/path/longer/than/the/terminal", 10) == "/a/path/longer/than/the/terminal"


def test_a_message_on_a_narrow_terminal_is_folded_and_in_a_file_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "20")
    for stream, lines in ((Terminal(), 2), (StringIO(), 1)):
        monkeypatch.setattr(sys, "stderr", stream)
        Console().say("Export job 4711 started here.")
        assert stream.getvalue().count("\n") == lines
    for stream, lines in ((Terminal(), 2), (StringIO(), 1)):
        monkeypatch.setattr(sys, "stdout", stream)
        Console().text("Exported 17 resources in 3 s.")
        assert stream.getvalue().count("\n") == lines
