"""A text that nobody is to see, and what a job's secret says."""

from __future__ import annotations

from typing import NoReturn, final

import msgspec

from fhirferry.model.errors import PermanentError

MASK = "**********"
"""What is seen of every secret: not even its length."""


@final
class Secret:
    """A text that shows itself only to who asks for it by `reveal()`.

    Everything else that makes text of a value (repr, str, format, `%s`, a traceback with its locals, an encoder's way
    out) gets the mask; what would write the value down (pickle, JSON, MessagePack, `vars`) is refused. Hand the result of
    `reveal()` on at once: a variable that holds it is what a traceback with locals prints.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError("a secret is made of text")  # never says of what instead
        self.__text = text

    def reveal(self) -> str:
        """The text itself."""
        return self.__text

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # takes as long wherever they begin to differ

        return compare_digest(
            self.__text.encode("utf-8", "surrogatepass"), other.__text.encode("utf-8", "surrogatepass")
        )

    __hash__ = None  # type: ignore[assignment]  # a hash would tell equal ones

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not written down; hand on its name, and read it from the store of secrets there")

    def __getstate__(self) -> NoReturn:
        self.__reduce_ex__(2)


class DestinationSecret(msgspec.Struct, frozen=True):
    """What a job's secret says (S9, S14). kind: of the destination. connection: how it is reached, and with what right."""

    kind: str
    connection: Secret


class _Document(msgspec.Struct, rename="camel"):
    destination_type: str
    destination_connection_string: Secret


def destination_secret(name: str, secret: Secret) -> DestinationSecret:
    """Of the JSON text `{"destinationType": …, "destinationConnectionString": …}`. PermanentError (400) says what is wrong
    with the secret of this name, and quotes nothing of it."""
    try:
        document = msgspec.json.decode(secret.reveal(), type=_Document, dec_hook=_as_secret)
    except (msgspec.DecodeError, UnicodeError):
        # Their messages may name a key, which may be what was pasted.
        raise PermanentError(
            f'the secret {name!r} is not JSON of the form {{"destinationType": "…", "destinationConnectionString": "…"}}; '
            "write it like that",
            status_code=400,
        ) from None
    return DestinationSecret(document.destination_type, document.destination_connection_string)


def connection_hash(connection: Secret) -> str:
    """What a record holds of a connection string: SHA-256 as hexadecimal digits; empty of an empty one (S37)."""
    if not connection.reveal():
        return ""
    from hashlib import sha256

    return sha256(connection.reveal().encode("utf-8", "surrogatepass")).hexdigest()


def _as_secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise msgspec.ValidationError("not a text")
