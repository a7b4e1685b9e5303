"""Where things are and where options come from: command line, then `FHIRFERRY_<OPTION>`, then a TOML file.

Theory of operation. Whoever has options (the command line, later the HTTP server) describes them by their long names;
`ConfigFile` gives the values that the TOML file has for one command, refusing what nobody knows. Addresses become
absolute URLs here, so that a job's record means the same folder for a worker that was started elsewhere. A `file:` URL
is percent-encoded (RFC 8089), always in the same way, so that every path has exactly one URL. A `sqlite:` address is no
such URL: it is the path as it is, as everybody reads these addresses. So is what is typed without a scheme.
"""
# ruff: noqa: PTH100, PTH113, PTH116, PTH118 - every command begins here, and importing pathlib is felt

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.uri import quoted

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_HOME = "fhirferry-data"
DEFAULT_CONFIG = "fhirferry.toml"
NOT_OPTIONS = frozenset({"destinations", "allow-addresses"})
"""What the TOML file holds beside options; `exporting.named` reads it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """An installation's places. home: absolute folder; store, ledger: the `sqlite:///` URLs used where none is given."""

    home: str

    @classmethod
    def at(cls, home: str | None) -> Settings:
        """Settings of this home; None is `./fhirferry-data`. Nothing is created."""
        return cls(home=os.path.abspath(home or DEFAULT_HOME))

    @property
    def store(self) -> str:
        return _url("sqlite", os.path.join(self.home, "store.db"))

    @property
    def ledger(self) -> str:
        return _url("sqlite", os.path.join(self.home, "ledger.db"))

    def open_to_others(self) -> bool:
        """The home is there, and its mode lets others look in. What we make is private; whose folder it is decides."""
        try:
            return os.name == "posix" and bool(os.stat(self.home).st_mode & 0o077)
        except OSError:
            return False

    def make_home(self) -> None:
        """Create the home on first use: mode 0700 (it holds health data), with a `.gitignore` so that nobody commits it.
        An existing folder is left as it is. RequestError when it cannot be made."""
        from pathlib import Path

        home = Path(self.home)
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = Path(home, ".gitignore")
            ignore.touch(mode=0o600, exist_ok=False)
            ignore.write_text("*\n", encoding="utf-8")
        except FileExistsError:
            if not home.is_dir():
                raise RequestError(f"{home} is not a folder; name another one with FHIRFERRY_HOME") from None
        except OSError as error:
            raise RequestError(
                f"cannot make {home} ({error.strerror}); name a folder you may write to with FHIRFERRY_HOME"
            ) from None


def database_url(text: str) -> str:
    """`sqlite:///` URL with an absolute path, of `sqlite:///abs`, `sqlite:rel/path` or a plain path. RequestError."""
    return _absolute(text, "sqlite", "a path, sqlite:///absolute/path or sqlite:relative/path")


def destination_url(text: str) -> str:
    """`file:///` URL with an absolute path, of `file:///abs` or a plain path. RequestError."""
    return _absolute(text, "file", "a path or file:///absolute/path")


def path_of(url: str) -> Path:
    """The path in a URL that the functions above made."""
    from pathlib import Path

    return Path(place_of(url))


def place_of(url: str) -> str:
    """The path in a URL, as text."""
    scheme, _, rest = url.partition("://")
    return _decoded(rest) if scheme == "file" else rest


def file_url(path: str) -> str:
    """The one `file:` URL of an absolute path."""
    return "file://" + quoted(path, "/!$&'()*+,;=", os.fsencode)


def keep_apart(destination: str, *databases: str) -> None:
    """An export is made to be handed on: whoever is given its folder must not be given store or ledger with it. And
    those are two files: a job must be able to fail because its store is damaged. RequestError; other addresses than
    `file:` and `sqlite:` are apart by nature."""
    files = [os.path.realpath(place_of(url)) for url in databases if url.startswith("sqlite://")]
    for file in files:
        if files.count(file) > 1:
            raise RequestError(f"{file} is given as store and as ledger; they must be two files")
    if not destination.startswith("file://"):
        return
    folder = os.path.realpath(place_of(destination))
    for file in files:
        if folder == file:
            raise RequestError(f"{folder} is a store or ledger; give a folder of its own to the export")
        if file.startswith(os.path.join(folder, "")):
            inside = file[len(os.path.join(folder, "")) :]
            raise RequestError(f"{folder} holds {inside}; give a folder of its own to the export")


def _absolute(text: str, scheme: str, offered: str) -> str:
    raw = text.strip()
    if not raw:
        raise RequestError(f"an empty address; write {offered}")
    given, colon, rest = raw.partition(":")
    if not colon or not _is_scheme(given):
        return _url(scheme, raw)
    if "@" in rest and ":" in rest.partition("@")[0].lstrip("/"):
        # Never quoted back: what is typed here ends in logs, process lists and job records.
        raise RequestError(f"the {given}: address has a password in it; addresses are recorded, so it must hold none")
    if given.lower() != scheme:
        raise RequestError(f"{given}: is not offered here; write {offered}")
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost") or not slash:
            raise RequestError(f"{raw!r} names a host; write {offered}")
        rest = "/" + path
    if scheme == "file":
        rest = _decoded(rest)
    if "\0" in rest:
        raise RequestError(f"{raw!r} has a NUL byte in it; no file has such a name")
    if not rest.strip("/"):
        raise RequestError(f"{raw!r} names no path; write {offered}")
    return _url(scheme, rest)


def _is_scheme(text: str) -> bool:
    # One letter is a drive of Windows; a path may hold a colon further on ("./odd:name").
    return len(text) > 1 and text[0].isalpha() and all(c.isalnum() or c in "+-." for c in text)


def _url(scheme: str, path: str) -> str:
    # "a/../b" and "b" are one place, and must be one job. Links are kept: they are how people move data.
    normal = os.path.abspath(path)
    return file_url(normal) if scheme == "file" else f"{scheme}://{normal}"


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote_to_bytes

    # A name may be any bytes; what is not UTF-8 comes back as it went.
    return os.fsdecode(unquote_to_bytes(os.fsencode(text)))


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True):
    """A TOML file with options: top-level keys hold for every command that has the option, tables for one command."""

    path: str
    content: Mapping[str, Any]

    @classmethod
    def find(cls, named: str | None) -> ConfigFile | None:
        """The file that was named, else `./fhirferry.toml` where there is one. RequestError: not there, not TOML."""
        path = named or DEFAULT_CONFIG
        if not named and not os.path.isfile(path):
            return None
        import tomllib  # only where there is a file: most runs have none, and start-up counts
        from pathlib import Path

        try:
            content = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise RequestError(f"cannot read the configuration {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RequestError(f"{path} is not TOML: {error}") from None
        return cls(path=path, content=content)

    def options(
        self,
        command: Sequence[str],
        known: Collection[str],
        *,
        commands: Collection[str],
        elsewhere: Callable[[], Collection[str]],
    ) -> dict[str, Any]:
        """Values for one command by long option name (`max-file-size`); a nearer table wins over a farther one.

        command: its names, as in `("jobs", "prune")`. known: its options. commands: all first names of commands.
        elsewhere: the options of all commands; asked only when the file has a key that this command does not know.
        RequestError names an unknown key and the nearest right one.
        """
        values: dict[str, Any] = {}
        level: Any = self.content
        for depth in range(len(command) + 1):
            inner = depth < len(command)
            for key, value in level.items():
                name = key.replace("_", "-")
                if depth == 0 and name in NOT_OPTIONS:
                    continue
                if isinstance(value, dict):
                    if depth == 0 and name not in commands:
                        self._refuse(key, "table", commands)
                    if not inner:
                        raise RequestError(f"{self.path}: {key} in [{'.'.join(command)}] is a table, not a value")
                elif name in known:
                    values[name] = value
                elif not inner or name not in elsewhere():
                    # The keys of a table of commands ([jobs]) and of the file itself belong to several commands.
                    self._refuse(key, "option", known if not inner else elsewhere(), command[:depth])
            if inner:
                level = level.get(command[depth], {})
                if not isinstance(level, dict):
                    break
        return values

    def _refuse(self, key: str, what: str, known: Collection[str], table: Sequence[str] = ()) -> None:
        from difflib import get_close_matches  # only on the way to an error message

        near = get_close_matches(key.replace("_", "-"), known, n=1, cutoff=0.0)
        place = f" in [{'.'.join(table)}]" if table else ""
        raise RequestError(f"{self.path}: there is no {what} {key!r}{place}; the nearest is {near[0]!r}")
