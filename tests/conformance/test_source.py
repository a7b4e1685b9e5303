"""Every implementation of Source against the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.sources.memory import MemorySource
from fhirferry.sources.store import StoreSource
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Dock, SourceSuite, Ticking


class TestMemorySource(SourceSuite):
    @pytest.fixture
    def dock(self) -> Dock:
        clock = Ticking()
        source = MemorySource(clock=clock)
        return Dock(source=source, clock=clock, write=source.write, prune=source.prune, reopen=lambda: source)


class TestStoreSource(SourceSuite):
    @pytest.fixture
    def dock(self, tmp_path: Path) -> Iterator[Dock]:
        clock = Ticking()
        path = str(tmp_path / "store.sqlite")
        with SqliteStore(path, clock=clock, create=True) as store:
            source = StoreSource(path, clock)
            yield Dock(
                source=source,
                clock=clock,
                write=store.write,
                prune=store.prune,
                reopen=lambda: StoreSource(path, clock, check=True),
            )
            source.close()
