"""Secrets in memory, for tests: one object is the store itself."""

from __future__ import annotations

from fhirferry.model.errors import SecretNotFound
from fhirferry.vaults.protocol import check_name
from fhirferry.vaults.secret import Secret


class MemorySecretStore:
    """Secrets as a dictionary."""

    read_only = False

    def __init__(self) -> None:
        self._secrets: dict[str, Secret] = {}
        self._failures: list[tuple[str, Exception]] = []
        self.calls: list[tuple[str, str]] = []
        """(operation, name) of every call, in order."""

    def fail_next(self, operation: str, error: Exception) -> None:
        """The next call of `operation` (get, set, delete) raises `error` and does nothing else; several queue up."""
        self._failures.append((operation, error))

    def get(self, name: str) -> Secret:
        self._enter("get", name)
        try:
            return self._secrets[name]
        except KeyError:
            raise SecretNotFound(f"there is no secret {name!r} in memory") from None

    def set(self, name: str, secret: Secret) -> None:
        self._enter("set", name)
        self._secrets[name] = secret

    def delete(self, name: str) -> None:
        self._enter("delete", name)
        self._secrets.pop(name, None)

    def close(self) -> None:
        """Nothing to give back."""

    def _enter(self, operation: str, name: str) -> None:
        self.calls.append((operation, check_name(name)))
        for at, (wanted, error) in enumerate(self._failures):
            if wanted == operation:
                del self._failures[at]
                raise error
