"""`fhirferry demo`: in a minute, what fhirferry is for."""

from __future__ import annotations

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.generate import command as generate
from fhirferry.cli.options import Invocation, define, option
from fhirferry.cli.values import COUNT, FOLDER

EXAMPLE = """
fhirferry demo
fhirferry demo --patients 2000 --to elsewhere
"""


# No --json: this is told to people. A program has the exit code, and --json in each command that is run here.
@define("demo", example=EXAMPLE)
@option("--to", type=FOLDER, metavar="FOLDER", default="fhirferry-demo", help="Folder for all of it: empty or new.")
@option("--patients", type=COUNT, metavar="N", default="500", help="So many made-up patients; about 80 resources each.")
@option(
    "--seed",
    type=generate.settings()["seed"].type,
    metavar="S",
    default="1",
    help="Another number, other data; the same number, the same bytes.",
)
@option("--again", is_flag=True, help="Remove what a former demo made in the folder, and begin anew.")
@click.pass_context
def command(ctx: click.Context, /, invocation: Invocation, to: str, patients: int, seed: int, again: bool) -> Exit:
    """Show what fhirferry does: make up data, import it, export it, kill the export in the middle, type the same command
    again, verify that nothing is missing, and export only what changed.

    All of it are commands of fhirferry, shown as they can be typed, in a folder of its own. Ends with 0 only when
    everything was proved.
    """
    from fhirferry.cli import texts_demo as texts
    from fhirferry.cli.demo_folder import DemoFolder
    from fhirferry.cli.demo_shell import DemoStopped, Shell
    from fhirferry.cli.demo_story import DemoFailed, Story
    from fhirferry.settings import place_of

    typed = ctx.get_parameter_source("to") is not click.core.ParameterSource.DEFAULT
    folder = DemoFolder(place_of(to), typed=typed)
    folder.make(again=again)
    with Shell(invocation, folder.path) as shell:
        try:
            Story(shell, folder, patients, seed, invocation.clock).tell()
        except DemoStopped:
            shell.end(texts.stopped(folder))
            return Exit.STOPPED
        except DemoFailed as error:
            shell.end(texts.failed(str(error), folder))
            return Exit.FAILED
    return Exit.COMPLETE
