"""How the engine reaches sources and destinations without knowing which kinds there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fhirferry.destinations.protocol import Destination
from fhirferry.sources.protocol import Source


class Connections(NamedTuple):
    """Opens what a record names. Module-level functions, so that a unit of work can carry them to another process.

    open_source(uri, check): `check` also parses every resource that is read. open_destination(uri).
    """

    open_source: Callable[[str, bool], Source]
    open_destination: Callable[[str], Destination]
