"""Three tries for what is passing, one for the rest (S78)."""

from __future__ import annotations

from typing import Any

import pytest

from fhirferry.model.errors import FerryError, SecretNotFound, SecretStoreError, SecretStoreRefused
from fhirferry.vaults.memory import MemorySecretStore
from fhirferry.vaults.retrying import RetryingSecretStore
from fhirferry.vaults.secret import Secret


def asked(operation: str, *errors: FerryError) -> tuple[list[float], int, Any]:
    """Seconds slept, calls made, and what came of it."""
    inner, slept = MemorySecretStore(), list[float]()
    inner.set("a", Secret("text"))
    inner.calls.clear()
    for error in errors:
        inner.fail_next(operation, error)
    vault = RetryingSecretStore(inner, sleep=slept.append)
    try:
        outcome: Any = vault.set("a", Secret("b")) if operation == "set" else getattr(vault, operation)("a")
    except FerryError as error:
        outcome = error
    return slept, len(inner.calls), outcome


def passing(code: int, after: float | None = None) -> SecretStoreError:
    return SecretStoreError("passing", status_code=code, retry_after=after)


@pytest.mark.parametrize("operation", ["get", "set", "delete"])
@pytest.mark.parametrize("code", [408, 429, 503])
def test_S78_what_is_passing_is_tried_three_times_with_growing_waits(operation: str, code: int) -> None:
    slept, calls, outcome = asked(operation, passing(code), passing(code))
    assert (slept, calls) == ([1.0, 2.0], 3)
    assert not isinstance(outcome, FerryError)


@pytest.mark.parametrize("code", [408, 429, 503])
def test_S78_at_the_third_time_it_is_told_with_its_code(code: int) -> None:
    slept, calls, outcome = asked("get", *[passing(code)] * 3)
    assert (slept, calls, outcome.status_code) == ([1.0, 2.0], 3, code)


@pytest.mark.parametrize(
    "error",
    [
        SecretStoreRefused("no", status_code=401),
        SecretStoreRefused("no", status_code=403),
        SecretStoreError("its own reason"),
        SecretNotFound("none"),
    ],
)
def test_S78_what_is_not_passing_is_told_at_once_as_it_is(error: FerryError) -> None:
    slept, calls, outcome = asked("get", error)
    assert (slept, calls) == ([], 1)
    assert outcome is error


def test_a_store_that_says_how_long_is_waited_for_and_not_for_ever() -> None:
    assert asked("get", passing(429, 7.0), passing(429, 1.0))[0] == [7.0, 2.0]
    slept, calls, outcome = asked("get", passing(429, 600.0))
    assert (slept, calls, outcome.retry_after) == ([], 1, 600.0)
