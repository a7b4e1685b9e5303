"""How options are declared, so that each is also a variable and a key in the TOML file without more being written.

Theory of operation. Every option of ours is a `Setting`; its variable is made from its long name. Every command is a
`Command`; it adds the options that all commands share, and before any other option is read it loads the TOML file into
click's `default_map`. click then looks at the command line, the variable, the map and the default, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import click

from fhirferry.cli.console import Console
from fhirferry.cli.platforms import look_around
from fhirferry.clock import system_clock
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Clock

if TYPE_CHECKING:  # imports msgspec, which `--version` and `--help` don't need
    from fhirferry.exporting.named import Destinations
    from fhirferry.settings import ConfigFile, Settings

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # no generic before click 8.2

PREFIX = "FHIRFERRY_"


class Setting(click.Option):
    """An option that can also be given as variable and in the TOML file. section: where help shows it."""

    def __init__(self, *args: Any, section: str = "Options", **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.section = section
        self.envvar = PREFIX + self.long_name.upper().replace("-", "_")

    @property
    def long_name(self) -> str:
        """`max-file-size`"""
        return next(opt for opt in self.opts if opt.startswith("--"))[2:]

    def get_error_hint(self, ctx: click.Context | None) -> str:
        source = ctx.get_parameter_source(self.name) if ctx is not None and self.name else None
        if source is click.core.ParameterSource.ENVIRONMENT:
            return f"the variable {self.envvar}"
        if source is click.core.ParameterSource.DEFAULT_MAP and ctx is not None:
            config = ctx.ensure_object(Invocation).config
            return f"{self.long_name} in {config.path}" if config else self.long_name
        return " / ".join(f"'{opt}'" for opt in self.opts)


class Parsed(_ParamType):
    """A value read by a function that raises RequestError: sizes, durations, instants, addresses."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except RequestError as error:
            self.fail(error.message, param, ctx)


class Command(click.Command):
    """One command. `example`: lines of shell that work as they stand."""

    def __init__(self, *args: Any, example: str, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.example = example
        self.params += shared_options()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Example"):
            for line in self.example.strip().splitlines():
                formatter.write(f"{' ' * formatter.current_indent}{line.strip()}\n")

    def invoke(self, ctx: click.Context) -> Any:
        invocation = ctx.ensure_object(Invocation)
        invocation.command = names(ctx)[0]
        invocation.console.json = bool(ctx.params.pop("json", False))
        try:
            look_around(invocation, ctx.params)
            return super().invoke(ctx)
        finally:  # before click begins a new line for Ctrl-C
            invocation.console.end_progress()

    def settings(self) -> dict[str, Setting]:
        """By long name."""
        return {param.long_name: param for param in self.params if isinstance(param, Setting)}


class LazyGroup(click.Group):
    """Commands by name; the module `fhirferry.cli.<module>` is imported when its command is asked for.

    places: name -> "module:attribute", in the order in which help shows them.
    """

    def __init__(self, *args: Any, places: dict[str, str], **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(import_module(f"fhirferry.cli.{module}"), attribute)
        return command

    def leaves(self, ctx: click.Context, *above: str) -> Iterator[tuple[tuple[str, ...], Command]]:
        """Every command below, with its names. Imports all of them."""
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if isinstance(command, LazyGroup):
                yield from command.leaves(ctx, *above, name)
            elif isinstance(command, Command):
                yield (*above, name), command


def option(*declarations: str, **attrs: Any) -> Callable[[Any], Any]:
    """`click.option` for a Setting."""
    return click.option(*declarations, cls=Setting, **attrs)


json_option = option("--json", is_flag=True, help="Results as JSON lines (docs/json-lines.md).")


def define(name: str, *, example: str) -> Callable[[Any], Command]:
    """`click.command` for a Command; its function takes an Invocation first and returns an Exit."""
    return lambda function: click.command(name, cls=Command, example=example)(click.pass_obj(function))


def shared_options() -> list[click.Parameter]:
    """The options of every command; they may stand before or behind the command's name."""
    return [
        Setting(
            ["--config"],
            metavar="FILE",
            is_eager=True,  # it gives the others their values
            expose_value=False,
            callback=_load_config,
            help="TOML file with options; without it ./fhirferry.toml where there is one.",
        ),
        Setting(
            ["--home"],
            metavar="DIR",
            expose_value=False,
            callback=_keep,
            help="Folder of the default store and ledger; without it ./fhirferry-data.",
        ),
        Setting(
            ["--vault"],
            metavar="ADDRESS",
            expose_value=False,
            callback=_keep,
            help="Where secrets are: environment (the default), files:FOLDER, ledger, https://NAME.vault.azure.net.",
        ),
        Setting(["-q", "--quiet"], is_flag=True, expose_value=False, callback=_keep, help="No progress, no messages."),
        Setting(["--debug"], is_flag=True, expose_value=False, callback=_keep, help="Print tracebacks of errors."),
    ]


class Invocation:
    """What a command has beside its own options."""

    def __init__(self, clock: Clock = system_clock) -> None:
        self.console = Console()
        self.clock = clock
        self.command = ""
        self.config: ConfigFile | None = None
        self._shared: dict[str, Any] = {}
        self._typed: set[str] = set()
        self._settings: Settings | None = None

    @property
    def debug(self) -> bool:
        return bool(self._shared.get("debug"))

    @property
    def home_given(self) -> bool:
        return bool(self._shared.get("home"))

    @property
    def vault(self) -> str | None:
        """Where secrets are; None: in the environment."""
        return self._shared.get("vault")

    @property
    def destinations(self) -> Destinations | None:
        """Those that the configuration gives names to; None where it gives none. RequestError."""
        if self.config is None or "destinations" not in self.config.content:
            return None
        from fhirferry.cli.values import destination_url
        from fhirferry.exporting.named import read_destinations

        return read_destinations(self.config, destination_url)

    @property
    def settings(self) -> Settings:
        """Asked for by whoever uses the home: then people are told, once, that it is open to others."""
        if self._settings is None:
            from fhirferry.settings import Settings

            self._settings = Settings.at(self._shared.get("home"))
            if self._settings.open_to_others():
                place = self._settings.home
                self.console.say(
                    f"Others on this machine may look into {place}; to shut it: chmod 700 {_quoted(place)}"
                )
        return self._settings

    def keep(self, name: str, value: Any, *, typed: bool) -> Any:
        """Remember a shared option; what was typed before the command's name beats a variable behind it."""
        if value and (typed or name not in self._typed):
            self._shared[name] = value
            if typed:
                self._typed.add(name)
            if name == "quiet":
                self.console.quiet = True
        return self._shared.get(name)


def _quoted(path: str) -> str:
    from shlex import quote  # only for a person to type

    return quote(path)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    typed = ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE if param.name else False
    return ctx.ensure_object(Invocation).keep(str(param.name), value, typed=typed)


def _load_config(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    value = _keep(ctx, param, value)
    if not isinstance(ctx.command, Command):
        return  # before the command's name: the command itself reads the file
    from fhirferry.settings import ConfigFile

    config = ctx.ensure_object(Invocation).config = ConfigFile.find(value)
    if config is None:
        return
    root = ctx.find_root()
    top = cast(LazyGroup, root.command)
    settings = {name: setting for name, setting in ctx.command.settings().items() if name != "config"}

    def elsewhere() -> Collection[str]:
        return {name for _, leaf in top.leaves(root) for name in leaf.settings() if name != "config"}

    values = config.options(names(ctx), settings, commands=top.list_commands(root), elsewhere=elsewhere)
    ctx.default_map = {settings[key].name: _as_typed(settings[key], values[key], config, ctx) for key in values}


def names(ctx: click.Context) -> tuple[str, ...]:
    """The command's names without the program's: `("jobs", "list")`."""
    return (*names(ctx.parent), ctx.info_name or "") if ctx.parent is not None else ()


def _as_typed(setting: Setting, value: Any, config: ConfigFile, ctx: click.Context) -> Any:
    """A TOML value as the command line would have it."""
    if setting.is_flag:
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    elif setting.multiple and isinstance(value, list) and not value:
        wanted = "at least one, or leave it out: none is not all"
    elif setting.multiple and isinstance(value, list):
        return [str(item) for item in value]
    elif isinstance(value, (bool, list)):
        wanted = "a single text or number"
    else:
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
        return [text] if setting.multiple else text
    raise click.BadParameter(f"write {wanted}.", ctx=ctx, param_hint=f"{setting.long_name} in {config.path}")
