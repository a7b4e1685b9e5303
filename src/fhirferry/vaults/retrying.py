"""A store of secrets that is asked again when its trouble is passing (S78)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from fhirferry.model.errors import SecretStoreError
from fhirferry.vaults.protocol import SecretStore
from fhirferry.vaults.secret import Secret

PASSING = frozenset({408, 429, 503})
TRIES = 3
FIRST_WAIT = 1.0
"""Seconds before the second try, and twice as long before each further one."""
LONGEST_WAIT = 30.0
"""Seconds: a store that asks for more is given up for now, and the job comes back later."""

T = TypeVar("T")


class RetryingSecretStore:
    """The same store, with three tries for what is passing. sleep: takes seconds."""

    def __init__(self, store: SecretStore, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.read_only = store.read_only
        self._store = store
        self._sleep = sleep

    def get(self, name: str) -> Secret:
        return self._try(lambda: self._store.get(name))

    def set(self, name: str, secret: Secret) -> None:
        self._try(lambda: self._store.set(name, secret))

    def delete(self, name: str) -> None:
        self._try(lambda: self._store.delete(name))

    def close(self) -> None:
        self._store.close()

    def _try(self, call: Callable[[], T]) -> T:
        for attempt in range(1, TRIES):
            try:
                return call()
            except SecretStoreError as error:
                wait = max(FIRST_WAIT * 2 ** (attempt - 1), error.retry_after or 0.0)
                if error.status_code not in PASSING or wait > LONGEST_WAIT:
                    raise
            self._sleep(wait)
        return call()
