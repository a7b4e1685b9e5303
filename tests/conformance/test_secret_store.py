"""The SecretStore suite against every implementation (S76, S78)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("fhirferry.testing.secret_suite")

from fhirferry.clock import system_clock  # noqa: E402
from fhirferry.jobs.sqlite import SqliteJobStore  # noqa: E402
from fhirferry.testing.secret_suite import Fill, SecretSuite  # noqa: E402
from fhirferry.vaults.environment import EnvironmentSecretStore, FileSecretStore, variable_of  # noqa: E402
from fhirferry.vaults.memory import MemorySecretStore  # noqa: E402
from fhirferry.vaults.protocol import SecretStore  # noqa: E402
from fhirferry.vaults.retrying import RetryingSecretStore  # noqa: E402
from fhirferry.vaults.secret import Secret  # noqa: E402


class TestMemory(SecretSuite):
    @pytest.fixture
    def vault(self) -> SecretStore:
        return MemorySecretStore()


class TestRetrying(SecretSuite):
    @pytest.fixture
    def vault(self) -> SecretStore:
        return RetryingSecretStore(MemorySecretStore(), sleep=lambda _: None)


class TestEnvironment(SecretSuite):
    @pytest.fixture
    def environment(self) -> dict[str, str]:
        return {}

    @pytest.fixture
    def vault(self, environment: dict[str, str]) -> SecretStore:
        return EnvironmentSecretStore(environment)

    @pytest.fixture
    def fill(self, environment: dict[str, str]) -> Fill:
        return lambda name, text: environment.update({variable_of(name): text})


class TestFiles(SecretSuite):
    @pytest.fixture
    def vault(self, tmp_path: Path) -> SecretStore:
        return FileSecretStore(tmp_path)

    @pytest.fixture
    def fill(self, tmp_path: Path) -> Fill:
        return lambda name, text: tmp_path.joinpath(name).write_text(text + "\n", encoding="utf-8") and None  # type: ignore[func-returns-value]


class TestLedger(SecretSuite):
    @pytest.fixture
    def vault(self, tmp_path: Path) -> Iterator[SecretStore]:
        pytest.importorskip("cryptography")
        from cryptography.fernet import Fernet

        from fhirferry.vaults.ledger import LedgerSecretStore

        SqliteJobStore(tmp_path / "ledger.db", clock=system_clock).close()
        store = LedgerSecretStore(tmp_path / "ledger.db", [Secret(Fernet.generate_key().decode())])
        yield store
        store.close()


class TestKeyVault(SecretSuite):
    @pytest.fixture
    def vault(self) -> Iterator[SecretStore]:
        pytest.importorskip("azure.keyvault.secrets")
        from fhirferry.vaults.key_vault import KeyVaultSecretStore
        from tests.unit.vaults.key_vault_service import URL, Credential, Service

        store = KeyVaultSecretStore(URL, credential=Credential(), transport=Service())
        yield store
        store.close()
