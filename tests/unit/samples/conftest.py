"""A small set, generated once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirferry.samples.writing import generate

Resources = dict[str, list[dict[str, Any]]]


def read(folder: Path) -> Resources:
    """Resource type -> resources. Numbers stay text: no float may come near them."""
    return {
        path.stem: [json.loads(line, parse_float=str) for line in path.read_bytes().splitlines()]
        for path in sorted(folder.iterdir())
    }


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 patients of seed 7."""
    target = tmp_path_factory.mktemp("samples") / "set"
    generate(target, patients=60, seed=7)
    return target


@pytest.fixture(scope="session")
def resources(folder: Path) -> Resources:
    return read(folder)


@pytest.fixture(scope="session")
def odd_resources(odd: Path) -> Resources:
    return read(odd)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 patients, and the odd corners."""
    target = tmp_path_factory.mktemp("samples") / "odd"
    generate(target, patients=2, seed=7, odd=True)
    return target
