"""What README and docs tell is so: their commands run, their links lead somewhere, their tables say what is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from fhirferry.cli.exits import Exit
from tests.docs_runner import END, blocks, by_kind, follow, matches
from tests.unit.cli.test_docs import LEAVES

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
TO_RUN = [page for page in PAGES if any(block.excuse is None for block in blocks(page))]


@pytest.mark.parametrize("page", TO_RUN, ids=lambda page: page.name)
def test_a_page_followed_word_by_word_gives_what_it_shows(page: Path, tmp_path: Path) -> None:
    complaints = [complaint for done in follow(page, tmp_path) if (complaint := done.complaint())]
    assert not complaints, f"{page.name}, " + "\n\n".join(complaints)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        there = page.parent / target if target else page
        assert there.exists(), target
        if anchor:
            assert anchor in [_anchor(h) for h in re.findall(r"(?m)^#+ (.+)$", there.read_text("utf-8"))], anchor


def test_the_index_has_a_line_for_every_page_and_no_other() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"(?m)^- \[[^]]+\]\(([^)]+)\): .+", index)) == sorted(
        page.name for page in DOCS if page.name != "README.md"
    )


def test_every_test_that_a_promise_names_is_there() -> None:
    """README's table of promises: `tests/x/test_y.py::test_z`, or a file of tests, or several by a pattern."""
    table = _section("README.md", "What it promises, and what shows it")
    rows = re.findall(r"(?m)^\| (\d\..*?) \| (.*) \|$", table)
    assert len(rows) == 6, "one row for each promise of docs/design.md, section 2"
    for promise, shown in rows:
        named = re.findall(r"`(tests/[^`]+)`", shown)
        assert named, promise
        for name in named:
            path, _, function = name.partition("::")
            files = sorted(ROOT.glob(path))
            assert files, f"{promise}: no file {path}"
            functions = {each for file in files for each in _tests_of(file)}
            assert function in functions if function else functions, f"{promise}: {name}"


def test_the_promises_are_those_of_the_plan() -> None:
    plan = re.findall(r"(?m)^(\d\. )\*\*(.+?)\.\*\*", _section("docs/design.md", "2. The promises"))
    told = re.findall(r"(?m)^\| (\d\. )(.+?) \|", _section("README.md", "What it promises, and what shows it"))
    assert [f"{number}{name}" for number, name in told] == [f"{number}{name}" for number, name in plan]


def test_readme_and_benchmarks_show_the_same_figures() -> None:
    """The page is where they are kept; the README repeats them."""
    figures = [
        re.findall(r"(?s)<!-- figures -->\n(.+?)<!-- end of figures -->", page.read_text("utf-8"))
        for page in (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
    ]
    assert len(figures[0]) == 1
    assert figures[0] == figures[1]


def test_every_exit_code_is_seen_once_on_its_page() -> None:
    """The page is run as it stands, so each code that it shows came from a command."""
    seen = re.findall(r"(?m)^\$ echo \$\?\n(\d+)$", (ROOT / "docs" / "exit-codes.md").read_text("utf-8"))
    assert [int(code) for code in seen] == [int(code) for code in Exit]
    table = re.findall(r"(?m)^\| (\d+) \| (.+?) \|", (ROOT / "docs" / "exit-codes.md").read_text("utf-8"))
    assert table == re.findall(r"(?m)^\| (\d+) \| (.+?) \|", _section("docs/cli.md", "Exit codes"))


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_the_reference_says_of_each_option_what_help_says(names: tuple[str, ...]) -> None:
    """Value, default and meaning; where the reference says more, it begins alike."""
    command = LEAVES[names]
    section = _section("docs/cli.md", f"fhirferry {' '.join(names)}")
    for name, setting in command.settings().items():
        row = re.search(rf"(?m)^\| `--{name}( [^`]+)?` \| (.*?) \| (.+) \|$", section)
        if row is None:
            continue  # an option of every command; tests/unit/cli/test_docs.py knows which these are
        value = "" if setting.is_flag else setting.make_metavar(click.Context(command)).strip("[]")
        assert (row[1] or "").strip().replace("\\|", "|") == value, name
        if isinstance(setting.default, (str, int)) and not setting.is_flag:
            assert row[2] == str(setting.default), name
        if not setting.hidden and len(row[3].split()) <= len(str(setting.help).split()):
            assert row[3].replace("`<", "<").replace(">`", ">") == setting.help, name  # a tag is no HTML


# The runner itself: a page that lies is found out.

LIES = {
    "fails": "```sh\nfalse\n```\n",
    "shows something else": "```console\n$ echo one\ntwo\n```\n",
    "shows too little": "```console\n$ printf 'one\\ntwo\\n'\none\n```\n",
    "shows nothing": "```console\n$ echo one\n```\n",
    "another exit code": "```console\n$ false\n$ echo $?\n2\n```\n",
    "raises": "```python\nraise SystemExit(3)\n```\n",
    "breaks the shell": "```sh\necho 'one\n```\n",
    "ends the shell": "```sh\nexit 0\n```\n",
}


@pytest.mark.parametrize("page", LIES.values(), ids=LIES.keys())
def test_a_page_that_lies_is_found_out(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    assert any(done.complaint() for done in follow(tmp_path / "page.md", tmp_path))


def test_a_page_that_is_right_is_believed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nhere=one\n```\n```console\n$ echo $here \\\n  two\none two\n$ pwd\n/home/me/ferry\n$ (exit 4)\n$ echo $?\n4\n"
        "$ seq 9\n1\n...\n9\n```\n<!-- not run: it would fail -->\n```sh\nfalse\n```\n"
        "```python\nprint('it runs here', open('page.md').name)\n```\n```json\n{\n```\n"
    )
    done = follow(page, tmp_path)
    assert [each.complaint() for each in done] == [None] * len(done)
    assert len(done) == 7


def test_what_differs_from_run_to_run_is_compared_by_its_kind() -> None:
    assert matches(["in 0.1s, 3,973 resources/s, 590 kB"], ["in 1m2s, 4 resources/s,  2.25 MB"])
    assert matches(["job d92d1781852c as of 2026-11-22T08:30:00Z"], ["job 0123456789ab as of 2026-11-22T08:30:00.1Z"])
    assert not matches(["392 resources"], ["391 resources"])
    assert not matches(["...", "last"], ["last", "and one more"])
    assert END not in by_kind("nothing of that kind")


def _section(page: str, heading: str) -> str:
    text = (ROOT / page).read_text("utf-8")
    return re.split(r"(?m)^## ", text.partition(f"\n## {heading}")[2])[0]


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _tests_of(file: Path) -> set[str]:
    """Functions, and state machines (`TestX = Machine.TestCase`)."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {each.id for each in node.targets if isinstance(each, ast.Name) and each.id.startswith("Test")}
    return found
