"""Folders below a destination, by a template (S65).

`daily/<timestamp>/<resourcename>`: what leads up to the last segment with `<timestamp>` or `<id>` is the job's own
folder, settled at the kick-off; the rest is for its files, and stays in the job's settings.
"""

from __future__ import annotations

import re

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant, format_compact
from fhirferry.model.job import ExportJobRecord

TIMESTAMP, ID, NAME = "<timestamp>", "<id>", "<resourcename>"

_RESERVED = ("deleted", "error", "history", ".fhirferry", "manifest.json", "sha256sums")
_segment = re.compile(rf"(?:[A-Za-z0-9._-]|{TIMESTAMP}|{ID}|{NAME}){{1,100}}").fullmatch


class Layout(msgspec.Struct, frozen=True):
    """job: the job's own folder below the destination, with tags; files: folders for the files below that one. Either
    is empty where there is none."""

    job: str
    files: str

    def folder(self, root: str, queued_time: Instant, job_id: str) -> str:
        """URL of the job's folder. root: URL of what the operator named."""
        if not self.job:
            return root
        return f"{root.rstrip('/')}/{self.job.replace(TIMESTAMP, format_compact(queued_time)).replace(ID, job_id)}"


def parse_layout(template: str) -> Layout:
    """RequestError says what a template may hold. An empty one is none."""
    if not template:
        return Layout("", "")
    segments = template.split("/")
    for segment in segments:
        _refuse_segment(template, segment)
    own = max((at for at, segment in enumerate(segments, 1) if TIMESTAMP in segment or ID in segment), default=0)
    if any(NAME in segment for segment in segments[:own]):
        raise RequestError(
            f"{template!r} is not a layout: {NAME} comes behind the folder that {TIMESTAMP} or {ID} gives to the job, "
            f"like {TIMESTAMP}/{NAME}"
        )
    return Layout("/".join(segments[:own]), "/".join(segments[own:]))


def template_of(record: ExportJobRecord) -> str:
    """The template that a job was given, from what it became."""
    own = record.destination_uri[len(record.destination_root) :].strip("/") if record.destination_root else ""
    own = own.replace(format_compact(record.queued_time), TIMESTAMP).replace(record.id, ID)
    return "/".join(filter(None, (own, record.settings.layout)))


def _refuse_segment(template: str, segment: str) -> None:
    if _segment(segment) and segment not in (".", "..") and segment.lower() not in _RESERVED:
        return
    why = f"{segment!r} is no folder" if segment else "a folder without a name"
    raise RequestError(
        f"{template!r} is not a layout: {why}; write folders with / between them, of letters, digits and . _ - and the "
        f"tags {TIMESTAMP}, {ID} and {NAME} (not: {', '.join(_RESERVED)})"
    )
