"""The Destination suite against every implementation (S7, S15)."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("fhirferry.testing.destination_suite")

from fhirferry.destinations.folder import FolderDestination  # noqa: E402
from fhirferry.destinations.memory import MemoryDestination  # noqa: E402
from fhirferry.destinations.protocol import Destination  # noqa: E402
from fhirferry.testing.destination_suite import DestinationSuite  # noqa: E402


class TestMemoryLikeAFolder(DestinationSuite):
    @pytest.fixture
    def destination(self) -> Destination:
        return MemoryDestination()


class TestMemoryLikeAnObjectStore(DestinationSuite):
    @pytest.fixture
    def destination(self) -> Destination:
        return MemoryDestination(renames=False)


class TestFolder(DestinationSuite):
    @pytest.fixture
    def destination(self, tmp_path: Path) -> Destination:
        return FolderDestination(tmp_path / "made" / "by prepare")

    def again(self, destination: Destination) -> Destination:
        assert isinstance(destination, FolderDestination)
        return FolderDestination(destination.path)
