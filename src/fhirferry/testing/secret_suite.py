"""What every store of secrets must do (S76, S78). Inherit, and give the fixture `vault`.

    class TestMine(SecretSuite):
        @pytest.fixture
        def vault(self): ...

A store that is only read is filled by the fixture `fill`, and says `read_only`.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

import pytest

from fhirferry.model.errors import RequestError, SecretNotFound, SecretsReadOnly
from fhirferry.vaults.protocol import SecretStore
from fhirferry.vaults.secret import MASK, Secret

TEXTS = {
    "plain": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=bXk=;EndpointSuffix=core.windows.net",
    "json": '{"destinationType": "folder", "destinationConnectionString": "/srv/out"}',
    "unicode": "schlüssel – ключ – 鍵",
    "spaces": "  kept  ",
    "percent": "sv=2024&sig=a%2Fb%3D",
}
Fill = Callable[[str, str], None]


class SecretSuite:
    """vault: the store, empty. fill: puts a text under a name, past the store where that is only read."""

    @pytest.fixture
    def vault(self) -> SecretStore:
        raise NotImplementedError

    @pytest.fixture
    def fill(self, vault: SecretStore) -> Fill:
        return lambda name, text: vault.set(name, Secret(text))

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_a_secret_comes_back_as_it_went(self, vault: SecretStore, fill: Fill, text: str) -> None:
        fill("job-1", text)
        assert vault.get("job-1").reveal() == text
        assert vault.get("job-1") == Secret(text)

    def test_secrets_are_told_apart_by_their_names(self, vault: SecretStore, fill: Fill) -> None:
        fill("job-1", "one")
        fill("job-11", "eleven")
        assert [vault.get(name).reveal() for name in ("job-11", "job-1")] == ["eleven", "one"]

    def test_a_missing_secret_is_an_error_of_its_own_that_names_it(self, vault: SecretStore, fill: Fill) -> None:
        fill("job-1", "one")
        with pytest.raises(SecretNotFound, match="job-2") as caught:
            vault.get("job-2")
        assert caught.value.status_code == 400

    def test_what_is_read_shows_nothing_of_itself(self, vault: SecretStore, fill: Fill) -> None:
        fill("job-1", "canary")
        found = vault.get("job-1")
        assert {repr(found), str(found), f"{found}", f"{found!r:>40}".strip(), f"{found!s}"} == {MASK}

    @pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", "a.b", "-a", "a" * 128, "a\0b", "ä", "a\n"])
    def test_a_name_that_not_every_store_keeps_is_refused_and_not_quoted(self, vault: SecretStore, name: str) -> None:
        calls: tuple[Callable[[], object], ...] = (
            lambda: vault.get(name),
            lambda: vault.set(name, Secret("canary")),
            lambda: vault.delete(name),
        )
        for call in calls:
            with pytest.raises(RequestError) as caught:
                call()
            assert len(name) < 3 or name not in caught.value.message

    def test_errors_with_all_their_locals_show_no_secret(self, vault: SecretStore, fill: Fill) -> None:
        fill("job-1", "canary-of-the-suite")
        secret = Secret("canary-of-" + "the-suite")
        calls: tuple[Callable[[], object], ...] = (
            lambda: vault.get("job-2"),
            lambda: vault.set("not a name", secret),
            lambda: vault.set("job-3", secret) if vault.read_only else vault.get("job-3"),
        )
        for call in calls:
            with pytest.raises(Exception) as caught:
                call()
            shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
            assert "canary-of-the-suite" not in shown

    def test_any_number_of_threads_may_ask(self, vault: SecretStore, fill: Fill) -> None:
        fill("job-1", "one")
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.extend(vault.get("job-1").reveal() for _ in range(5)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["one"] * 20

    def test_close_is_idempotent(self, vault: SecretStore) -> None:
        vault.close()
        vault.close()

    def test_set_takes_the_place_of_what_was_there_or_is_refused(self, vault: SecretStore, fill: Fill) -> None:
        fill("job-1", "one")
        if vault.read_only:
            with pytest.raises(SecretsReadOnly, match="job-1"):
                vault.set("job-1", Secret("two"))
            assert vault.get("job-1").reveal() == "one"
            return
        vault.set("job-1", Secret("two"))
        assert vault.get("job-1").reveal() == "two"

    def test_a_deleted_secret_is_gone_and_deleting_it_again_is_no_error(self, vault: SecretStore, fill: Fill) -> None:
        fill("job-1", "one")
        fill("job-2", "two")
        if vault.read_only:
            with pytest.raises(SecretsReadOnly, match="job-1"):
                vault.delete("job-1")
            assert vault.get("job-1").reveal() == "one"
            return
        vault.delete("job-1")
        vault.delete("job-1")
        with pytest.raises(SecretNotFound):
            vault.get("job-1")
        assert vault.get("job-2").reveal() == "two"
