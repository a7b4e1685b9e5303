"""Names at a destination, and whose place it is: rules that every implementation shares.

A name is checked before any I/O, so no resource type, no job id and no manifest from elsewhere can lead out of the
destination. `.fhirferry/` holds what is not finished: the job's mark and the parts that no commit has listed yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from fhirferry.model.errors import FolderInUse, RequestError

HIDDEN = ".fhirferry"
MARK = "job"
"""The file in HIDDEN that says which job the destination belongs to."""

PART = ".part"
"""How the name of a file ends that no commit has listed yet."""
TEMPORARY = ".tmp"
"""How a small file ends (a manifest, the mark) until it has its name."""

CHUNK = 2**20
"""Bytes of one piece that `read` yields, at most."""

_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_TAG = 8
_SEGMENT = 255  # bytes; what file systems take
_WHOLE = 1024  # bytes; what S3 and Google Cloud Storage take


def check_name(name: str) -> tuple[str, ...]:
    """The segments of a destination name. RequestError when it is not one; the message is safe to print."""
    segments = tuple(name.split("/"))
    if len(name) > _WHOLE or not all(map(_is_segment, segments)):
        raise RequestError(
            f"{name[:80]!r} is no file name at a destination: use letters, digits and . _ - in parts of at most "
            f"{_SEGMENT} characters with / between them, none of them empty, '.' or '..'"
        )
    # A file system may take .FhirFerry for .fhirferry: nothing but the exact word in the first place means it.
    if any(s.lower() == HIDDEN for s in segments[1:]) or (segments[0].lower() == HIDDEN and segments[0] != HIDDEN):
        raise RequestError(f"{name[:80]!r} is no file name at a destination: {HIDDEN} is reserved")
    return segments


def is_name(name: str) -> bool:
    """What `check_name` lets pass."""
    try:
        check_name(name)
    except RequestError:
        return False
    return True


def check_visible(name: str) -> tuple[str, ...]:
    """As `check_name`, for names that readers see: RequestError also for hidden ones."""
    segments = check_name(name)
    if segments[0] == HIDDEN:
        raise RequestError(f"{name[:80]!r} is hidden: a finished file gets a name outside {HIDDEN}/")
    return segments


def check_job_id(job_id: str) -> str:
    """The id itself. RequestError when it could not be one segment of a name, or is the mark's own name."""
    if not _is_segment(job_id) or job_id == MARK:
        raise RequestError(f"{job_id[:80]!r} is no job id: use letters, digits and . _ -")
    return job_id


def hidden_part(job_id: str, stem: str) -> str:
    """`.fhirferry/<job>/<stem>.part`, whatever folders the stem has."""
    name = f"{HIDDEN}/{check_job_id(job_id)}/{check_name(stem)[-1]}{PART}"
    check_name(name)
    return name


def visible_part(job_id: str, stem: str, suffix: str) -> str:
    """`<stem>-<job><suffix>`: what readers see, and whose it is if nobody lists it."""
    name = f"{stem}-{_tag(job_id)}{suffix}"
    check_visible(stem)
    check_visible(name)
    return name


def is_visible_part(name: str, job_id: str) -> bool:
    """Whether `visible_part` gave it to that job."""
    return is_any_part(name, hidden=False) and _visible_tag(name) == _tag(job_id)


def is_any_part(name: str, *, hidden: bool) -> bool:
    """Whether some job's run could have been given that name, by `hidden_part` or by `visible_part`."""
    segments = name.split("/")
    if hidden:
        return len(segments) == 3 and segments[0] == HIDDEN
    return segments[0] != HIDDEN and bool(_visible_tag(name)) and not name.endswith((PART, TEMPORARY))


def _visible_tag(name: str) -> str:
    stem, dash, last = name.rpartition("/")[2].rpartition("-")
    tag, dot, _ = last.partition(".")
    return tag if stem and dash and dot and len(tag) >= _TAG else ""


def _tag(job_id: str) -> str:
    """A job's id where it ends a name: what is short, or has a dash or a dot, could not be told from what stands before."""
    if check_job_id(job_id).isalnum() and len(job_id) >= _TAG:
        return job_id
    import hashlib  # loads OpenSSL; our own ids are plain

    return hashlib.sha256(job_id.encode()).hexdigest()[:16]


def draw_temporary() -> str:
    """A small file's name in a job's part folder that nobody else draws."""
    return os.urandom(8).hex() + TEMPORARY


def check_range(name: str, offset: int, length: int | None) -> None:
    """RequestError unless both count bytes from 0."""
    if offset < 0 or (length is not None and length < 0):
        raise RequestError(f"{name!r} cannot be read from byte {offset} for {length} bytes: both count from 0")


def refuse_foreign(where: str, owner: str | None, job_id: str | None, names: Iterable[str]) -> None:
    """FolderInUse unless the job may have the place.

    owner: the job that the mark names, None without mark. names: files that lie there. Unrelated ones are tolerated;
    another export's are not, since whoever reads `*.ndjson` there would read both.
    """
    if owner is not None:
        if owner == job_id:
            return
        whose = f"the export of job {owner}" if _is_segment(owner) else "an export that this version cannot name"
        how = (
            (
                f", or remove that one with `fhirferry jobs delete {owner}` (by hand, where the ledger does not know the job)"
            )
            if _is_segment(owner)
            else ""
        )
        raise FolderInUse(f"{where} holds {whose}; give another destination{how}")
    for name in names:
        if _belongs_to_an_export(name):
            raise FolderInUse(
                f"{where} holds {name!r}, which this export would mix with; give another destination, or move that file"
            )


def _belongs_to_an_export(name: str) -> bool:
    low = name.lower()
    return low in ("manifest.json", "sha256sums") or low.endswith((".ndjson", ".ndjson.gz", ".ndjson.zst"))


def _is_segment(text: str) -> bool:
    return 0 < len(text) <= _SEGMENT and text not in (".", "..") and _ALLOWED.issuperset(text)
