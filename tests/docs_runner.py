"""Follows a page of the docs word by word: runs its blocks in their order, in one shell, and compares what it shows.

    ```sh        commands; each must end with 0
    ```console   `$ command` and what it prints, stderr included; `...` on a line of its own stands for any lines,
                 `…` within a line for any text
    ```python    a program, run as a file

In a console block a command that is followed by `$ echo $?` may fail. A block that cannot be run here has a comment of
its own before it: `<!-- not run: why -->`. What differs from run to run (ids, instants, durations, sizes, rates, the
folder) is compared by its kind.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = "/home/me/ferry"
"""Where the pages pretend to be."""

RUN = ("sh", "console", "python")
END = "\x1e"  # what no command prints: stands between two commands' outputs

_BLOCK = re.compile(r"(?ms)^(?:<!-- not run: (?P<excuse>.*?) -->\n+)?```(?P<language>[\w-]*)\n(?P<text>.*?)^```$")
_KINDS = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)": "INSTANT",
    r"\d[\d,.]* (resources/s|[kMGT]?B/s)": "RATE",
    r"\d[\d,.]* ([kMGT]?B)\b": "SIZE",
    r"\b(\d+d)?(\d+h)?(\d+m)?\d+(\.\d+)?m?s\b|\b\d+[dhm]\b": "DURATION",
    r"\b[0-9a-f]{12,64}\b": "ID",
    r"\b\d+ %": "SHARE",
}


class Block(NamedTuple):
    """A fenced block. line: of its first line. excuse: why it is not run; None: it is."""

    line: int
    language: str
    text: str
    excuse: str | None


class Step(NamedTuple):
    """One command of a page. shown: the lines that the page shows below it, None when it shows nothing of it."""

    line: int
    command: str
    shown: list[str] | None
    may_fail: bool


class Done(NamedTuple):
    """What came of a step."""

    step: Step
    code: int
    lines: list[str]

    def complaint(self) -> str | None:
        """What differs from the page, for a person; None when nothing does."""
        where = f"line {self.step.line}: $ {self.step.command}"
        printed = "\n".join(self.lines)
        if self.code and not self.step.may_fail:
            return f"{where}\nended with {self.code}:\n{printed}"
        if self.step.shown is not None and not matches(self.step.shown, self.lines):
            return f"{where}\nthe page shows:\n" + "\n".join(self.step.shown) + f"\nbut this came:\n{printed}"
        return None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page that can be run, in order."""
    text = page.read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        if match["language"] in RUN:
            line = text.count("\n", 0, match.start("text")) + 1
            found.append(Block(line, match["language"], match["text"], match["excuse"]))
    return found


def steps(block: Block, folder: Path) -> Iterator[Step]:
    """The commands of a block. A Python block becomes a file in `folder`."""
    if block.language == "python":
        program = folder / f"line-{block.line}.py"
        program.write_text(block.text, "utf-8")
        yield Step(block.line, f"'{sys.executable}' '{program}'", None, False)
    elif block.language == "sh":
        yield Step(block.line, f"set -e\n{block.text}set +e", None, False)
    else:
        prompts = re.split(r"(?m)^\$ ", block.text)
        line = block.line + prompts[0].count("\n")
        for here, after in zip(prompts[1:], [*prompts[2:], ""], strict=True):
            said = re.match(r"(?:.*\\\n)*.*\n", here)  # a line that ends with a backslash goes on
            assert said is not None
            shown = here[said.end() :].splitlines()
            yield Step(line, said[0].strip(), shown, after.startswith("echo $?\n"))
            line += here.count("\n")


def follow(page: Path, folder: Path, timeout: float = 60) -> list[Done]:
    """Run a page in the empty folder `folder`. Steps after one that broke the shell are missing."""
    asked = [step for block in blocks(page) if block.excuse is None for step in steps(block, folder)]
    mark = f"\n{{ status=$?; printf '{END}%d{END}' $status; (exit $status); }}\n"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "dumb",
        "COLUMNS": "100",
    }
    ran = subprocess.run(
        ["sh", "-c", "exec 2>&1\n" + "".join(step.command + mark for step in asked)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=timeout,
    )
    # An output, its code, an output, its code ...; at last what came from a shell that ended before its time.
    pieces = ran.stdout.decode().replace(str(folder), FOLDER).split(END)
    found = [
        Done(step, int(code), output.splitlines())
        for step, output, code in zip(asked, pieces[::2], pieces[1::2], strict=False)
    ]
    if len(found) < len(asked):
        found.append(Done(asked[len(found)], ran.returncode or 1, pieces[-1].splitlines()))
    return found


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether the page shows what came, by kind."""
    pattern = "".join(
        r"(.*\n)*?" if line.strip() == "..." else re.escape(by_kind(line)).replace("…", ".*") + "\n" for line in shown
    )
    return re.fullmatch(pattern, "".join(by_kind(line) + "\n" for line in printed)) is not None


def by_kind(line: str) -> str:
    """The line with what differs from run to run named by its kind, and the width of columns taken out."""
    for pattern, kind in _KINDS.items():
        line = re.sub(pattern, kind, line)
    return " ".join(line.split())
