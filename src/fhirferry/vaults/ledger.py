"""Secrets in a table of the ledger, each encrypted with a key that is kept elsewhere.

The ledger's own code knows nothing of them: this opens the same SQLite file through a connection of its own, and finds
there the table that came with the ledger's schema 3. A token is Fernet's (AES-128-CBC and HMAC-SHA256) and holds the
secret's name too, so that one that was moved to another name in the file is refused.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fhirferry.model.errors import (
    RequestError,
    SecretNotFound,
    SecretStoreError,
    SecretUnreadable,
)
from fhirferry.vaults import sql
from fhirferry.vaults.protocol import check_name
from fhirferry.vaults.secret import Secret

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY = "FHIRFERRY_VAULT_KEY"
"""The variable with the keys; with `_FILE` behind it, the one that names a file with them."""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class LedgerSecretStore:
    """Secrets in the ledger `path`, which must be there. keys: Fernet keys; the first encrypts, all of them decrypt.

    RequestError: no key, not a key, not a ledger of today. SecretUnreadable: encrypted with none of the keys, or changed.
    """

    read_only = False

    def __init__(self, path: str | os.PathLike[str], keys: Sequence[Secret], *, timeout: float = 30.0) -> None:
        self._path = os.fspath(path)
        self._fernet = _fernet(keys)
        self._sql = sql.queries("secrets")
        self._lock = threading.Lock()
        self._db = _open(self._path, timeout)

    def get(self, name: str) -> Secret:
        with self._using() as db:
            row = db.execute(self._sql["get"], {"name": check_name(name)}).fetchone()
        if row is None:
            raise SecretNotFound(f"there is no secret {name!r} in the ledger {self._path}")
        return self._decrypted(name, row[0])

    def set(self, name: str, secret: Secret) -> None:
        token = self._encrypted(check_name(name), secret)
        with self._using() as db:
            db.execute(self._sql["set"], {"name": name, "token": token})

    def delete(self, name: str) -> None:
        with self._using() as db:
            db.execute(self._sql["delete"], {"name": check_name(name)})

    def rotate(self) -> int:
        """Encrypt every secret anew with the first key; how many. Afterwards the other keys can go. All or none."""
        with self._using() as db:
            db.execute("begin immediate")
            try:
                kept = [(name, self._decrypted(name, token)) for name, token in db.execute(self._sql["all"])]
                for name, secret in kept:
                    db.execute(self._sql["set"], {"name": name, "token": self._encrypted(name, secret)})
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise
        return len(kept)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _encrypted(self, name: str, secret: Secret) -> str:
        return self._fernet.encrypt(f"{name}\0{secret.reveal()}".encode("utf-8", "surrogatepass")).decode()

    def _decrypted(self, name: str, token: str) -> Secret:
        from cryptography.fernet import InvalidToken

        try:
            named = Secret(self._fernet.decrypt(token.encode()).decode("utf-8", "surrogatepass"))
        except InvalidToken:
            raise SecretUnreadable(
                f"the secret {name!r} in the ledger {self._path} was encrypted with another key; give that key too, behind "
                f"the present one, in {KEY} or the file that {KEY}_FILE names"
            ) from None
        if named.reveal().partition("\0")[0] != name:
            raise SecretUnreadable(f"what stands as {name!r} in the ledger {self._path} is not the secret of that name")
        return Secret(named.reveal().partition("\0")[2])

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self._path):
            yield self._db


def keys_from(environment: Mapping[str, str] = os.environ) -> list[Secret]:
    """The keys in the variable, or in the file that the other one names; between them white space or commas.
    RequestError when neither is set, or the file cannot be read."""
    given = Secret(environment.get(KEY, ""))
    file = environment.get(f"{KEY}_FILE")
    if not given.reveal() and file:
        try:
            with open(file, encoding="utf-8") as lines:  # noqa: PTH123
                given = Secret(lines.read())
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not text"
            raise RequestError(
                f"cannot read the keys of the ledger's secrets: {KEY}_FILE names {file}: {why}"
            ) from None
    found = [Secret(key) for key in given.reveal().replace(",", " ").split()]
    if not found:
        raise RequestError(
            f"the ledger's secrets need a key: set {KEY}, or {KEY}_FILE to a file with it. To make one: "
            "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
        )
    return found


def _fernet(keys: Sequence[Secret]) -> MultiFernet:
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError:
        raise RequestError(
            "secrets in the ledger need the package cryptography; to install it: pip install 'fhirferry[secrets]'"
        ) from None
    if not keys:
        raise RequestError("the ledger's secrets need a key")
    try:
        return MultiFernet([Fernet(key.reveal()) for key in keys])
    except ValueError:
        raise RequestError(
            f"what is given in {KEY} is not a Fernet key: 32 bytes, written in base64 for URLs (44 characters)"
        ) from None


def _open(path: str, timeout: float) -> sqlite3.Connection:
    if not os.path.isfile(path):  # noqa: PTH113 - SQLite would make it
        raise RequestError(f"there is no ledger at {path} to keep secrets in; its first job makes it")
    with _translated(path):
        db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            db.execute("pragma synchronous = full")
            db.execute("pragma secure_delete = on")
            (there,) = db.execute("select count(*) from sqlite_master where name = 'secret'").fetchone()
            if not there:
                raise RequestError(
                    f"{path} is no ledger of this version; `fhirferry jobs list --ledger {path}` brings an older one up to date"
                )
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """SQLite's errors as ours. The caller's own mistakes (a closed store) stay what they are."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY
        what = "is locked by another process" if busy else f"cannot be used for secrets: {error}"
        raise SecretStoreError(f"the ledger {path} {what}", status_code=503 if busy else 500) from None
