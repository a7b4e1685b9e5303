"""Destinations by name: the operator says once where `archive` is and which secret opens it, and a request says `archive`.

Whoever may name any address may send the data anywhere. So a request names a destination; an address it may only give
where the operator's own command line asks, or below the addresses that the operator allows.

    allow-addresses = ["file:///srv/exports"]

    [destinations.archive]
    url = "/srv/archive"
    secret = "archive-key"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.errors import RequestError

if TYPE_CHECKING:
    from fhirferry.settings import ConfigFile


class NamedDestination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """url: where. secret: name of the secret that opens it; None: the environment does, as for any address."""

    url: str
    secret: str | None = None


class Destinations(msgspec.Struct, frozen=True, kw_only=True):
    """named: what the operator configured. allowed: addresses at and below which a request may give its own."""

    named: Mapping[str, NamedDestination] = {}
    allowed: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a job's record: the URL, and for a named destination its name and the name of its secret."""

    uri: str
    name: str | None = None
    secret: str | None = None


def resolve_destination(settings: Destinations, asked: str, *, addresses_allowed: bool) -> Place:
    """What `asked` means: a name of `settings`, or an address. addresses_allowed: any address will do, since the operator
    asks; else those that `settings.allowed` covers.

    RequestError: an unknown name (400), an address that may not be given (403; it is not quoted).
    """
    found = settings.named.get(asked)
    if found is not None:
        return Place(uri=found.url, name=asked, secret=found.secret)
    if addresses_allowed or any(_covers(allowed, asked) for allowed in settings.allowed):
        return Place(uri=asked)
    if is_name(asked):
        raise RequestError(f"there is no destination named {asked!r}; ask whoever runs this server which there are")
    raise RequestError("the destination is to be given by its name, not by an address", status_code=403)


def read_destinations(config: ConfigFile | None, address: Callable[[str], str]) -> Destinations:
    """The `[destinations.NAME]` tables and `allow-addresses` of a configuration. address: makes a URL of what is written
    there. RequestError says what is wrong in which file."""
    if config is None:
        return Destinations()
    tables = config.content.get("destinations", {})
    allowed = config.content.get("allow-addresses", config.content.get("allow_addresses", []))
    if not isinstance(tables, dict):
        raise RequestError(f"{config.path}: destinations is not a table; write [destinations.NAME] with url = below it")
    if not isinstance(allowed, list) or not all(isinstance(each, str) for each in allowed):
        raise RequestError(f'{config.path}: allow-addresses is not a list of addresses, like ["file:///srv/exports"]')
    try:
        return Destinations(
            named={name: _named(config.path, name, table, address) for name, table in tables.items()},
            allowed=tuple(address(each) for each in allowed),
        )
    except RequestError as error:
        raise RequestError(
            error.message if error.message.startswith(config.path) else f"{config.path}: {error.message}"
        ) from None


def is_name(text: str) -> bool:
    """A destination may have it: letters, digits, `-` and `_`, and no address looks like it."""
    return 0 < len(text) <= 64 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _named(path: str, name: str, table: object, address: Callable[[str], str]) -> NamedDestination:
    where = f"{path}: [destinations.{name}]"
    if not is_name(name):
        raise RequestError(f"{path}: a destination's name has letters, digits, - and _, not like {name[:64]!r}")
    try:
        found = msgspec.convert(table, NamedDestination)
    except msgspec.ValidationError:
        # Its message may hold what was pasted: not every key that is unknown is a typing mistake.
        raise RequestError(f'{where} has url = "…", and secret = "NAME" where one opens it; nothing else') from None
    if found.secret is not None:
        from fhirferry.vaults.protocol import check_name

        try:
            check_name(found.secret)
        except RequestError as error:
            raise RequestError(f"{where}: secret: {error.message}") from None
    try:
        return msgspec.structs.replace(found, url=address(found.url))
    except RequestError as error:
        raise RequestError(f"{where}: {error.message}") from None


def _covers(allowed: str, asked: str) -> bool:
    """`asked` is that address or one below it, whatever anybody makes of its spelling: what could mean another place than
    it says (`..`, `%2e`, a query, a user) is none."""
    start = allowed.rstrip("/") + "/"
    if asked != allowed and not asked.startswith(start):
        return False
    below = asked[len(start) :]
    segments = below.rstrip("/").split("/") if below else []
    plain = all(c.isascii() and (c.isalnum() or c in "-._~/") for c in below)
    return plain and not any(segment in ("", ".", "..") for segment in segments)
