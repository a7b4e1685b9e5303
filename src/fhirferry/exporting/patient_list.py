"""Patients that are named one by one, be they three or a million."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec.structs import replace

from fhirferry.model.errors import RequestError
from fhirferry.model.request import ExportRequest

IN_REQUEST = 100
"""So many are named in the request itself; more are kept beside the record, and their hash in it."""

_RUN = 50_000  # ids that are sorted at a time; as texts they take 5 MB
_match = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})").fullmatch


def patient_id(text: str) -> str | None:
    """The id in `Patient/123` or `123`; None when it is neither (https://hl7.org/fhir/R4/datatypes.html#id)."""
    found = _match(text)
    return found[1] if found else None


class PatientList:
    """Ids in order of their code points, each once; goes through them again as often as it is asked.

    Kept as sorted runs of bytes, the length of the ids and one each: a million take 37 MB, not the 150 MB of as many
    texts. ids: each a bare id. RequestError for one that is none, and for nobody at all: who read no ids does not mean
    everybody (L1). sha256: in hex, of the ids, one a line; the same for the same patients in whatever order.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        from hashlib import sha256

        rest, self._runs = iter(ids), list[bytes]()
        while batch := set(islice(rest, _RUN)):
            wrong = sum(_match(each) is None or "/" in each for each in batch)
            if wrong:
                raise RequestError(
                    f"{wrong} of the patients are not named by an id: 1 to 64 letters, digits, '-' and '.'"
                )
            self._runs.append("".join(f"{each}\n" for each in sorted(batch)).encode("ascii"))
        digest, self.count = sha256(), 0
        for line in self._lines():
            digest.update(line)
            self.count += 1
        if not self.count:
            raise RequestError("an empty list of patients would export nothing; leave it out to export all patients")
        self.sha256 = digest.hexdigest()

    def __iter__(self) -> Iterator[str]:
        for line in self._lines():
            yield line[:-1].decode("ascii")

    def fields(self) -> dict[str, object]:
        """How an ExportRequest names them."""
        if self.count > IN_REQUEST:
            return {"patients": None, "patient_list": self.sha256}
        return {"patients": tuple(self), "patient_list": None}

    def _lines(self) -> Iterator[bytes]:
        # A newline comes before all that an id may hold, so lines are in order where ids are.
        from heapq import merge
        from io import BytesIO

        before = b""
        for line in merge(*map(BytesIO, self._runs)):
            if line != before:
                yield line
            before = line


def settle(request: ExportRequest, patients: Iterable[str] | None) -> tuple[ExportRequest, PatientList | None]:
    """The request as the ledger keeps it, however its patients were given; and those to be kept beside it, if so.

    patients: those that `request.patient_list` stands for, or those to narrow a request to that names none. RequestError
    when they are missing, or are others than the request names itself, as it does once it was settled.
    """
    if patients is None and request.patient_list is not None:
        raise RequestError("the request has the hash of a list of patients; give the list with it, as `patients`")
    given = patients if patients is not None else request.patients
    if given is None:
        return request, None
    listed = given if isinstance(given, PatientList) else PatientList(given)
    if request.patients is not None and patients is not None and tuple(listed) != request.patients:
        raise RequestError("patients are named twice, and not the same: in the request and in a list beside it")
    if request.patient_list not in (None, listed.sha256):
        raise RequestError("the list of patients is not the one whose hash the request has")
    settled = replace(request, **listed.fields())
    return settled, listed if settled.patient_list is not None else None
