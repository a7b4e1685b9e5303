"""Everything that can go wrong, sorted by what the reader does next.

    FerryError
    ├── RequestError                 the caller changes the request (HTTP 4xx, exit 2)
    │   ├── JobNotFound              404
    │   ├── IllegalStep              409: the job is not in a state that allows this
    │   ├── FolderInUse              409: the destination holds another export
    │   └── SecretsReadOnly          405: others fill this store of secrets
    ├── JobConflict                  re-read the record; a worker stops
    ├── TransientError               try again later; honours `retry_after`
    │   ├── StoreBusy                the database is locked by somebody else
    │   ├── SecretStoreError         500, or 408, 429, 503: the store of secrets failed, with its reason
    │   └── DestinationUnavailable   full disk, timeout, throttled, unreachable
    └── PermanentError               the job fails, with reason and HTTP status code
        ├── SourceConnectionError    no such store, not a store
        ├── StoreDamaged             the database file is not readable any more
        ├── StoreNotIndexed          409: the store does not know yet what belongs to which patient
        ├── SnapshotGone             versions that T needs were pruned
        ├── GroupNotFound            400: no such Group at the transaction time
        ├── PatientNotFound          400: a patient that was named is not there, or not in the group
        ├── SecretNotFound           400: there is no secret of this name
        ├── SecretStoreRefused       401, 403: the store of secrets does not let us
        ├── SecretUnreadable         the key that the secret was encrypted with is not given
        └── DestinationConnectionError  bad address, not writable, refused credentials

Messages say what was wrong and what would be right; they never carry the content of a resource.
"""

from __future__ import annotations


class FerryError(Exception):
    """Root of all errors that fhirferry raises on purpose. `status_code` is the HTTP code a client would be given."""

    status_code = 500

    def __init__(self, message: str, *, status_code: int | None = None, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if status_code is not None:
            self.status_code = status_code

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (a unit of work runs elsewhere): keep code, details and subclass state.
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(kind: type[FerryError], message: str, state: dict[str, object]) -> FerryError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class RequestError(FerryError):
    """The request itself is wrong; sending it again unchanged cannot help."""

    status_code = 400


class JobNotFound(RequestError):
    """No job with this id in the ledger (never there, or deleted)."""

    status_code = 404


class IllegalStep(RequestError):
    """The status table has no such step from the job's present status; nothing was changed."""

    status_code = 409


class FolderInUse(RequestError):
    """The destination holds files of another export, or unrelated files that an export would mix with."""

    status_code = 409


class SecretsReadOnly(RequestError):
    """Others fill this store of secrets (environment, mounted files); nothing is changed there."""

    status_code = 405


class JobConflict(FerryError):
    """The record changed since it was read (S59, S60, S82). The holder of the old version tag must stop writing."""

    status_code = 409


class TransientError(FerryError):
    """Passing trouble. `retry_after` is in seconds, None where the other side said nothing."""

    status_code = 503

    def __init__(
        self, message: str, *, retry_after: float | None = None, status_code: int | None = None, details: str = ""
    ) -> None:
        super().__init__(message, status_code=status_code, details=details)
        self.retry_after = retry_after


class StoreBusy(TransientError):
    """Another process kept the database locked for longer than the time-out."""


class SecretStoreError(TransientError):
    """The store of secrets failed: 408, 429 and 503 as they came, anything else as 500 with the store's reason (S78). The
    job comes back to it until its threshold of failures (S11)."""

    status_code = 500


class DestinationUnavailable(TransientError):
    """The destination cannot take bytes at the moment: disk full, time-out, throttled, unreachable (S16, S61)."""


class PermanentError(FerryError):
    """Trying again cannot help until a person changes something (S4, S16, S73)."""


class SourceConnectionError(PermanentError):
    """The source cannot be opened: no such file, or not a fhirferry store."""

    status_code = 400


class StoreDamaged(PermanentError):
    """SQLite reports the file as malformed, or a page contradicts its own index."""


class StoreNotIndexed(PermanentError):
    """The store has versions of which it does not know whose they are; `fhirferry store index` finds out."""

    status_code = 409


class GroupNotFound(PermanentError):
    """There is no such Group at the transaction time, or it is deleted: the job fails with 400 (S62)."""

    status_code = 400


class PatientNotFound(PermanentError):
    """Patients that were named are unknown at the transaction time, or not members of the group (B41)."""

    status_code = 400


class SnapshotGone(PermanentError):
    """The versions that the transaction time needs were pruned; the point in time cannot be shown any more."""

    status_code = 410


class SecretNotFound(PermanentError):
    """There is no secret of this name in the store (S76)."""

    status_code = 400


class SecretStoreRefused(PermanentError):
    """The store of secrets refuses whoever asks: 401 or 403 are passed on (S78)."""

    status_code = 403


class SecretUnreadable(PermanentError):
    """A secret was encrypted with a key that is not given, or was changed since."""


class DestinationConnectionError(PermanentError):
    """Connecting to the destination failed for good: bad address, not writable, refused credentials (S16, S33, S61)."""

    status_code = 400
