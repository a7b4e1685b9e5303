"""The program `fhirferry`: finds the command, and turns whatever comes out of it into an exit code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from fhirferry.__about__ import __version__
from fhirferry.cli.exits import Exit, exit_for, sentence_for
from fhirferry.cli.options import Invocation, LazyGroup, shared_options

PLACES = {
    "demo": "demo:command",
    "generate": "generate:command",
    "import": "import_:command",
    "export": "export:command",
    "worker": "worker:command",
    "jobs": "jobs:group",
    "verify": "verify:command",
    "store": "store:group",
}


class Program(LazyGroup):
    """The top of the command line."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run and exit; nothing but SystemExit leaves here."""
        invocation = Invocation()
        arguments = list(sys.argv[1:] if args is None else args)
        extra.pop("standalone_mode", None)
        try:
            code = super().main(arguments, prog_name or "fhirferry", standalone_mode=False, obj=invocation, **extra)
        except click.ClickException as error:
            invocation.console.end_progress()
            error.show()
            code = Exit.USAGE
        except click.Abort:
            invocation.console.error("Stopped.")
            code = Exit.FORCED
        except Exception as error:
            code = self._failed(error, invocation)
        invocation.console.end_progress()
        invocation.console.flush()
        if invocation.console.lost and not code:
            code = Exit.FAILED
        sys.exit(int(code or 0))

    def _failed(self, error: Exception, invocation: Invocation) -> Exit:
        code = exit_for(error, invocation.command)
        sentence = sentence_for(error)
        if invocation.debug:
            from traceback import format_exc

            invocation.console.error(format_exc().rstrip())
        invocation.console.error(f"Error: {sentence}")
        if invocation.console.json:
            from fhirferry.cli.lines import ErrorLine

            invocation.console.line(ErrorLine(error=type(error).__name__, message=sentence, exit_code=code))
        return code


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's signature
    if value:
        click.echo(f"fhirferry {__version__}")
        ctx.exit()


program = Program(
    name="fhirferry",
    places=PLACES,
    help="Durable bulk export of FHIR data: import it, export it, prove that nothing is missing.",
    params=[
        *shared_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main() -> NoReturn:
    """Entry point of the `fhirferry` script.

    What lives long here are modules, what is large is bytes: next to nothing is garbage that only the collector finds.
    Its habit of looking after every 700 objects, and once more at the end, is a sixth of a short command's time.
    """
    gc.set_threshold(50_000, 20, 20)
    try:
        program.main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
