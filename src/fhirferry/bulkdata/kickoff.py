"""The kick-off URL: `<base>/$export?_type=…&_since=…&_typeFilter=…`, to and fro (B26-B33, B36, B46, B69)."""

from __future__ import annotations

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import format_instant, parse_instant
from fhirferry.model.request import NDJSON, ExportRequest
from fhirferry.model.uri import quoted

_FORMATS = {NDJSON, "application/ndjson", "ndjson"}  # B27
_OPERATIONS = ("/$export", "/%24export")
_SINGLE = ("_since", "_until", "_outputFormat")
_VALUE = "!$'()*,/:;=?@~"
"""RFC 3986's marks that a query's value may hold, but '+', which some would read as a space."""
_URI = "!#$%&'()*+,/:;=?@[]~"
"""RFC 3986's reserved characters and `%`: what is a URI already stays as it is."""


def export_url(base: str, request: ExportRequest) -> str:
    """The full kick-off URL of a request to the server or store at `base` (a URI without credentials).

    A query of `base` holds settings of its driver, not of the export, and is left out. Equal requests give equal URLs.
    """
    parameters = []
    if request.types is not None:
        parameters.append("_type=" + ",".join(request.types))
    if request.since is not None:
        parameters.append("_since=" + format_instant(request.since))
    if request.until is not None:
        parameters.append("_until=" + format_instant(request.until))
    # Types and elements are letters and digits, instants are UTC ('Z', never '+'): only a filter needs escapes.
    if request.elements:
        parameters.append("_elements=" + ",".join(request.elements))
    parameters += ["_typeFilter=" + quoted(text, _VALUE) for text in request.type_filters]
    root = quoted(base.partition("?")[0].rstrip("/"), _URI)
    return f"{root}/$export" + ("?" + "&".join(parameters) if parameters else "")


def parse_export_url(url: str) -> ExportRequest:
    """What a kick-off URL asks for; the request keeps the URL. Other servers' spellings of the same are understood.

    RequestError: not a kick-off URL, a parameter that is not supported, or a value that is wrong. Nothing is ignored.
    """
    from urllib.parse import parse_qsl  # costs 5 ms at start-up, needed by `verify` only

    address, _, query = url.partition("?")
    operation = next((name for name in _OPERATIONS if address.endswith(name)), None)
    if operation is None:
        raise RequestError(f"{url!r} is not a kick-off URL; it should be like https://host/fhir/$export?_type=Patient")
    lists: dict[str, list[str]] = {"_type": [], "_elements": [], "_typeFilter": []}
    single: dict[str, str] = {}
    # Zones (+01:00), media types and codes have a '+', which is often sent as it is; a filter makes of it what is meant.
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        if name in lists:  # may be given several times (B32); commas in a filter are its own affair (L6)
            lists[name] += [value] if name == "_typeFilter" else [part.strip() for part in value.split(",")]
        elif name not in _SINGLE:
            raise RequestError(f"parameter {name!r} is not supported; there are {', '.join((*lists, *_SINGLE))}")
        elif name in single:
            raise RequestError(f"parameter {name!r} is given twice")
        else:
            single[name] = value
    media_type = single.get("_outputFormat", NDJSON)
    level = _level(address.removesuffix(operation))
    if level != "system":
        raise RequestError(f"a kick-off of level {level!r} cannot be read yet; the one level is 'system'")
    return ExportRequest(
        url=url,
        types=tuple(lists["_type"]) or None,
        elements=tuple(lists["_elements"]),
        type_filters=tuple(lists["_typeFilter"]),
        since=parse_instant(single["_since"]) if "_since" in single else None,
        until=parse_instant(single["_until"], round_up=True) if "_until" in single else None,
        output_format=NDJSON if media_type in _FORMATS else media_type,
    )


def _level(base: str) -> str:
    segments = base.split("/")
    if segments[-1] == "Patient":
        return "patient"
    return "group" if len(segments) > 1 and segments[-2] == "Group" else "system"
