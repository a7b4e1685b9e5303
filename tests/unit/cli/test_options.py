"""Every option of every command is also a variable and a key in TOML; the command line wins, then the variable."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fhirferry.cli.main import program
from fhirferry.cli.options import Command, Invocation, Setting

ROOT = click.Context(program, info_name="fhirferry")
LEAVES = dict(program.leaves(ROOT))
OPTIONS = [(names, option) for names, command in LEAVES.items() for option in command.settings()]
REQUIRED: dict[tuple[str, ...], list[str]] = {
    ("generate",): ["--to", "set"],
    ("import",): ["here.ndjson"],
    ("export",): ["--to", "out"],
    ("verify",): ["out"],
    ("store", "delete"): ["Patient/a"],
    ("jobs", "prune"): ["--older-than", "30d"],
    **{("jobs", name): ["3f9a"] for name in ("show", "wait", "resume", "retry", "cancel", "delete")},
}
SAMPLES = {
    "size": ("7MB", "8MB"),
    "duration": ("7s", "8s"),
    "instant": ("2026-11-22T08:30:00Z", "2026-11-22T08:40:00Z"),
    "url": ("/a/place", "/another/place"),
    "types": ("Patient", "Observation"),
    "elements": ("id,Patient.name", "birthDate"),
    "executor": ("processes:3", "processes:4"),
    "n": ("7", "8"),
    "data": ("_deleted", "_history"),
    "group": ("g", "h"),
    "patient": ("Patient/a", "b"),
    "layout": ("<timestamp>", "<id>/x"),
    "text": ("some", "other"),
    "boolean": ("true", "true"),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.ndjson").write_text("")


def parsed(names: tuple[str, ...], *typed: str, without: str = "") -> tuple[dict[str, Any], dict[str, Any], Invocation]:
    """Parameters, shared options and invocation of a command line, its function not run."""
    ctx = click.Context(program, info_name="fhirferry", obj=Invocation())
    command: click.Command | None = program
    for name in names[:-1]:
        assert isinstance(command, click.Group)
        command = command.get_command(ctx, name)
        assert command is not None
        ctx = click.Context(command, info_name=name, parent=ctx)
    needed = REQUIRED.get(names, [])
    if f"--{without}" in needed:
        needed = []
    made = LEAVES[names].make_context(names[-1], [*needed, *typed], parent=ctx)
    invocation = made.find_object(Invocation)
    assert invocation is not None
    return made.params, dict(invocation._shared), invocation


def samples(setting: Setting) -> tuple[str, str]:
    if isinstance(setting.type, click.Choice):  # the one that is no default; the other may be the default or none
        one = next(choice for choice in setting.type.choices if choice != setting.default)
        return one, next((choice for choice in setting.type.choices if choice != one), "")
    return SAMPLES[setting.type.name]


def toml_value(setting: Setting, text: str) -> str:
    return text if setting.is_flag or text.isdecimal() else f'"{text}"'


@pytest.mark.parametrize(
    ("names", "option"), OPTIONS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_every_option_is_a_variable_and_a_key(
    names: tuple[str, ...], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = LEAVES[names].settings()[option]
    one, other = samples(setting)
    if option == "config":
        for file in (one, other):
            Path(file).write_text("")
    typed = parsed(names, *([f"--{option}"] if setting.is_flag else [f"--{option}", one]), without=option)[:2]
    assert typed != parsed(names)[:2] or option == "config"

    variable = "FHIRFERRY_" + option.upper().replace("-", "_")
    monkeypatch.setenv(variable, one)
    assert parsed(names, without=option)[:2] == typed
    if not setting.is_flag and other:
        assert parsed(names, f"--{option}", other, without=option)[:2] != typed, "the command line wins"
    if option == "config":
        return

    file = tmp_path / "fhirferry.toml"
    file.write_text(f"{option.replace('-', '_')} = {toml_value(setting, other or one)}\n")
    assert parsed(names, without=option)[:2] == typed, "the variable wins over the file"
    monkeypatch.delenv(variable)
    file.write_text(f"{option} = {toml_value(setting, one)}\n")
    assert parsed(names, without=option)[:2] == typed
    file.write_text(f"[{'.'.join(names)}]\n{option.replace('-', '_')} = {toml_value(setting, one)}\n")
    assert parsed(names, without=option)[:2] == typed


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_help_has_examples_and_they_parse(names: tuple[str, ...]) -> None:
    result = CliRunner().invoke(program, [*names, "--help"])
    assert result.exit_code == 0
    assert "Example:\n  fhirferry " in result.stdout
    examples = result.stdout.partition("Example:\n")[2].strip().splitlines()
    for name in ("Patient.ndjson", "bundles", "out"):
        Path(name).mkdir()
    for example in examples:
        program_name, *words = shlex.split(example)
        assert program_name == "fhirferry"
        assert _parses(words), example


def _parses(words: list[str]) -> bool:
    names = next(names for names in LEAVES if tuple(words[: len(names)]) == names)
    command: Command = LEAVES[names]
    command.make_context(names[-1], words[len(names) :], parent=click.Context(program, obj=Invocation()))
    return True


def test_shared_options_stand_before_or_behind_the_command() -> None:
    runner = CliRunner()
    for arguments in (["--home", "h", "jobs", "list"], ["jobs", "list", "--home", "h"]):
        result = runner.invoke(program, arguments)
        assert f"{Path('h').absolute()}/ledger.db" in result.stderr


def test_what_was_typed_before_the_command_beats_a_variable() -> None:
    result = CliRunner().invoke(program, ["--home", "typed", "jobs", "list"], env={"FHIRFERRY_HOME": "variable"})
    assert f"{Path('typed').absolute()}/ledger.db" in result.stderr


@pytest.mark.parametrize(
    ("toml", "env", "says"),
    [
        ("max-file-size = 'big'\n", {}, "max-file-size in fhirferry.toml: 'big' is not a size"),
        ("[export]\ntype = [1]\nnew = 3\n", {}, "new in fhirferry.toml: write true or false"),
        (
            "[export]\npatient = []\n",
            {},
            "patient in fhirferry.toml: write at least one, or leave it out: none is not all",
        ),
        ("max-file-size = [1]\n", {}, "max-file-size in fhirferry.toml: write a single text or number"),
        ("", {"FHIRFERRY_LIMIT_RATE": "fast"}, "the variable FHIRFERRY_LIMIT_RATE: 'fast' is not a size"),
        ("", {"FHIRFERRY_EXECUTOR": "threads"}, "the variable FHIRFERRY_EXECUTOR: 'threads' is not an executor"),
        ("[export]\nmax-file-sise = 3\n", {}, "no option 'max-file-sise' in [export]; the nearest is 'max-file-size'"),
        ("pol = 3\n", {}, "no option 'pol'; the nearest is 'poll'"),
    ],
)
def test_wrong_values_name_where_they_came_from(toml: str, env: dict[str, str], says: str) -> None:
    Path("fhirferry.toml").write_text(toml)
    result = CliRunner().invoke(program, ["export", "--to", "out"], env=env)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_key_of_another_command_is_no_mistake() -> None:
    Path("fhirferry.toml").write_text("poll = 3\n[worker]\nmax-jobs = 2\n")
    assert "no store" in CliRunner().invoke(program, ["export", "--to", "out"]).stderr


def test_instants_of_toml_are_instants() -> None:
    Path("fhirferry.toml").write_text("since = 2026-11-22T08:30:00Z\n")
    assert parsed(("export",))[0]["since"] == 1_795_336_200_000_000


def test_numbers_without_unit() -> None:
    Path("fhirferry.toml").write_text("max-file-size = 4096\nseconds-per-commit = 0.5\n[export]\ntype = ['A', 'B']\n")
    params = parsed(("export",))[0]
    assert (params["max_file_size"], params["seconds_per_commit"]) == (4096, 0.5)
    assert params["types"] == (("A",), ("B",))


def test_S52_defaults_of_the_command_are_the_defaults_of_a_job() -> None:
    from fhirferry.cli.export_request import _settings
    from fhirferry.model.job import JobSettings

    assert _settings(parsed(("export",))[0]) == JobSettings()
