"""How `demo` looks: comments, commands and what they said, at any width."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fhirferry.cli.tables import can_draw

if TYPE_CHECKING:
    from fhirferry.cli.demo_folder import DemoFolder

WIDEST, NO_TERMINAL, NARROWEST = 88, 80, 20
SHOWN = 3
"""Rows of a long table, beside the last one."""
HEAD = re.compile(r"[A-Z]+( {2,}[A-Z]+)+")


def colours(env: Mapping[str, str]) -> bool:
    """https://no-color.org; and a terminal that knows none."""
    return not env.get("NO_COLOR") and can_draw(env)


def bold(text: str) -> str:
    """Each line by itself: whoever cuts the text in lines cuts no colour in two."""
    return "\n".join(f"\x1b[1m{line}\x1b[0m" for line in text.split("\n"))


def comment(text: str, width: int | None) -> str:
    """As a shell has them. width: of the terminal, None = there is none."""
    return _fill(text, width, "# ", "# ")


def wrapped(text: str, width: int | None) -> str:
    """Lines no longer than the terminal; those that begin with a space are commands and stay as they are."""
    return "\n".join(line if line.startswith(" ") else _fill(line, width, "", "") for line in text.split("\n"))


def typed(words: Sequence[str], prompt: str, width: int | None) -> str:
    """A command behind its prompt. What is too long goes on in the next line, as a shell reads it."""
    pieces: list[str] = []
    for word in words:
        quoted = shlex.quote(word)
        if pieces and pieces[-1].startswith("--") and " " not in pieces[-1] and not word.startswith("-"):
            pieces[-1] += f" {quoted}"  # an option and its value stay together
        else:
            pieces.append(quoted)
    lines, room = [prompt + pieces[0]], _columns(width) - len(" \\")
    for piece in pieces[1:]:
        if len(lines[-1]) + 1 + len(piece) <= room:
            lines[-1] += f" {piece}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {piece}")
    return "\n".join(lines)


def excerpt(output: str, width: int | None) -> Iterator[str]:
    """Lines of a command's output: long tables shortened, wide ones cut between two columns, sentences wrapped."""
    lines = output.splitlines()
    while lines:
        size = _table(lines)
        if size:
            yield from _shortened(_narrowed(lines[:size], width))
            del lines[:size]
        else:
            line = lines.pop(0)
            # A line without spaces is data, and the terminal breaks it in a way that can be copied.
            yield _fill(line, width, "", "  ") if width is not None and " " in line.strip() else line


def stopped(folder: DemoFolder) -> str:
    """When somebody stopped it."""
    return f"Stopped. What there is so far stays in {folder.short}. To begin anew:\n  {_again(folder)}"


def failed(reason: str, folder: DemoFolder) -> str:
    """When something did not come out as it must."""
    return (
        f"Error: the demo failed: {reason}\nWhat there is so far stays in {folder.short}. To begin anew:\n"
        f"  {_again(folder)}"
    )


def _again(folder: DemoFolder) -> str:
    return shlex.join(folder.command("--again"))


def _columns(width: int | None) -> int:
    return NO_TERMINAL if width is None else max(NARROWEST, min(width, WIDEST))


def _fill(text: str, width: int | None, first: str, others: str) -> str:
    return textwrap.fill(
        text,
        _columns(width),
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )


def _table(lines: Sequence[str]) -> int:
    """How many lines at the beginning are a table."""
    if not HEAD.fullmatch(lines[0]):
        return 0
    rows = 1
    while rows < len(lines) and "  " in lines[rows].strip():
        rows += 1
    return rows


def _narrowed(table: Sequence[str], width: int | None) -> list[str]:
    longest = max(map(len, table))
    if width is None or longest <= width:
        return list(table)
    padded = [line.ljust(longest) for line in table]
    room = width - len("  ...")
    gaps = [i for i in range(1, longest) if all(line[i : i + 2] == "  " for line in padded)]
    end = max((i for i in gaps if i <= room), default=room)
    return [padded[0][:end] + "  ...", *(line[:end].rstrip() for line in padded[1:])]


def _shortened(table: Sequence[str]) -> list[str]:
    left_out = len(table) - 2 - SHOWN
    if left_out < 2:
        return list(table)
    return [*table[: 1 + SHOWN], f"... {left_out} more", table[-1]]
