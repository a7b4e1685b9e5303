"""Tables of text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import IO

GAP = "  "
LEAST = 13
"""A cell that is cut keeps so many characters; below that its column is of no use."""


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    drop: Sequence[int] = (),
    cut: int | None = None,
    width: int | None = None,
) -> str:
    """Columns two spaces apart; `right`: the columns that hold numbers.

    width: no line is longer, None = as long as it gets. Where that needs it, the cells of column `cut` lose their
    beginning, and the columns of `drop` go, the first one first.
    """
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    columns = list(range(len(head)))
    if width is not None:
        columns = _that_fit(columns, widths, drop, cut, width)
        if cut in columns:
            others = sum(widths[i] + len(GAP) for i in columns if i != cut)
            widths[cut] = min(widths[cut], width - others)
    return "\n".join(
        GAP.join(
            _cell(line[i], widths[i]).rjust(widths[i]) if i in right else _cell(line[i], widths[i]).ljust(widths[i])
            for i in columns
        ).rstrip()
        for line in lines
    )


def can_draw(env: Mapping[str, str]) -> bool:
    """The terminal, as TERM has it, understands more than lines of text."""
    return env.get("TERM", "dumb") not in ("", "dumb", "unknown")


def terminal_width(stream: IO[str] | None = None) -> int | None:
    """Columns of the terminal that the stream (stdout) is, as it or `COLUMNS` says; None where it is none."""
    stream = stream or sys.stdout
    if stream is None or not stream.isatty():
        return None
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def _that_fit(columns: list[int], widths: Sequence[int], drop: Sequence[int], cut: int | None, width: int) -> list[int]:
    waiting = list(drop)
    while waiting:
        least = [min(widths[i], LEAST) if i == cut else widths[i] for i in columns]
        if sum(least) + len(GAP) * (len(columns) - 1) <= width:
            break
        columns = [i for i in columns if i != waiting[0]]
        del waiting[0]
    return columns


def _cell(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[len(text) - max(0, width - 3) :]
