"""Words that depend on a number, and sentences that depend on a width."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 file`, `1,234 files`. noun: in the singular, of those that take an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def folded(text: str, width: int | None) -> str:
    """The sentences in `text`, broken between words where they are wider than the terminal, which would break within
    them. Commands (indented) and tables (two spaces between columns) stay as they are: people copy them."""
    if width is None or all(len(line) <= width for line in text.split("\n")):
        return text
    from textwrap import fill  # only narrow terminals need it

    return "\n".join(
        line
        if len(line) <= width or "  " in line
        else fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
