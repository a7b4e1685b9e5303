"""A fresh store with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Ticking


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store.sqlite")


@pytest.fixture
def store(path: str, clock: Ticking) -> Iterator[SqliteStore]:
    with SqliteStore(path, clock=clock, create=True) as opened:
        yield opened
