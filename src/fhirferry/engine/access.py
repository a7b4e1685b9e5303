"""With what right a job's destination is opened: by the name of a secret, which is read where it is needed.

What travels, in records and to other processes, is the name. The text is read once in a process and acquisition (S14): a
task reads it before its units, which find it here; a child process reads it from the store of secrets by itself, and ends
with its job. Kick-off and clean-up read it for themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fhirferry.engine.connections import Connections, OpenVault
from fhirferry.model.errors import PermanentError, RequestError, SecretNotFound, SecretStoreError

if TYPE_CHECKING:  # most jobs name no secret
    from fhirferry.destinations.protocol import Destination
    from fhirferry.model.job import ExportJobRecord
    from fhirferry.vaults.secret import DestinationSecret

CHANGED = "Storage account connection string was updated during an export job."
"""The founding design's own words (S37)."""


class Access(msgspec.Struct, frozen=True):
    """secret_name: in the store of secrets. connection_hash: what the connection string hashes to; None: whatever it is now,
    since the record says where the files go. epoch: the job's acquisition."""

    job_id: str
    epoch: int
    secret_name: str
    connection_hash: str | None

    @classmethod
    def of(cls, record: ExportJobRecord) -> Access | None:
        """None: the job names no secret."""
        if record.secret_name is None:
            return None
        today = None if record.destination_uri else record.connection_hash
        return cls(record.id, record.epoch, record.secret_name, today)


_kept: dict[tuple[OpenVault | None, Access], DestinationSecret] = {}


def open_place(connections: Connections, uri: str, access: Access | None, *, keep: bool = False) -> Destination:
    """The destination at `uri` (empty: where the secret says). keep: read the secret at most once, until `forget`.

    SecretNotFound, SecretStoreError, SecretStoreRefused; PermanentError: its text is of another form, or the connection
    string is not the one of the kick-off (S37, S38). And what opening a destination raises.
    """
    if access is None:
        return connections.open_destination(uri)
    if connections.open_by_secret is None:
        raise SecretStoreError(f"the job names the secret {access.secret_name!r}, and nothing here opens by secret")
    key = connections.open_vault, access
    secret = _kept.get(key) or read(connections, access)
    if keep:
        _kept[key] = secret
    return connections.open_by_secret(uri, secret, access.job_id)


def read(connections: Connections, access: Access) -> DestinationSecret:
    """What the secret says now. Raises as `open_place` does."""
    from fhirferry.vaults.secret import connection_hash, destination_secret

    if connections.open_vault is None:
        raise SecretStoreError(
            f"the job names the secret {access.secret_name!r}, and there is no store of secrets here"
        )
    try:
        with connections.open_vault() as vault:
            secret = destination_secret(access.secret_name, vault.get(access.secret_name))
    except SecretNotFound as error:
        raise SecretNotFound(
            f"{error.message}. One of a job is deleted when the job has ended; set it anew to go on"
        ) from None
    if access.connection_hash is not None and connection_hash(secret.connection) != access.connection_hash:
        raise PermanentError(CHANGED, status_code=400)
    return secret


def connection_hash_of(record: ExportJobRecord, connections: Connections) -> str:
    """What a kick-off without a URL records: the hash of the connection string as it is now (S37). RequestError: the secret
    is missing, refused or of another form; SecretStoreError."""
    from fhirferry.vaults.secret import connection_hash

    if record.secret_name is None:
        return ""
    try:
        return connection_hash(read(connections, Access(record.id, 0, record.secret_name, None)).connection)
    except PermanentError as error:
        raise RequestError(error.message, status_code=error.status_code) from None


def forget(access: Access | None) -> None:
    """The task has ended."""
    for key in [key for key in _kept if key[1] == access]:
        _kept.pop(key, None)
