"""The tree keeps to the plan of the house: docs/design.md, sections 4 and 9."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.reading import Tree, attics, cycles, foreign, inline_sql, long_modules, uphill

# Module -> why it may pass 300 lines; empty is right. Nothing passes 400, apart from suites, which are lists of tests.
LONG: dict[str, str] = {
    "jobs.sqlite": "one method per verb of the ledger's contract",
    "store.sqlite": "one connection: opening it, its transactions, and a method per verb of the store",
    "sources.memory": "a method per verb of the source; what each finds is the whole store, gone through",
    "exporter": "the front door, and the only assembler",
}


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(Path(__file__).parents[2] / "src" / "fhirferry")


def test_imports_run_downhill_and_siblings_do_not_know_each_other(tree: Tree) -> None:
    assert uphill(tree) == []


def test_a_driver_is_imported_only_where_it_belongs(tree: Tree) -> None:
    assert foreign(tree) == []


def test_no_modules_import_each_other_in_a_circle(tree: Tree) -> None:
    assert cycles(tree) == []


def test_there_is_no_attic(tree: Tree) -> None:
    assert attics(tree) == []


def test_modules_stay_small(tree: Tree) -> None:
    long = {name for name in long_modules(tree, 300) if not (name.startswith("testing.") and name.endswith("_suite"))}
    assert long <= LONG.keys(), "split it, or give its reason in LONG"
    assert not long & long_modules(tree, 400).keys()


def test_sql_lives_in_sql_files(tree: Tree) -> None:
    assert inline_sql(tree) == []
