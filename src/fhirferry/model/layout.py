"""Folders below a destination, by a template (S65).

`daily/<timestamp>/<resourcename>`: what leads up to the last segment with `<timestamp>` or `<id>` is the job's own
folder, settled at the kick-off; the rest is for its files, and stays in the job's settings.
"""

from __future__ import annotations

import re

import msgspec

from fhirferry.model.errors import RequestError
from fhirferry.model.instant import Instant, format_compact

TIMESTAMP, ID, RESOURCE_NAME = "<timestamp>", "<id>", "<resourcename>"
"""Stand for when the job was queued, its id, and the type of a file's resources."""

_TAKEN = (".fhirferry", "deleted", "error", "history", "manifest.json", "sha256sums")
"""In small letters: there are file systems for which those are the same."""
_is_folder = re.compile(rf"(?:[A-Za-z0-9._-]|{TIMESTAMP}|{ID}|{RESOURCE_NAME})+").fullmatch


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
    if any(RESOURCE_NAME in segment for segment in segments[:own]):
        raise RequestError(
            f"{template!r} is not a layout: {RESOURCE_NAME} comes behind the folder that {TIMESTAMP} or {ID} gives to the "
            f"job, like {TIMESTAMP}/{RESOURCE_NAME}"
        )
    return Layout("/".join(segments[:own]), "/".join(segments[own:]))


def template_of(root: str, folder: str, queued_time: Instant, job_id: str, files: str) -> str:
    """The template that a job was given, from what it became: URLs of the destination and of its own folder there, and
    the folders for its files."""
    own = folder[len(root) :].strip("/")
    own = own.replace(format_compact(queued_time), TIMESTAMP).replace(job_id, ID)
    return "/".join(filter(None, (own, files)))


def folder_of(files: str, resource_type: str) -> str:
    """Where files of a type lie below the job's folder, without a `/` at the end; empty where there is no layout."""
    return files.replace(RESOURCE_NAME, resource_type)


def refuse_files(files: str) -> None:
    """RequestError unless every folder that it gives to files is one that a destination takes. Empty is none."""
    if parse_layout(files).job:
        raise RequestError(f"{files!r} is not for the files of a job: {TIMESTAMP} and {ID} are settled at its kick-off")


def _refuse_segment(template: str, segment: str) -> None:
    longest = len(segment.replace(RESOURCE_NAME, "x" * 64).replace(TIMESTAMP, "x" * 15).replace(ID, "x" * 32))
    taken = segment.lower() in _TAKEN or segment in (".", "..")
    if _is_folder(segment) and not taken and longest <= 255 and len(template) <= 200:
        return
    why = f"{segment[:80]!r} is no folder" if segment else "a folder without a name"
    raise RequestError(
        f"{template[:80]!r} is not a layout: {why}; write folders with / between them, of letters, digits and . _ - and the "
        f"tags {TIMESTAMP}, {ID} and {RESOURCE_NAME}, in 200 characters (not: {', '.join(_TAKEN)})"
    )
