"""Azure Key Vault: what the service says, in our words (S78)."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest

pytest.importorskip("azure.keyvault.secrets")

from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError

from fhirferry.model.errors import FerryError, RequestError, SecretNotFound, SecretStoreError, SecretStoreRefused
from fhirferry.vaults.key_vault import KeyVaultSecretStore
from fhirferry.vaults.retrying import RetryingSecretStore
from fhirferry.vaults.secret import Secret
from tests.unit.vaults.key_vault_service import URL, Credential, Service

CANARY = "kanarievogel-in-the-vault"


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def vault(service: Service) -> KeyVaultSecretStore:
    return KeyVaultSecretStore(URL, credential=Credential(), transport=service)


def said(code: str, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize("status", [408, 429, 503])
def test_S78_passing_trouble_keeps_its_code_and_the_sdk_does_not_retry_by_itself(
    vault: KeyVaultSecretStore, service: Service, status: int
) -> None:
    service.answers = [(status, {"Retry-After": "4"}, said("Busy", "later"))] * 3
    slept: list[float] = []
    with pytest.raises(SecretStoreError, match="Busy later") as caught:
        RetryingSecretStore(vault, sleep=slept.append).get("a")
    assert (caught.value.status_code, caught.value.retry_after) == (status, 4.0)
    assert slept == [4.0, 4.0]
    assert service.asked == [("GET", "a")] * 3


@pytest.mark.parametrize("status", [401, 403])
def test_S78_401_and_403_are_passed_on(vault: KeyVaultSecretStore, service: Service, status: int) -> None:
    service.answers = [(status, {}, said("Forbidden", "Caller is not authorized"))]
    with pytest.raises(SecretStoreRefused, match="Caller is not authorized") as caught:
        vault.get("a")
    assert caught.value.status_code == status


@pytest.mark.parametrize("status", [400, 409, 500, 502])
def test_S78_anything_else_becomes_500_with_the_stores_reason(
    vault: KeyVaultSecretStore, service: Service, status: int
) -> None:
    service.answers = [(status, {}, said("Conflict", "ObjectIsDeletedButRecoverable"))]
    with pytest.raises(SecretStoreError, match="ObjectIsDeletedButRecoverable") as caught:
        vault.set("a", Secret("x"))
    assert caught.value.status_code == 500


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (ServiceRequestError("name not known"), SecretStoreError, 503),
        (ServiceResponseError("timed out"), SecretStoreError, 503),
        (ClientAuthenticationError("no credential"), SecretStoreRefused, 401),
    ],
)
def test_S78_what_has_no_answer_has_a_code_all_the_same(
    vault: KeyVaultSecretStore, service: Service, error: Exception, kind: type[FerryError], status: int
) -> None:
    service.answers = [error]
    with pytest.raises(kind) as caught:
        vault.get("a")
    assert caught.value.status_code == status


def test_nothing_of_a_secret_hangs_on_an_error_even_if_the_service_quotes_it(
    vault: KeyVaultSecretStore, service: Service
) -> None:
    service.answers = [(400, {}, said("BadParameter", f"the value {CANARY} is bad"))]
    secret = Secret("kanarievogel" + "-in-the-vault")
    with pytest.raises(SecretStoreError, match=r"the value \*+ is bad") as caught:
        vault.set("a", secret)
    assert caught.value.__context__ is None
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert CANARY not in "".join(line for line in shown if "test_key_vault.py" not in line)


def test_a_missing_secret_is_found_missing_and_deleting_it_is_no_error(
    vault: KeyVaultSecretStore, service: Service
) -> None:
    with pytest.raises(SecretNotFound, match=URL):
        vault.get("a")
    vault.delete("a")
    assert service.asked == [("GET", "a"), ("DELETE", "a")]


@pytest.mark.parametrize("url", ["http://ferry.vault.azure.net", "", "ferry"])
def test_an_address_that_is_none_is_the_users_mistake(url: str) -> None:
    service = Service()
    try:
        vault = KeyVaultSecretStore(url, credential=Credential(), transport=service)
    except RequestError:
        return
    with pytest.raises(FerryError):  # the SDK tells at the first call
        vault.get("a")


def test_without_its_packages_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['azure'] = None\n"
        "from fhirferry.vaults.key_vault import KeyVaultSecretStore\n"
        "try: KeyVaultSecretStore('https://a.vault.azure.net')\n"
        "except Exception as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "pip install 'fhirferry[azure-keyvault]'" in ran.stdout, ran.stderr
