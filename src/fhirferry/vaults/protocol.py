"""Where secrets live. One conformance suite (`testing/secret_suite.py`) proves every implementation.

Names are what every store can keep: letters, digits and hyphens, at most 127 of them; anything else is refused with
RequestError before any I/O. A name is no secret: it stands in records, logs and messages.
"""

from __future__ import annotations

import re
from typing import Protocol

from fhirferry.model.errors import RequestError, SecretsReadOnly
from fhirferry.vaults.secret import Secret

_is_name = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,126}").fullmatch


class SecretStore(Protocol):
    """Secrets by name. Safe for several threads.

    Every method raises what the store says: SecretStoreRefused (401, 403), SecretStoreError (408, 429, 503: worth another
    try, `vaults.retrying` has three; 500 with the store's reason for anything else).
    """

    read_only: bool
    """True: `set` and `delete` raise SecretsReadOnly, and clean-up leaves the store alone."""

    def get(self, name: str) -> Secret:
        """SecretNotFound when there is none."""
        ...

    def set(self, name: str, secret: Secret) -> None:
        """Keep it, in place of one of that name."""
        ...

    def delete(self, name: str) -> None:
        """A missing one is no error."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


def check_name(name: str) -> str:
    """The name. RequestError when a store might not keep it."""
    if not _is_name(name):
        # Not quoted: who mistakes one for the other types the secret here.
        raise RequestError(
            "that is not the name of a secret; write letters, digits and hyphens, at most 127, a hyphen not at the beginning"
        )
    return name


def refuse_writing(name: str, place: str) -> SecretsReadOnly:
    """For stores that others fill. place: in words."""
    check_name(name)
    return SecretsReadOnly(f"{place} is only read; change the secret {name!r} where it is set, or use another store")
