"""How the engine reaches sources and destinations without knowing which kinds there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from fhirferry.destinations.protocol import Destination
from fhirferry.sources.protocol import Source

if TYPE_CHECKING:  # most jobs name no secret
    from contextlib import AbstractContextManager

    from fhirferry.vaults.protocol import SecretStore
    from fhirferry.vaults.secret import DestinationSecret

OpenVault = Callable[[], "AbstractContextManager[SecretStore]"]


class Connections(NamedTuple):
    """Opens what a record names. Module-level functions, so that a unit of work can carry them to another process.

    open_source(uri, check): `check` also parses every resource that is read. open_destination(uri).
    open_vault(): the store of secrets, for the length of a `with` block; hashable; None where there is none.
    open_by_secret(uri, secret, job_id): a destination that a secret opens; uri is empty where that alone says which.
    """

    open_source: Callable[[str, bool], Source]
    open_destination: Callable[[str], Destination]
    open_vault: OpenVault | None = None
    open_by_secret: Callable[[str, DestinationSecret, str], Destination] | None = None
