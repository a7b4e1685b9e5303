"""Chance that repeats, and ids that follow from numbers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_SCATTER = 0x9E3779B97F4B  # odd, so that multiplying modulo a power of two gives each number once
_32, _48 = (1 << 32) - 1, (1 << 48) - 1


class Dice:
    """A stream of choices, given by its key alone.

    Of `random.Random` only the seeding with an integer, `random()` and `getrandbits()` are used: these stay as they
    are from Python to Python, `choice` and `randint` need not.
    """

    def __init__(self, *key: object) -> None:
        source = random.Random(int.from_bytes(_digest(*key), "big"))  # noqa: S311 - made-up data, no secret
        self._draw, self._bits = source.random, source.getrandbits

    def below(self, end: int) -> int:
        """0 … end - 1."""
        return int(self._draw() * end)

    def between(self, low: int, high: int) -> int:
        """low … high, both included."""
        return low + int(self._draw() * (high - low + 1))

    def bell(self, low: int, high: int) -> int:
        """low … high, the middle more often."""
        draw = self._draw
        return low + int((draw() + draw() + draw()) / 3 * (high - low + 1))

    def chance(self, percent: float) -> bool:
        """True in so many of a hundred."""
        return self._draw() * 100 < percent

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[int(self._draw() * len(choices))]

    def noise(self, size: int) -> bytes:
        """So many bytes that no compressor makes smaller."""
        return self._bits(size * 8).to_bytes(size, "little")


class Ids:
    """Ids of all that belongs to one owner, in the form of a UUID: no two alike, the first one the owner's own.

    No two owners of a seed and kind share one either, up to 2^32 of them. A patient is an owner; of what belongs to
    nobody, each resource owns itself.
    """

    def __init__(self, seed: int, kind: str, index: int) -> None:
        noise = _digest(seed, kind, index)
        number = int.from_bytes(_digest(seed, kind)[:4], "big") + index * _SCATTER & _32
        variant = b"a" if kind == "Patient" else b"b"  # what belongs to a patient is never what belongs to nobody
        text = noise.hex().encode()
        self._stem = b"%08x-%b-4%b-%b%b-" % (number, text[:4], text[4:7], variant, text[7:10])
        self._next = int.from_bytes(noise[5:11], "big")

    def __call__(self) -> bytes:
        self._next = self._next + _SCATTER & _48
        return b"%b%012x" % (self._stem, self._next)


def patient_id(seed: int, index: int) -> bytes:
    """The id of a patient, without making the patient."""
    return Ids(seed, "Patient", index)()


def shared_id(seed: int, kind: str, index: int) -> bytes:
    """The id of a resource that belongs to no patient."""
    return Ids(seed, kind, index)()


def _digest(*key: object) -> bytes:
    return hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
