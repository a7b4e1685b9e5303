"""What the tests of destinations share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.destinations.folder import FolderDestination
from tests.unit.destinations.places import JOB


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The destination's folder; nobody has made it."""
    return tmp_path / "out"


@pytest.fixture
def folder(root: Path) -> FolderDestination:
    """Prepared for JOB."""
    destination = FolderDestination(root)
    destination.prepare(JOB)
    return destination


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    """Whatever a test provokes, every descriptor is given back."""
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def open_descriptors() -> list[str]:
    """What is open, by name; pipes and the like belong to the test runner."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return sorted(name for name in found if name.startswith("/") and not name.startswith(("/dev", "/proc")))
