"""Secrets in the ledger: unreadable without their key, and for the ledger a table like any other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography.fernet import Fernet

from fhirferry.clock import system_clock
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.model.errors import PermanentError, RequestError, SecretStoreError, SecretUnreadable
from fhirferry.vaults.ledger import LedgerSecretStore, keys_from
from fhirferry.vaults.secret import Secret

OLD, NEW = (Secret(Fernet.generate_key().decode()) for _ in range(2))
CANARY = "kanarievogel-in-the-ledger"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SqliteJobStore(tmp_path / "ledger.db", clock=system_clock).close()
    return tmp_path / "ledger.db"


@pytest.fixture
def vault(path: Path) -> Iterator[LedgerSecretStore]:
    with closing(LedgerSecretStore(path, [OLD])) as store:
        yield store


def test_nothing_of_a_secret_lies_in_the_file(vault: LedgerSecretStore, path: Path) -> None:
    vault.set("job-1", Secret(CANARY))
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"job-1" in written
    assert CANARY.encode() not in written


def test_another_process_finds_it_and_a_ledger_in_use_is_no_hindrance(vault: LedgerSecretStore, path: Path) -> None:
    with closing(SqliteJobStore(path, clock=system_clock)) as jobs, closing(LedgerSecretStore(path, [OLD])) as other:
        vault.set("job-1", Secret("a"))
        assert jobs.list() == ()
        assert other.get("job-1").reveal() == "a"


def test_with_another_key_it_says_so_and_where_keys_are_given(vault: LedgerSecretStore, path: Path) -> None:
    vault.set("job-1", Secret(CANARY))
    with closing(LedgerSecretStore(path, [NEW])) as other:
        with pytest.raises(SecretUnreadable, match=r"'job-1' .* another key; .* FHIRFERRY_VAULT_KEY") as caught:
            other.get("job-1")
        assert isinstance(caught.value, PermanentError)
        with pytest.raises(SecretUnreadable):
            other.rotate()


def test_keys_are_changed_without_a_moment_in_which_a_secret_cannot_be_read(
    vault: LedgerSecretStore, path: Path
) -> None:
    vault.set("a", Secret("1"))
    vault.set("b", Secret("2"))
    with closing(LedgerSecretStore(path, [NEW, OLD])) as both:
        assert both.get("a").reveal() == "1"
        both.set("c", Secret("3"))
        assert both.rotate() == 3
    with closing(LedgerSecretStore(path, [NEW])) as new:
        assert [new.get(name).reveal() for name in "abc"] == ["1", "2", "3"]
    with pytest.raises(SecretUnreadable):
        vault.get("a")


def test_a_rotation_that_meets_a_secret_it_cannot_read_changes_none(vault: LedgerSecretStore, path: Path) -> None:
    with closing(LedgerSecretStore(path, [NEW])) as other:
        vault.set("a", Secret("1"))
        other.set("b", Secret("2"))
        with pytest.raises(SecretUnreadable):
            other.rotate()
        assert other.get("b").reveal() == "2"
    assert vault.get("a").reveal() == "1"


def test_a_rotation_that_cannot_be_written_to_its_end_changes_none(vault: LedgerSecretStore, path: Path) -> None:
    for name in "ab":
        vault.set(name, Secret(name))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("create trigger t before update on secret when new.name = 'b' begin select raise(abort, 'no'); end")
    with closing(LedgerSecretStore(path, [NEW, OLD])) as both, pytest.raises(SecretStoreError, match="no"):
        both.rotate()
    assert [vault.get(name).reveal() for name in "ab"] == ["a", "b"]


def test_a_secret_that_somebody_moves_to_another_name_is_refused(vault: LedgerSecretStore, path: Path) -> None:
    vault.set("a", Secret("1"))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("insert into secret select 'b', token from secret")
    with pytest.raises(SecretUnreadable, match="not the secret of that name"):
        vault.get("b")


def test_a_ledger_that_is_not_there_or_is_something_else_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no ledger at"):
        LedgerSecretStore(tmp_path / "none.db", [OLD])
    assert list(tmp_path.iterdir()) == []
    with closing(sqlite3.connect(tmp_path / "other.db")) as db, db:
        db.execute("create table t (a)")
    with pytest.raises(RequestError, match="no ledger of this version"):
        LedgerSecretStore(tmp_path / "other.db", [OLD])
    tmp_path.joinpath("text.db").write_text("text " * 100)
    with pytest.raises(SecretStoreError, match="not a database"):
        LedgerSecretStore(tmp_path / "text.db", [OLD])


def test_a_ledger_that_somebody_locks_is_passing_trouble_S78(path: Path) -> None:
    with closing(LedgerSecretStore(path, [OLD], timeout=0.01)) as vault, closing(sqlite3.connect(path)) as db:
        db.execute("begin immediate")
        with pytest.raises(SecretStoreError, match="locked") as caught:
            vault.set("a", Secret("1"))
        assert caught.value.status_code == 503
        db.execute("rollback")


def test_keys_come_from_the_variable_or_the_file_that_one_names(tmp_path: Path) -> None:
    def keys(**given: str) -> list[str]:
        return [key.reveal() for key in keys_from({f"FHIRFERRY_VAULT_KEY{name}": text for name, text in given.items()})]

    file = tmp_path / "keys"
    file.write_text("new\nold\n")
    assert keys(_FILE=str(file)) == ["new", "old"]
    assert keys(**{"": "new, old", "_FILE": str(file)}) == ["new", "old"]
    with pytest.raises(
        RequestError, match=r"set FHIRFERRY_VAULT_KEY, or FHIRFERRY_VAULT_KEY_FILE .* To make one: python"
    ):
        keys()
    with pytest.raises(RequestError, match="No such file"):
        keys(_FILE=str(tmp_path / "none"))


def test_what_is_no_key_is_refused_and_not_quoted(path: Path) -> None:
    with pytest.raises(RequestError, match="not a Fernet key") as caught:
        LedgerSecretStore(path, [Secret(CANARY)])
    assert CANARY not in caught.value.message
