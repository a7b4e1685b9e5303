"""Everything that is wrong with a request's parameters, told at once (B50)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import msgspec

from fhirferry.model.errors import RequestError


@final
class Problem(msgspec.Struct, frozen=True):
    """One thing to change. parameter: its name in the request. value: as it was sent. reason: what would be right."""

    parameter: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.parameter}: {self.value!r}: {self.reason}"


@final
class RequestProblems(RequestError):
    """One or more problems; the message has a line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
