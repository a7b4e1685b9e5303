"""Runs commands as a person would, and shows them: the command, what it says, and comments between.

Theory of operation. Each command is a process of its own with our stderr, so that it draws its progress itself, and with
a pipe as stdout, which is shown when it has ended. It leads a process group: Ctrl-C reaches us only and is handed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

import msgspec

from fhirferry.cli import texts_demo as texts
from fhirferry.cli.exits import Exit
from fhirferry.cli.options import PREFIX, Invocation
from fhirferry.cli.tables import terminal_width

LOOK = 0.05
"""Seconds between two looks at a running command."""
GRACE = 10.0
"""Seconds that a command has to stop."""
COMMENT, COMMAND, OUTPUT = "comment", "command", "output"


class DemoStopped(Exception):
    """Somebody asked for it."""


class Ran(msgspec.Struct):
    """How a command ended. code: as `subprocess` has it."""

    words: Sequence[str]
    code: int


class Shell(AbstractContextManager["Shell"]):
    """cwd: where the commands run. Close it: no command runs any more."""

    def __init__(self, invocation: Invocation, cwd: Path) -> None:
        self._console, self._cwd = invocation.console, cwd
        self._width = terminal_width()
        self._bold = self._width is not None and texts.colours(os.environ)
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False
        self._last = ""
        self.own_settings = sorted(name for name in os.environ if name.startswith(PREFIX))
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        if self._console.quiet:
            self._env[PREFIX + "QUIET"] = "true"
        if invocation.debug:
            self._env[PREFIX + "DEBUG"] = "true"
        self._former = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}

    def title(self, text: str) -> None:
        """The name of what follows."""
        self._print(COMMENT, self._strong(texts.comment(f"--- {text}", self._width)), apart=True)

    def tell(self, *paragraphs: str) -> None:
        """Comments."""
        self._print(COMMENT, "\n".join(texts.comment(text, self._width) for text in paragraphs))

    def offer(self, *words: str) -> None:
        """A command to type later."""
        self._print(COMMENT, texts.typed(words, "  ", self._width))

    def offer_line(self, line: str) -> None:
        """The same for what is quoted already."""
        self._print(COMMENT, f"  {line}")

    def show(self, *words: str) -> None:
        """A command that runs."""
        self._print(COMMAND, self._strong(texts.typed(words, "$ ", self._width)))

    def said(self, output: str) -> None:
        """What a command said."""
        self._print(OUTPUT, "\n".join(texts.excerpt(output, self._width)))

    def run(self, *words: str) -> Ran:
        """Show a command, run it to its end, show what it says. DemoStopped."""
        return self.start(*words).wait()

    def start(self, *words: str) -> Running:
        """Show a command and let it run."""
        self._go_on()
        self.show(*words)
        program = [sys.executable, "-m", "fhirferry.cli.main"] if words[0] == "fhirferry" else [words[0]]
        self._child = subprocess.Popen(  # noqa: S603 - this program itself, and cat
            [*program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=self._cwd,
            env=self._env,
            process_group=0,
        )
        return Running(self, words, self._child)

    def below_bars(self) -> None:
        """A killed command leaves its progress on the terminal, and the cursor in it."""
        if self._console.on_terminal and not self._console.quiet:
            os.write(2, b"\x1b[0m\n")

    @property
    def told_to_stop(self) -> bool:
        """By a signal."""
        return self._stopped

    @property
    def over(self) -> bool:
        """Told to stop, or nobody reads any more (`| head`)."""
        return self._stopped or self._console.closed

    def end(self, text: str) -> None:
        """Last words when it did not come to its end."""
        self._console.error(texts.wrapped(text, self._width))

    def __exit__(self, *_: object) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        if self._child is not None and self._child.stdout is not None:
            self._child.stdout.close()
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _go_on(self) -> None:
        if self.over:
            raise DemoStopped

    def _print(self, kind: str, text: str, *, apart: bool = False) -> None:
        """An empty line stands where telling and running change places, and where `apart` says so."""
        gap = self._last != "" and kind != OUTPUT and (apart or kind != self._last)
        self._last = kind
        if text:
            self._console.text("\n" * gap + text)

    def _strong(self, text: str) -> str:
        return texts.bold(text) if self._bold else text

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signal module's signature
        child = self._child if self._child is not None and self._child.poll() is None else None
        if self._stopped:
            if child is not None:
                child.kill()
            self.below_bars()
            os._exit(Exit.FORCED)
        self._stopped = True
        if child is not None:
            child.send_signal(signal.SIGINT)  # it says itself what it does now


class Running:
    """A command at work."""

    def __init__(self, shell: Shell, words: Sequence[str], child: subprocess.Popen[str]) -> None:
        self._shell, self._words, self._child = shell, words, child
        self.pid = child.pid

    def wait(self) -> Ran:
        """Its end. DemoStopped when that was asked for."""
        return self._ended(self._until(lambda: False) or "")

    def kill_when(self, ripe: Callable[[], bool]) -> Ran | None:
        """kill -9 at the first moment that is `ripe`, and None; or its end, if that came before. DemoStopped."""
        output = self._until(ripe)
        if output is not None:
            return self._ended(output)
        self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._shell.below_bars()
        return None

    def _ended(self, output: str) -> Ran:
        self._shell.said(output)
        if self._shell.over:
            raise DemoStopped
        return Ran(self._words, self._child.returncode)

    def _until(self, ripe: Callable[[], bool]) -> str | None:
        """What it said on stdout until its end; None when it became ripe before."""
        patience = GRACE
        while True:
            try:
                return self._child.communicate(timeout=LOOK)[0]
            except subprocess.TimeoutExpired:
                if self._shell.over:
                    patience -= LOOK
                    if patience < 0 or not self._shell.told_to_stop:
                        self._child.kill()
                        self._child.wait()
                        self._shell.below_bars()
                elif ripe():
                    return None
