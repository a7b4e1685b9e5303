"""The house that the engine's tests work in."""

from __future__ import annotations

import pytest

from fhirferry.engine import carry
from tests.unit.engine.house import House


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries inside a task follow at once."""
    monkeypatch.setattr(carry, "backoff", lambda *_: 0.0)
