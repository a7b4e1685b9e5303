"""Strings as a search compares them: without case, accents, punctuation and repeated spaces.

https://hl7.org/fhir/R4/search.html#string
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")

_PUNCTUATION = {code: None for code in range(128) if unicodedata.category(chr(code))[0] == "P"}


def fold(text: str) -> str:
    """`García-Müller ` -> `garciamuller`."""
    if not text.isascii():
        # Case first and last: folding may need a decomposed letter, and decomposing may give a capital one.
        spread = unicodedata.normalize("NFKD", text.casefold()).casefold()
        text = "".join(c for c in spread if unicodedata.category(c)[0] not in "MP")
        return " ".join(text.split())
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def strings(node: object) -> Iterator[str]:
    """The text of a string, and every text of a list of them."""
    if type(node) is str:
        yield node
    elif type(node) is list:
        yield from (entry for entry in node if type(entry) is str)


def part_strings(node: object, parts: tuple[str, ...]) -> Iterator[str]:
    """The texts in these members of a HumanName or an Address."""
    if type(node) is dict:
        for part in parts:
            yield from strings(node.get(part))
