"""The checks of test_house.py see what they are made to see: each on a small tree that breaks the plan on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.architecture.reading import Tree, attics, cycles, foreign, inline_sql, long_modules, uphill


@pytest.fixture
def house(tmp_path: Path):
    def build(files: Mapping[str, str]) -> Tree:
        folder = tmp_path / "fhirferry"
        for name, text in {"__init__.py": "", "model/__init__.py": "", "model/job.py": "", **files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Tree(folder)

    return build


GOOD = {
    "clock.py": "from fhirferry.model.job import Clock",
    "store/read.py": "import sqlite3\nfrom fhirferry.model import job\nfrom fhirferry.clock import now",
    "sources/store.py": "from fhirferry.store.read import X\nfrom .protocol import Source\nfrom . import protocol",
    "sources/protocol.py": "import msgspec",
    "importing/load.py": "from fhirferry.store import read\nfrom ..fhir.resource import Y",
    "fhir/resource.py": "import json",
    "engine/task.py": "from fhirferry import faultpoints\nfrom fhirferry.sources import store",
    "faultpoints.py": "",
    "exporter.py": "SCHEMES = {'sqlite': 'fhirferry.sources.store:StoreSource'}",
    "cli/main.py": "import click\nfrom fhirferry import Exporter",
    "testing/clock.py": "import pytest\nfrom fhirferry.cli import main",
}


def test_a_tree_that_keeps_the_plan_passes(house) -> None:
    tree = house(GOOD)
    assert [uphill(tree), foreign(tree), cycles(tree), attics(tree), inline_sql(tree)] == [[], [], [], [], []]


@pytest.mark.parametrize(
    ("module", "line", "target"),
    [
        ("jobs/sqlite.py", "from fhirferry.sources import protocol", "fhirferry.sources.protocol"),
        ("importing/load.py", "import fhirferry.sources.store", "fhirferry.sources.store"),
        ("store/read.py", "from ..engine import task", "fhirferry.engine.task"),
        ("store/read.py", "from ..engine.task import X", "fhirferry.engine.task"),
        ("model/job.py", "def f():\n    from fhirferry.clock import now", "fhirferry.clock"),
        ("engine/task.py", "if TYPE_CHECKING:\n    from fhirferry.cli.main import M", "fhirferry.cli.main"),
        ("engine/task.py", "from fhirferry import Exporter", "fhirferry"),
        ("engine/task.py", "NAME = 'fhirferry.exporter:Exporter'", "fhirferry.exporter"),
        ("cli/main.py", "import fhirferry.testing.clock", "fhirferry.testing.clock"),
        ("cli/main.py", "importlib.import_module('fhirferry.testing.clock')", "fhirferry.testing.clock"),
        ("bulkdata/manifest.py", "from fhirferry.fhir.resource import Y", "fhirferry.fhir.resource"),
        ("settings.py", "import fhirferry.clock", "fhirferry.clock"),
    ],
)
def test_an_import_uphill_or_sideways_is_seen(house, module: str, line: str, target: str) -> None:
    found = uphill(house({**GOOD, module: line}))
    room = module.removesuffix(".py").split("/")[0]
    assert [text.split(": ", 1)[1] for text in found] == [f"{room} may not import {target}"]


def test_a_room_that_is_not_in_the_plan_is_seen(house) -> None:
    assert uphill(house({"cellar/wine.py": ""})) == ["cellar.wine: no room 'cellar' in the plan"]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("engine/task.py", "import sqlite3"),
        ("jobs/memory.py", "from sqlite3 import connect"),
        ("jobs/sqlite.py", "import click"),
        ("exporter.py", "def f():\n    import zstandard.backend_c"),
        ("fhir/resource.py", "import requests"),
    ],
)
def test_a_driver_in_the_wrong_module_is_seen(house, module: str, line: str) -> None:
    (found,) = foreign(house({**GOOD, module: line}))
    assert found.startswith(module.removesuffix(".py").replace("/", "."))


def test_a_circle_is_seen_only_where_it_runs_while_loading(house) -> None:
    there = {"jobs/a.py": "from fhirferry.jobs import b"}
    assert cycles(house({**there, "jobs/b.py": "def f():\n    from fhirferry.jobs import a"})) == []
    assert cycles(house({**there, "jobs/b.py": "if TYPE_CHECKING:\n    from fhirferry.jobs import a"})) == []
    (found,) = cycles(house({**there, "jobs/b.py": "from fhirferry.jobs.a import X"}))
    assert set(found.split(" <- ")) == {"jobs.a", "jobs.b"}


@pytest.mark.parametrize("name", ["common.py", "jobs/_utils.py", "helpers/text.py", "sources/base.py"])
def test_an_attic_is_seen(house, name: str) -> None:
    assert len(attics(house({name: ""}))) == 1


def test_a_long_module_is_seen(house) -> None:
    tree = house({"jobs/a.py": "x = 1\n" * 301, "jobs/b.py": "x = 1\n" * 300})
    assert long_modules(tree, 300) == {"jobs.a": 301}


def test_sql_in_python_is_seen_and_prose_is_not(house) -> None:
    statements = [
        "select 1",
        " INSERT OR IGNORE INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "CREATE UNIQUE INDEX i ON t (a)",
        "WITH x AS (SELECT 1) SELECT * FROM x",
    ]
    harmless = [
        "BEGIN IMMEDIATE",
        "COMMIT",
        "select 1 from sqlite_master",
        "Create the store first",
        "select",
        "update it",
    ]
    lines = [f"a{n} = {text!r}" for n, text in enumerate(statements + harmless)]
    tree = house({"jobs/sqlite.py": '"""Select the oldest."""\n' + "\n".join([*lines, "b = f'select {x} from t'"])})
    assert [text.split(":")[1] for text in inline_sql(tree)] == ["2", "3", "4", "5", "6", "7", "14"]
