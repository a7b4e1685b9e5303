"""Types of option values. What a value may look like is said where it is read, in `model` and `settings`."""

from __future__ import annotations

import re
from typing import Any

import click

from fhirferry.cli.options import Invocation, Parsed
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import parse_instant
from fhirferry.model.quantity import parse_duration, parse_size

LAST = "last"
"""What `--since` says instead of an instant."""
NONE = "none"
"""What `--include-referenced` says instead of types."""


def _database(text: str) -> str:
    from fhirferry.settings import database_url  # imports msgspec, which `--help` doesn't need

    return database_url(text)


def destination_url(text: str) -> str:
    """The recorded form of an address that was typed. RequestError."""
    if "://" in text:
        from fhirferry.destinations.addresses import destination_url as any_url  # see _database

        return any_url(text)
    return _folder(text)


def _folder(text: str) -> str:
    from fhirferry.settings import destination_url as folder_url  # see _database

    return folder_url(text)


class _Named(Parsed):
    """A destination: a name that the configuration gives to one, or an address. ./NAME is always a folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(value, param, ctx) if ctx is None or not self._is_named(value, param, ctx) else value

    def _is_named(self, value: Any, param: click.Parameter | None, ctx: click.Context) -> bool:
        try:
            known = ctx.ensure_object(Invocation).destinations
        except RequestError as error:
            self.fail(error.message, param, ctx)
        return known is not None and value in known.named


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _since(text: str) -> int | str:
    return LAST if text.strip() == LAST else parse_instant(text)


def _patient(text: str) -> str:
    from fhirferry.exporting.patient_list import patient_id  # see _database

    found = patient_id(text.strip())
    if found is None:
        raise RequestError("that is not a patient's id; write it like 123 or Patient/123")  # never quoted back: a name?
    return found


def _group(text: str) -> str:
    return text.strip().removeprefix("Group/")


def _layout(text: str) -> str:
    from fhirferry.model.layout import parse_layout  # see _database

    parse_layout(text)
    return text


def _executor(text: str) -> str:
    from fhirferry.engine.executors import parse_executor  # see _database

    kind, number = parse_executor(text)
    return kind if kind == "inline" else f"{kind}:{number}"


def _count(text: str) -> int:
    if text.strip().isdecimal() and int(text) > 0:
        return int(text)
    raise RequestError(f"{text!r} is not a whole number above zero")


def _reference(text: str) -> tuple[str, str]:
    """https://hl7.org/fhir/R4/datatypes.html#id"""
    match = re.fullmatch(r"([A-Z][A-Za-z]{0,63})/([A-Za-z0-9.-]{1,64})", text.strip())
    if match is None:
        raise RequestError(f"{text!r} is not a resource's name; write it like Patient/123")
    return match[1], match[2]


SIZE = Parsed("size", parse_size)
DURATION = Parsed("duration", parse_duration)
SINCE = Parsed("instant", _since)
UNTIL = Parsed("instant", lambda text: parse_instant(text, round_up=True))
DATABASE = Parsed("url", _database)
FOLDER = Parsed("url", _folder)
PLACE = Parsed("url", destination_url)
DESTINATION = _Named("url", destination_url)
TYPES = Parsed("types", _names)
ELEMENTS = Parsed("elements", _names)
DATA = Parsed("data", _names)
PATIENT = Parsed("patient", _patient)
GROUP = Parsed("group", _group)
LAYOUT = Parsed("layout", _layout)
EXECUTOR = Parsed("executor", _executor)
COUNT = Parsed("n", _count)

EXECUTOR_DEFAULT = "threads:2"
"""Two units fill two cores, and one of them works while the other waits for the disk."""
REFERENCE = Parsed("type/id", _reference)
