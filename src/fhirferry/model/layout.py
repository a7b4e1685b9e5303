"""The folders that a job's files lie in, below its own (S65)."""

from __future__ import annotations

import re

from fhirferry.model.errors import RequestError

RESOURCE_NAME = "<resourcename>"
"""Stands for the type of a file's resources."""

_is_folder = re.compile(rf"(?:[A-Za-z0-9._-]|{RESOURCE_NAME})+").fullmatch
_TAKEN = frozenset((".", "..", ".fhirferry", "deleted", "error", "history", "manifest.json", "sha256sums"))
"""In small letters: there are file systems for which those are the same."""


def folder_of(layout: str, resource_type: str) -> str:
    """Where files of a type lie, without a `/` at the end; empty where there is no layout."""
    return layout.replace(RESOURCE_NAME, resource_type)


def refuse_layout(layout: str) -> None:
    """RequestError unless every name that it gives is one that a destination takes, and no other's. Empty is none."""
    if not layout:
        return
    if len(layout) > 200 or not all(map(_is_free, layout.split("/"))):
        raise RequestError(
            f"layout {layout[:80]!r} is not offered; write folders with / between them, of letters, digits and . _ - and "
            f"the tag {RESOURCE_NAME}, in 200 characters (not {', '.join(sorted(_TAKEN))})"
        )


def _is_free(name: str) -> bool:
    longest = len(name.replace(RESOURCE_NAME, "x" * 64))
    return _is_folder(name) is not None and longest <= 255 and name.lower() not in _TAKEN
