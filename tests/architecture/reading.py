"""Reads a source tree with `ast` and says where it leaves the plan of the house (docs/design.md, section 4).

Theory of operation. Every module belongs to a room: the first name under the package. `LAYERS` orders the rooms; an
import may only lead to its own room or further down. All imports count, also inside functions and under TYPE_CHECKING,
and texts that are nothing but a module's name, because scheme tables and `python -m` import by such texts.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

# From the ground up. `testing` stands outside the house: it may look at everything and nothing looks at it.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"__about__", "faultpoints", "sqltext"}),
    frozenset({"model"}),
    frozenset({"clock", "settings"}),
    frozenset({"bulkdata", "fhir", "samples"}),
    frozenset({"store"}),
    frozenset({"jobs", "sources", "destinations", "transforms", "vaults", "importing"}),
    frozenset({"engine"}),
    frozenset({"exporting"}),  # the rooms behind the front door
    frozenset({"exporter"}),
    frozenset({"__init__"}),  # the public names
    frozenset({"api", "cli"}),
    frozenset({"__main__"}),
    frozenset({"testing"}),
)
# Third party -> modules that may import it; `room.*` is every module of a room. msgspec is our record type everywhere.
DRIVERS: Mapping[str, tuple[str, ...]] = {
    "msgspec": ("*",),
    "sqlite3": ("jobs.sqlite", "store.*", "vaults.ledger"),
    "cryptography": ("vaults.ledger",),
    "azure": ("vaults.key_vault",),
    "click": ("cli.*",),
    "rich": ("cli.bars",),
    "obstore": (
        "destinations.bucket_errors",
        "destinations.bucket_mark",
        "destinations.bucket_opening",
        "destinations.bucket_reading",
        "destinations.object_store",
        "destinations.upload",
    ),
    "isal": ("bulkdata.members",),
    "zstandard": ("importing.*",),
}
ATTICS = frozenset({"common", "util", "utils", "helper", "helpers", "base", "misc"})
STATEMENT = re.compile(
    r"\s*(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|REPLACE\s+INTO\s|WITH\s+\w+.*\sAS\s*\("
    r"|(CREATE|DROP|ALTER)\s+(TEMP\w*\s+|UNIQUE\s+|VIRTUAL\s+)?(TABLE|INDEX|VIEW|TRIGGER)\s)",
    re.IGNORECASE | re.DOTALL,
)


class Import(NamedTuple):
    """One import: where, of what (dotted), and whether it runs when the module is loaded."""

    module: str
    line: int
    target: str
    at_load: bool


class Tree:
    """The parsed modules under `folder`, which is the package itself. Names are relative: `jobs.sqlite`, `__init__`."""

    def __init__(self, folder: Path) -> None:
        self.package = folder.name
        self.folder = folder
        self.paths = {self._name(path): path for path in sorted(folder.rglob("*.py"))}
        self.parsed = {name: ast.parse(path.read_text("utf-8")) for name, path in self.paths.items()}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.folder).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)

    def imports(self) -> Iterator[Import]:
        """Every import of every module; ours as `fhirferry.room.module`, others as written."""
        for module, tree in self.parsed.items():
            late = {id(node) for late in _not_at_load(tree) for node in ast.walk(late)}
            for node in ast.walk(tree):
                for target in self._targets(module, node):
                    yield Import(module, getattr(node, "lineno", 0), target, id(node) not in late)

    def _targets(self, module: str, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                here = [self.package, *module.split(".")]
                is_package = self.paths[module].name == "__init__.py"
                up = here[: len(here) - node.level + is_package] if module != "__init__" else [self.package]
                start = ".".join([*up, start] if start else up)
            for (
                name
            ) in node.names:  # `from fhirferry import jobs` names a module, `from fhirferry.jobs import X` may not
                deeper = f"{start}.{name.name}"
                yield deeper if self.local(deeper) in self.paths else start
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.partition(":")[0]
            if re.fullmatch(rf"{self.package}(\.\w+)+", text) and self.local(text) in self.paths:
                yield text

    def local(self, target: str) -> str | None:
        """The relative name of one of our modules; None for what is not ours."""
        if target == self.package:
            return "__init__"
        return target.removeprefix(self.package + ".") if target.startswith(self.package + ".") else None


def _not_at_load(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Constant):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from node.body


def uphill(tree: Tree) -> list[str]:
    """Imports that do not run downhill, and rooms that the plan does not have."""
    rank = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
    found = [f"{name}: no room {_room(name)!r} in the plan" for name in tree.paths if _room(name) not in rank]
    for module, line, target, _ in tree.imports():
        local = tree.local(target)
        if local is None or _room(module) not in rank or _room(local) == _room(module):
            continue
        if rank.get(_room(local), len(LAYERS)) >= rank[_room(module)]:
            found.append(f"{module}:{line}: {_room(module)} may not import {target}")
    return found


def foreign(tree: Tree) -> list[str]:
    """Third-party modules and drivers imported outside the modules that DRIVERS names."""
    found = []
    for module, line, target, _ in tree.imports():
        top = target.partition(".")[0]
        if top == tree.package or (top in sys.stdlib_module_names and top not in DRIVERS) or _room(module) == "testing":
            continue
        if not any(_covers(pattern, module) for pattern in DRIVERS.get(top, ())):
            found.append(f"{module}:{line}: {top} is not imported here, see DRIVERS")
    return found


def cycles(tree: Tree) -> list[str]:
    """A circle of modules that import each other while they are loaded; at most the first is named."""
    graph: dict[str, set[str]] = {name: set() for name in tree.paths}
    for module, _, target, at_load in tree.imports():
        local = tree.local(target)
        if at_load and local in graph and local != module:
            graph[module].add(local)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def attics(tree: Tree) -> list[str]:
    """Modules and packages with a name that takes in everything."""
    return [name for name in tree.paths if ATTICS & {part.strip("_") for part in name.split(".")}]


def long_modules(tree: Tree, limit: int) -> dict[str, int]:
    """Modules with more lines than the limit."""
    lengths = {name: len(path.read_text("utf-8").splitlines()) for name, path in tree.paths.items()}
    return {name: length for name, length in lengths.items() if length > limit}


def inline_sql(tree: Tree) -> list[str]:
    """SQL statements in texts, docstrings apart. Transactions, PRAGMA and looking into SQLite's own catalogue, which
    tell nothing about our data, are no statements in this sense."""
    found = []
    for module, parsed in tree.parsed.items():
        prose = {id(node.value) for node in ast.walk(parsed) if isinstance(node, ast.Expr)}
        for node in ast.walk(parsed):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
            if is_text and STATEMENT.match(node.value) and "sqlite_master" not in node.value:  # type: ignore[attr-defined]
                found.append(f"{module}:{node.lineno}: SQL belongs into a .sql file")  # type: ignore[attr-defined]
    return found


def _room(module: str) -> str:
    return module.partition(".")[0]


def _covers(pattern: str, module: str) -> bool:
    return pattern in ("*", module) or (pattern.endswith(".*") and module.startswith(pattern[:-1]))
