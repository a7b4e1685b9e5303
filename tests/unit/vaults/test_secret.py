"""A secret shows itself to nobody who does not ask by `reveal()`."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fhirferry.model.errors import PermanentError
from fhirferry.vaults.secret import MASK, DestinationSecret, Secret, connection_hash, destination_secret

CANARY = "kanarie" + "vogel"


class Holder(msgspec.Struct, frozen=True):
    secret: Secret


SHOWS: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": lambda s: f"{s:>80}",
    "percent": lambda s: "%s %r" % (s, s),  # noqa: UP031
    "in a list": lambda s: str([s]),
    "in a struct": lambda s: repr(Holder(s)),
    "a job's": lambda s: repr(DestinationSecret("folder", s)),
    "pprint": pprint.pformat,
    "json's way out": lambda s: json.dumps({"s": s}, default=str),
    "msgspec's way out": lambda s: msgspec.json.encode(Holder(s), enc_hook=str).decode(),
    "log": lambda s: logging.LogRecord("n", 1, "p", 1, "%s", (s,), None).getMessage(),
    "dir": lambda s: repr(
        [getattr(s, name) for name in dir(s) if not name.startswith("_Secret__") and name != "reveal"]
    ),
}


@pytest.mark.parametrize("show", SHOWS.values(), ids=SHOWS.keys())
def test_no_way_of_showing_shows_it(show: Callable[[Secret], str]) -> None:
    assert CANARY not in show(Secret(CANARY))


WRITES: dict[str, Callable[[Secret], Any]] = {
    **{f"pickle {n}": lambda s, n=n: pickle.dumps(s, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},  # type: ignore[misc]
    "pickled in a struct": lambda s: pickle.dumps(Holder(s)),
    "json": lambda s: json.dumps({"s": s}),
    "msgspec json": lambda s: msgspec.json.encode(Holder(s)),
    "msgspec messagepack": lambda s: msgspec.msgpack.encode(Holder(s)),
    "msgspec builtins": lambda s: msgspec.to_builtins(Holder(s)),
    "vars": vars,
    "state": lambda s: s.__getstate__(),
    "bytes": lambda s: bytes(s),  # type: ignore[call-overload]
    "iteration": lambda s: list(s),  # type: ignore[call-overload]
    "hash": hash,
    "length": lambda s: len(s),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_what_would_write_it_down_is_refused(write: Callable[[Secret], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        write(Secret(CANARY))
    assert CANARY not in str(caught.value)


def test_copies_are_the_secret_itself() -> None:
    secret = Secret(CANARY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": [secret]})["a"][0] is secret


def test_equal_texts_are_equal_and_the_mask_is_not_the_text() -> None:
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != Secret("b")
    assert Secret(MASK) != MASK


def test_a_secret_of_something_else_than_text_is_refused_and_not_shown() -> None:
    with pytest.raises(TypeError) as caught:
        Secret(CANARY.encode())  # type: ignore[arg-type]
    assert CANARY not in str(caught.value)


def test_a_jobs_secret_names_type_and_connection_string_S9_S14() -> None:
    text = '{"destinationType": "azure-blob", "destinationConnectionString": "AccountKey=\\u0041==", "more": 1}'
    found = destination_secret("job-1", Secret(text))
    assert (found.kind, found.connection.reveal()) == ("azure-blob", "AccountKey=A==")


@pytest.mark.parametrize(
    "text",
    [
        f"AccountKey={CANARY}",
        f'{{"destinationType": "folder", "{CANARY}": "x"}}',
        f'{{"destinationType": "folder", "destinationConnectionString": ["{CANARY}"]}}',
        f'{{"destinationType": 1, "destinationConnectionString": "{CANARY}"}}',
        f'["{CANARY}"]',
        f'{{"destinationType": "folder", "destinationConnectionString": "{CANARY}',
        "",
        f"\ud800{CANARY}",
    ],
)
def test_a_text_of_another_form_fails_the_job_400_and_is_quoted_nowhere(text: str) -> None:
    secret = Secret(text)
    del text
    with pytest.raises(PermanentError, match=r"'job-1' is not JSON of the form \{\"destinationType\"") as caught:
        destination_secret("job-1", secret)
    assert caught.value.status_code == 400
    trace = caught.value.__traceback__
    assert trace is not None
    trace = trace.tb_next  # without this test's own frame, whose parameters pytest keeps
    shown = traceback.TracebackException(type(caught.value), caught.value, trace, capture_locals=True)
    assert CANARY not in "".join(shown.format())


def test_no_connection_string_hashes_to_nothing_and_any_other_to_its_own_S37() -> None:
    assert connection_hash(Secret("")) == ""
    assert connection_hash(Secret("a")) == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert len({connection_hash(Secret(text)) for text in ("a", "A", "a ", " a", "a;")}) == 5
