"""Which class serves which address of a store of secrets, and what a job's secret may open.

environment                    FHIRFERRY_SECRET_<NAME>
files:/run/secrets             a folder with a file for each
ledger                         a table of the jobs' ledger; keys in FHIRFERRY_VAULT_KEY or FHIRFERRY_VAULT_KEY_FILE
https://NAME.vault.azure.net   Azure Key Vault
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import msgspec

from fhirferry.engine.connections import OpenVault
from fhirferry.model.errors import RequestError

if TYPE_CHECKING:
    from fhirferry.vaults.protocol import SecretStore

ENVIRONMENT = "environment"
OFFERED = "environment, files:FOLDER, ledger, https://NAME.vault.azure.net"


class VaultAddress(msgspec.Struct, frozen=True):
    """Opens the store of secrets at `text`; travels to other processes, which open it by themselves. ledger: path of the
    jobs' ledger, empty where it is no file."""

    text: str
    ledger: str

    def __call__(self) -> AbstractContextManager[SecretStore]:
        """With three tries for passing trouble. RequestError: no such store."""
        return self._opened()

    @contextmanager
    def _opened(self) -> Iterator[SecretStore]:
        from fhirferry.vaults.retrying import RetryingSecretStore

        kind, _, rest = self.text.partition(":")
        make = VAULTS.get(kind)
        if make is None or (bool(rest) != (kind in ("files", "https"))):
            # Not quoted: an address may have been mistaken for the place of a secret.
            raise RequestError(f"that is not a store of secrets; write one of: {OFFERED}")
        vault = RetryingSecretStore(make(self))
        try:
            yield vault
        finally:
            vault.close()


class Lent:
    """A store that somebody else made, and closes. It serves in this process only."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    def __call__(self) -> AbstractContextManager[SecretStore]:
        return nullcontext(self._store)


def vault_opener(vault: str | SecretStore | None, ledger: str) -> OpenVault:
    """vault: address, store, or None for the environment."""
    if vault is None or isinstance(vault, str):
        return VaultAddress(vault or ENVIRONMENT, ledger)
    return Lent(vault)


def _environment(_: VaultAddress) -> SecretStore:
    from fhirferry.vaults.environment import EnvironmentSecretStore

    return EnvironmentSecretStore()


def _files(address: VaultAddress) -> SecretStore:
    from fhirferry.vaults.environment import FileSecretStore

    return FileSecretStore(address.text.partition(":")[2])


def _ledger(address: VaultAddress) -> SecretStore:
    from fhirferry.vaults.ledger import LedgerSecretStore, keys_from

    if not address.ledger:
        raise RequestError("the ledger of these jobs is no file that could keep secrets; use another store of secrets")
    return LedgerSecretStore(address.ledger, keys_from())


def _key_vault(address: VaultAddress) -> SecretStore:
    from fhirferry.vaults.key_vault import KeyVaultSecretStore

    return KeyVaultSecretStore(address.text)


VAULTS: Mapping[str, Callable[[VaultAddress], SecretStore]] = {
    ENVIRONMENT: _environment,
    "files": _files,
    "ledger": _ledger,
    "https": _key_vault,
}
