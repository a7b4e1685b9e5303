"""Parameters of a kick-off, however they were sent, as a request; all that is wrong with them at once (B14, B26-B54).

Theory of operation. Each value is read by itself. What could be read joins the request one parameter after the other, so
that the one that contradicts those before it is told by its name. `ExportRequest` is the judge both times; the table below
says what fills which field. What the names mean in FHIR is looked at by `transforms.asking`, which knows FHIR.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import parse_instant
from fhirferry.model.request import ASSOCIATED, NDJSON, ExportRequest

FORMATS = (NDJSON, "application/ndjson", "ndjson")
"""All mean the same (B27)."""

Wrong = tuple[str, str, str]
"""Parameter, value as it was sent, what would be right."""

_ANY = ExportRequest(level="group", group_id="any", since=0)
"""May hold any value that is right by itself."""
_MEMBERS = ("newMembers", "leftMembers")
_NEEDED = {"_since", "patient", "patientList"}
"""Where one of these is wrong, that _MEMBERS miss it is no news."""

_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch
_is_count = re.compile(r"0*[1-9][0-9]{0,17}").fullmatch


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """read: a value from one text; ValueError says what would be right. field: of the request; empty where there is none.

    repeats: may be given several times. commas: and hold several values. none: an empty text means no value at all.
    passable: a lenient request may do without it (B50): nothing goes out then that would otherwise stay.
    """

    read: Callable[[str], Any]
    field: str = ""
    repeats: bool = False
    commas: bool = False
    none: bool = False
    passable: bool = False


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """request: of all that could be read. min_file_size, max_file_size: bytes, None where nothing was said (B54)."""

    request: ExportRequest
    min_file_size: int | None
    max_file_size: int | None
    problems: tuple[Wrong, ...]


def read_kickoff(
    pairs: Iterable[tuple[str, str]],
    *,
    level: str = "system",
    group_id: str | None = None,
    handling: str = "strict",
    release: str = "R4",
    url: str = "",
) -> Reading:
    """Decoded names and values as they were sent, in any order; what a lenient request passes over is in its request."""
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        given.setdefault(name, []).append(text)
    problems: list[Wrong] = []
    passed_over: list[str] = []

    def wrong(name: str, value: str, right: str) -> None:
        if handling == "lenient" and name in PARAMETERS and PARAMETERS[name].passable:
            passed_over.append(f"{name}: {value!r}: {right}")
        else:
            problems.append((name, value, right))

    values: dict[str, Any] = {}
    for name, texts in given.items():
        parameter = PARAMETERS.get(name)
        if parameter is None:
            wrong(name, ",".join(texts), _no_such(name))
        elif len(texts) > 1 and not parameter.repeats:
            wrong(name, ",".join(texts), "is given twice; give it once")
        else:
            found = list(_values(name, parameter, texts, wrong))
            if parameter.repeats and (found or parameter.none):
                values[name] = tuple(found)
            elif found:
                values[name] = found[0]
    try:
        request = ExportRequest(level=level, group_id=group_id, handling=handling, release=release, url=url)
    except RequestError as error:
        wrong("group", str(group_id), error.message)
        request = msgspec.structs.replace(_ANY, since=None, handling=handling, release=release, url=url)
    for name, parameter in PARAMETERS.items():
        if name not in values or not hasattr(request, parameter.field):
            continue
        try:
            request = msgspec.structs.replace(request, **{parameter.field: values[name]})
        except RequestError as error:
            if name not in _MEMBERS or _NEEDED.isdisjoint(each for each, _, _ in problems):
                wrong(name, ",".join(given[name]), error.message)
    return Reading(
        request=msgspec.structs.replace(request, passed_over=tuple(sorted(passed_over))),
        min_file_size=values.get("_minimumFileSize"),
        max_file_size=values.get("_maximumFileSize"),
        problems=tuple(problems),
    )


def _values(
    name: str, parameter: Parameter, texts: Iterable[str], wrong: Callable[[str, str, str], None]
) -> Iterator[Any]:
    for text in texts:
        if parameter.none and not text:
            continue
        for part in [each.strip() for each in text.split(",")] if parameter.commas else [text]:
            try:
                yield parameter.read(part)
            except ValueError as error:
                wrong(name, part, str(error))


def _no_such(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, PARAMETERS, n=1)
    return "no such parameter; " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PARAMETERS)}")


def _held(field: str, right: str, *, one_of_many: bool = False) -> Callable[[str], str]:
    """Reads a text that this field of a request takes."""

    def read(text: str) -> str:
        try:
            msgspec.structs.replace(_ANY, **{field: (text,) if one_of_many else text})
        except RequestError:
            raise ValueError(right) from None
        return text

    return read


def _instant(*, round_up: bool) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            return parse_instant(text, round_up=round_up)
        except RequestError:
            raise ValueError("is no instant; write it like 2026-11-22T08:30:00Z, with seconds and a zone") from None

    return read


def _format(text: str) -> str:
    if text not in FORMATS:
        raise ValueError(f"is not offered; there is {NDJSON}")
    return NDJSON


def _patient(text: str) -> str:
    return _is_patient(text.removeprefix("Patient/"))


def _digest(text: str) -> str:
    if not _is_digest(text):
        raise ValueError(
            "is no SHA-256 in lower-case hex; name the patients themselves, as patient=Patient/a,Patient/b"
        )
    return text


def _count(text: str) -> int:
    if not _is_count(text):
        raise ValueError("is no whole number above zero")
    return int(text)


def _partial(text: str) -> None:
    if text != "false":
        raise ValueError("partial manifests are not offered; leave it out, and one manifest comes at the end")


def _form(_: str) -> None:
    raise ValueError("what is answered to a kick-off has one form, JSON; leave it out")


_is_patient = _held("patients", "does not name a patient; write it like Patient/123", one_of_many=True)

PARAMETERS = {
    "_outputFormat": Parameter(field="output_format", read=_format),
    "_since": Parameter(field="since", read=_instant(round_up=False)),
    "_until": Parameter(field="until", read=_instant(round_up=True)),
    "_type": Parameter(
        field="types",
        read=_held("types", "is not a resource type; write it like Patient or Observation", one_of_many=True),
        repeats=True,
        commas=True,
    ),
    "_typeFilter": Parameter(  # commas in a filter are its own affair (L6)
        field="type_filters",
        read=_held("type_filters", "is empty; write it like Observation?code=8480-6", one_of_many=True),
        repeats=True,
    ),
    "_elements": Parameter(  # a wrong one cannot keep its place here: without it more would go out
        field="elements",
        read=_held("elements", "is not an element at the root; write it like id or Patient.name", one_of_many=True),
        repeats=True,
        commas=True,
    ),
    "patient": Parameter(field="patients", read=_patient, repeats=True, commas=True),
    "patientList": Parameter(field="patient_list", read=_digest),
    "includeAssociatedData": Parameter(  # may leave out as well as add (B42): Latest… brings less Provenance than nothing
        field="include_associated_data",
        read=_held("include_associated_data", f"is not offered; there is {', '.join(ASSOCIATED)}", one_of_many=True),
        repeats=True,
        commas=True,
    ),
    "includeReferenced": Parameter(
        field="include_referenced",
        read=_held("include_referenced", "is not a resource type; write it like Practitioner", one_of_many=True),
        repeats=True,
        commas=True,
        none=True,
        passable=True,
    ),
    "referenceDepth": Parameter(field="reference_depth", read=_count),
    "newMembers": Parameter(field="new_members", read=_held("new_members", "is not offered; there is full, since")),
    "leftMembers": Parameter(field="left_members", read=_held("left_members", "is not offered; there is keep, delete")),
    "organizeOutputBy": Parameter(
        field="organize_output_by",
        read=_held("organize_output_by", "is not offered; there is Patient"),
        passable=True,
    ),
    "_minimumFileSize": Parameter(read=_count, passable=True),
    "_maximumFileSize": Parameter(read=_count, passable=True),
    "allowPartialManifests": Parameter(read=_partial, passable=True),
    "_format": Parameter(read=_form, passable=True),
    "_pretty": Parameter(read=_form, passable=True),
}
"""In the order in which they join a request: each is judged together with those before it."""
