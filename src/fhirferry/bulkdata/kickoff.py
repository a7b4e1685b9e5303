"""The kick-off URL: `<base>/$export?_type=…&_since=…&_typeFilter=…`, to and fro (B1-B3, B26-B54, B69)."""

from __future__ import annotations

from collections.abc import Iterator

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import format_instant
from fhirferry.model.request import ExportRequest
from fhirferry.model.uri import quoted

_OPERATIONS = ("/$export", "/%24export")
_VALUE = "!$'()*,/:;=?@~"
"""RFC 3986's marks that a query's value may hold, but '+', which some would read as a space."""
_URI = "!#$%&'()*+,/:;=?@[]~"
"""RFC 3986's reserved characters and `%`: what is a URI already stays as it is."""


def export_url(base: str, request: ExportRequest) -> str:
    """The full kick-off URL of a request to the server or store at `base` (a URI without credentials).

    A query of `base` holds settings of its driver, not of the export, and is left out. Equal requests give equal URLs.
    Everything but handling (a header), release and `passed_over` can be read from it again.
    """
    root = _root(quoted(base.partition("?")[0].rstrip("/"), _URI), request.level)
    place = {"patient": "/Patient", "group": f"/Group/{request.group_id}"}.get(request.level, "")
    parameters = "&".join(f"{name}={value}" for name, value in _parameters(request))
    return f"{root}{place}/$export" + ("?" + parameters if parameters else "")


def parse_export_url(url: str, *, handling: str = "strict", release: str = "R4") -> ExportRequest:
    """What a kick-off URL asks for; the request keeps the URL. Other servers' spellings of the same are understood.

    RequestError, with a line for each problem: not a kick-off URL, a parameter that is not supported, or a value that is
    wrong. Nothing is ignored, but what a lenient request passes over.
    """
    from fhirferry.bulkdata.kickoff_reading import read_kickoff  # needed by `verify` and by servers only

    address, _, query = url.partition("?")
    operation = next((name for name in _OPERATIONS if address.endswith(name)), None)
    if operation is None:
        raise RequestError(f"{url!r} is not a kick-off URL; it should be like https://host/fhir/$export?_type=Patient")
    level, group_id = _level(address.removesuffix(operation))
    reading = read_kickoff(
        query_pairs(query), level=level, group_id=group_id, handling=handling, release=release, url=url
    )
    if reading.problems:
        raise RequestError("\n".join(f"{name}: {value!r}: {right}" for name, value, right in reading.problems))
    return reading.request


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Names and values of a URL's query, decoded once, empty values too. A '+' stays one.

    Zones (+01:00), media types and codes have a '+', which is often sent as it is; a filter makes of it what is meant.
    """
    from urllib.parse import parse_qsl  # costs 5 ms at start-up

    return parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)


def _parameters(request: ExportRequest) -> Iterator[tuple[str, str]]:
    """Ids, types, elements and codes are letters, digits and '-._', instants are UTC ('Z', never '+'): only a filter
    needs escapes."""
    if request.types is not None:
        yield "_type", ",".join(request.types)
    if request.since is not None:
        yield "_since", format_instant(request.since)
    if request.until is not None:
        yield "_until", format_instant(request.until)
    if request.elements:
        yield "_elements", ",".join(request.elements)
    for text in request.type_filters:
        yield "_typeFilter", quoted(text, _VALUE)
    if request.patients is not None:
        yield "patient", ",".join(f"Patient/{ident}" for ident in request.patients)
    if request.patient_list is not None:
        yield "patientList", request.patient_list
    if request.include_associated_data:
        yield "includeAssociatedData", ",".join(request.include_associated_data)
    if request.include_referenced is not None:
        yield "includeReferenced", ",".join(request.include_referenced)
    if request.reference_depth != 1:
        yield "referenceDepth", str(request.reference_depth)
    if request.new_members != "since":
        yield "newMembers", request.new_members
    if request.left_members != "keep":
        yield "leftMembers", request.left_members
    if request.organize_output_by is not None:
        yield "organizeOutputBy", request.organize_output_by


def _root(base: str, level: str) -> str:
    """`base` so that its end is not taken for a level: a store may lie in a folder `Group`, or be named `Patient`.

    A letter that is percent-encoded is the same letter (RFC 3986, 2.3)."""
    before, slash, last = base.rpartition("/")
    if level == "patient" and last == "Group":
        return f"{before}{slash}%47roup"
    if level == "system":
        if last == "Patient":
            last = "%50atient"
        if before.endswith("/Group"):
            before = before.removesuffix("Group") + "%47roup"
    return before + slash + last


def _level(address: str) -> tuple[str, str | None]:
    """Level and id of the group that an address without its operation means."""
    before, _, last = address.rpartition("/")
    if before.endswith("/Group"):
        return "group", last
    return ("patient" if last == "Patient" else "system"), None
