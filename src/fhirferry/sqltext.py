"""SQL as source: named, commented, in `.sql` files. A query starts at a line `-- name: …`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator


def script(folder: str, name: str) -> str:
    """The text of `name`.sql in `folder`."""
    # Not importlib.resources: it would cost more time than opening a whole database.
    with open(os.path.join(folder, f"{name}.sql"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        return file.read()


def queries(folder: str, name: str) -> dict[str, str]:
    """The queries of `name`.sql in `folder` by their names."""
    parts = (part.partition("\n") for part in script(folder, name).split("-- name: ")[1:])
    return {title.strip(): text for title, _, text in parts}


def statements(text: str, complete: Callable[[str], bool]) -> Iterator[str]:
    """The statements of a script, in order: who runs them one by one stays in the transaction (`executescript` would
    commit it first). complete: the driver's knowledge of where a statement ends, `sqlite3.complete_statement`."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if complete(statement):
            yield statement
            statement = ""
