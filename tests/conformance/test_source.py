"""Every implementation of Source against the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.sources.memory import MemorySource
from fhirferry.sources.store import StoreSource
from fhirferry.store import cohorts
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.cohort_suite import CohortSuite
from fhirferry.testing.hints_suite import HintsSuite
from fhirferry.testing.history_suite import HistorySuite
from fhirferry.testing.named_suite import NamedSuite
from fhirferry.testing.organised_suite import OrganisedSuite
from fhirferry.testing.provenance_suite import ProvenanceSuite
from fhirferry.testing.share_suite import ShareSuite
from fhirferry.testing.source_suite import Dock, SourceSuite, Ticking


class TestMemorySource(
    SourceSuite, CohortSuite, ShareSuite, HintsSuite, HistorySuite, NamedSuite, OrganisedSuite, ProvenanceSuite
):
    @pytest.fixture
    def dock(self) -> Dock:
        clock = Ticking()
        source = MemorySource(clock=clock)
        return Dock(source=source, clock=clock, write=source.write, prune=source.prune, reopen=lambda: source)


def store_dock(path: str) -> Iterator[Dock]:
    """A dock whose source is a store at `path`."""
    clock = Ticking()
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


class TestStoreSource(
    SourceSuite, CohortSuite, ShareSuite, HintsSuite, HistorySuite, NamedSuite, OrganisedSuite, ProvenanceSuite
):
    """Cohorts are read patient by patient."""

    @pytest.fixture
    def dock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dock]:
        monkeypatch.setattr(cohorts, "WIDE", 0)
        yield from store_dock(str(tmp_path / "store.sqlite"))


class TestStoreSourceWide(
    CohortSuite, ShareSuite, HintsSuite, HistorySuite, NamedSuite, OrganisedSuite, ProvenanceSuite
):
    """Cohorts are read in the order on disk."""

    @pytest.fixture
    def dock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dock]:
        monkeypatch.setattr(cohorts, "WIDE", 10**9)
        yield from store_dock(str(tmp_path / "store.sqlite"))
