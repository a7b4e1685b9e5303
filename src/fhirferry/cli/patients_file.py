"""A list of patients as people keep it: a file, or what another program writes."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fhirferry.exporting.patient_list import patient_id
from fhirferry.model.errors import RequestError

STDIN = "-"
_LONGEST = 1000  # bytes of a line that may still be one of a list
_TOLD = 5


def patients_from(place: str) -> Iterator[str]:
    """Ids, one a line, `Patient/123` or `123`; blank lines and what follows a `#` are passed over. place: a file, or `-`.

    RequestError when it cannot be read, names nobody (L1), or after the last line when some are none; it has their
    numbers and never their text: a wrong file may hold anything.
    """
    name = "stdin" if place == STDIN else place
    wrong: list[int] = []
    found = False
    try:
        with click.open_file(place, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
                text = line.removeprefix(b"\xef\xbb\xbf").partition(b"#")[0].strip().decode("utf-8", "replace")
                if not text:
                    if len(line) == _LONGEST:  # a remark, or blanks, of which we have not seen the end
                        wrong.append(number)
                        break
                    continue
                ident = patient_id(text)
                if ident is None:
                    wrong.append(number)
                    if len(line) == _LONGEST:
                        break
                    continue
                found = True
                yield ident
    except OSError as error:
        raise RequestError(f"cannot read the patients from {name}: {error.strerror}") from None
    if wrong:
        more = f" and {len(wrong) - _TOLD:,} more" if len(wrong) > _TOLD else ""
        lines = f"line{'s' * (len(wrong) > 1)} {', '.join(map(str, wrong[:_TOLD]))}{more}"
        raise RequestError(f"{name}, {lines}: no patient's id; write one a line, like 123 or Patient/123")
    if not found:
        raise RequestError(
            f"{name} names no patients, and nobody is not everybody; to export all patients: --all-patients"
        )
