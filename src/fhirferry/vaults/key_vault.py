"""Secrets in Azure Key Vault (extra `azure-keyvault`). Tried against a transport that plays the service; never yet against
the real one.

A deleted secret stays recoverable for as long as the vault is set to keep it (7 to 90 days), and its name is taken so
long: names that are made for one job should be new each time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from fhirferry.model.errors import FerryError, RequestError, SecretNotFound, SecretStoreError, SecretStoreRefused
from fhirferry.vaults.protocol import check_name
from fhirferry.vaults.secret import MASK, Secret

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

INSTALL = "Azure Key Vault needs packages of its own; to install them: pip install 'fhirferry[azure-keyvault]'"
CONNECT, READ = 5.0, 20.0
"""Seconds to wait for a connection, and for an answer."""
LONGEST_REASON = 300

T = TypeVar("T")


class KeyVaultSecretStore:
    """The vault at `url` (`https://NAME.vault.azure.net`).

    credential: as azure-identity makes them; None: what the machine has (managed and workload identity, environment,
    Azure CLI). transport: an azure-core HttpTransport instead of a real one. Retries are `vaults.retrying`'s work, so
    the SDK's own are off. RequestError: not such an address, packages missing.
    """

    read_only = False

    def __init__(self, url: str, *, credential: Any = None, transport: Any = None) -> None:
        self._url = url
        try:
            from azure.keyvault.secrets import SecretClient

            if credential is None:
                from azure.identity import DefaultAzureCredential

                credential = DefaultAzureCredential()
        except ImportError:
            raise RequestError(INSTALL) from None
        options = {} if transport is None else {"transport": transport}
        try:
            self._client = SecretClient(
                url, credential, retry_total=0, connection_timeout=CONNECT, read_timeout=READ, **options
            )
        except ValueError as error:
            raise RequestError(f"{url!r} is not the address of a key vault: {error}") from None
        self._credential = credential

    def get(self, name: str) -> Secret:
        check_name(name)
        return self._call(name, lambda: Secret(self._client.get_secret(name).value or ""))

    def set(self, name: str, secret: Secret) -> None:
        check_name(name)
        self._call(name, lambda: self._client.set_secret(name, secret.reveal()), secret)

    def delete(self, name: str) -> None:
        check_name(name)
        with suppress(SecretNotFound):
            self._call(name, lambda: self._client.begin_delete_secret(name))  # its end is not waited for

    def close(self) -> None:
        self._client.close()
        if hasattr(self._credential, "close"):
            self._credential.close()

    def _call(self, name: str, call: Callable[[], T], secret: Secret | None = None) -> T:
        from azure.core.exceptions import AzureError

        try:
            return call()
        except AzureError as error:
            ours = self._as_ours(name, error, secret)
        except ValueError:  # the SDK's word for an answer that names another vault
            ours = SecretStoreError(f"{self._url} does not answer like the key vault of that address")
        raise ours  # here, so that nothing of the SDK's frames hangs on it: they hold the text that was sent

    def _as_ours(self, name: str, error: AzureError, secret: Secret | None) -> FerryError:
        from azure.core.exceptions import (
            ClientAuthenticationError,
            HttpResponseError,
            ServiceRequestError,
            ServiceResponseError,
        )

        if isinstance(error, ServiceRequestError | ServiceResponseError):
            return SecretStoreError(f"the key vault {self._url} cannot be reached", status_code=503)
        if not isinstance(error, HttpResponseError):
            return SecretStoreError(f"the key vault {self._url} failed: {type(error).__name__}")
        code = error.status_code or (401 if isinstance(error, ClientAuthenticationError) else 500)
        if code == 404:
            return SecretNotFound(f"there is no secret {name!r} in the key vault {self._url}")
        if code in (401, 403):
            return SecretStoreRefused(
                f"the key vault {self._url} refuses the secret {name!r}: {_reason(error, secret)}", status_code=code
            )
        text = f"the key vault {self._url} failed at the secret {name!r}: {_reason(error, secret)}"
        if code in (408, 429, 503):
            return SecretStoreError(text, status_code=code, retry_after=_retry_after(error))
        return SecretStoreError(text)


def _reason(error: Any, secret: Secret | None) -> str:
    """The store's own words, if they do not hold what was sent."""
    said = getattr(error, "error", None)
    words = " ".join(filter(None, (said.code, said.message))) if said is not None else error.reason or ""
    if secret is not None and secret.reveal():
        words = words.replace(secret.reveal(), MASK)
    return words[:LONGEST_REASON] or "no credential of this machine is taken there"


def _retry_after(error: Any) -> float | None:
    given = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return float(given) if given.isdecimal() else None
