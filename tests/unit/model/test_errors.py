"""Errors are sorted by what the reader does next, and cross process borders whole."""

from __future__ import annotations

import pickle

import pytest

from fhirferry.model import errors
from fhirferry.model.errors import FerryError, PermanentError, RequestError, TransientError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FerryError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling_with_class_code_and_details(kind: type[FerryError]) -> None:
    error = kind("It broke.", status_code=418, details="in the kitchen")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.status_code, again.details, str(again)) == (
        "It broke.",
        418,
        "in the kitchen",
        "It broke.",
    )
    assert vars(again) == vars(error)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, TransientError)])
def test_how_long_to_wait_survives_too(kind: type[TransientError]) -> None:
    assert pickle.loads(pickle.dumps(kind("Later.", retry_after=2.5))).retry_after == 2.5
    assert kind("Later.").retry_after is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_which_of_four_things_to_do(kind: type[FerryError]) -> None:
    branches = [
        branch
        for branch in (RequestError, errors.JobConflict, TransientError, PermanentError)
        if issubclass(kind, branch)
    ]
    assert len(branches) == (kind is not FerryError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_code_fits_its_branch(kind: type[FerryError]) -> None:
    code = kind("x").status_code
    assert (400 <= code < 500) if issubclass(kind, RequestError | errors.JobConflict) else 400 <= code < 600
