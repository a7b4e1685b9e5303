"""docs/cli.md and docs/json-lines.md tell all there is, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec
import pytest

from fhirferry.cli import lines, lines_generate, lines_store, lines_verify
from fhirferry.cli.exits import Exit
from fhirferry.cli.main import program
from fhirferry.cli.options import shared_options

DOCS = Path(__file__).parents[3] / "docs"
LEAVES = dict(program.leaves(click.Context(program)))
SHARED = {param.long_name for param in shared_options()}  # type: ignore[attr-defined]
LINES = [
    line
    for module in (lines, lines_generate, lines_store, lines_verify)
    for line in vars(module).values()
    if isinstance(line, type) and issubclass(line, lines.Line) and line is not lines.Line
]


def sections(text: str) -> dict[str, str]:
    """By heading."""
    parts = re.split(r"(?m)^## (.+)$", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_every_command_has_its_options_and_examples_in_the_docs(names: tuple[str, ...]) -> None:
    section = sections((DOCS / "cli.md").read_text())[f"fhirferry {' '.join(names)}"]
    command = LEAVES[names]
    told = set(re.findall(r"(?m)^\| `--([a-z-]+)", section))
    assert told == command.settings().keys() - SHARED
    for example in command.example.strip().splitlines():
        assert example.strip() in section
    for name, setting in command.settings().items():
        if isinstance(setting.default, str):
            assert re.search(rf"(?m)^\| `--{name}[^|]*(\\\|[^|]*)?\| {re.escape(setting.default)} \|", section), name


def test_docs_name_the_shared_options_and_no_command_too_many() -> None:
    told = sections((DOCS / "cli.md").read_text())
    assert set(re.findall(r"`--([a-z-]+)", told["Options of every command"])) == SHARED | {"help"}
    assert {name for name in told if name.startswith("fhirferry ")} == {
        f"fhirferry {' '.join(names)}" for names in LEAVES
    }


def test_docs_name_every_exit_code() -> None:
    table = sections((DOCS / "cli.md").read_text())["Exit codes"]
    assert [int(code) for code in re.findall(r"(?m)^\| (\d+) ", table)] == [int(code) for code in Exit]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.__name__)
def test_every_json_line_is_told_with_all_its_fields(line: type[lines.Line]) -> None:
    tag = line.__struct_config__.tag
    section = sections((DOCS / "json-lines.md").read_text())[str(tag)]
    assert re.findall(r"(?m)^\| `(\w+)`", section) == [field.name for field in msgspec.structs.fields(line)]


def test_no_json_line_too_many() -> None:
    assert sections((DOCS / "json-lines.md").read_text()).keys() == {line.__struct_config__.tag for line in LINES}
