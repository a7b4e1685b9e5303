"""The store's SQL: named, commented, one file per verb. A query starts at a line `-- name: …`."""

from __future__ import annotations

import os


def script(name: str) -> str:
    """The text of `name`.sql."""
    # Not importlib.resources: it would cost more time than opening the whole store.
    with open(os.path.join(os.path.dirname(__file__), f"{name}.sql"), encoding="utf-8") as file:  # noqa: PTH118, PTH120, PTH123
        return file.read()


def queries(name: str) -> dict[str, str]:
    """The queries of `name`.sql by their names."""
    parts = (part.partition("\n") for part in script(name).split("-- name: ")[1:])
    return {title.strip(): text for title, _, text in parts}
