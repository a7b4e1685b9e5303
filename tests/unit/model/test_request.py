"""A request is checked when it is made, and equal requests are equal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.model.errors import RequestError
from fhirferry.model.request import ExportRequest

NAMES = st.sampled_from(["Patient", "Observation", "Device", "Encounter"])


@given(st.lists(NAMES, min_size=1).flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_s81_order_and_doubles_of_types_make_no_difference(names: tuple[list[str], list[str]]) -> None:
    one, other = (ExportRequest(types=tuple(each)) for each in (names[0], names[1] + names[0]))
    assert one == other
    assert one.hash("me") == other.hash("me")
    assert one.types == tuple(sorted(set(names[0])))


def test_s81_the_hash_tells_requests_and_requestors_apart_but_not_urls() -> None:
    requests = [
        ExportRequest(),
        ExportRequest(types=("Patient",)),
        ExportRequest(since=1),
        ExportRequest(until=1),
        ExportRequest(since=1, until=2),
    ]
    hashes = {request.hash(who) for request in requests for who in ("me", "you", "")}
    assert len(hashes) == 3 * len(requests)
    assert ExportRequest(url="https://example.org/$export").hash("me") == ExportRequest().hash("me")


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": "group"},
        {"output_format": "text/csv"},
        {"types": ()},
        {"types": ("patient",)},
        {"types": ("Patient", "../etc")},
        {"types": ("",)},
        {"types": ("Pätient",)},
        {"since": 5, "until": 5},
        {"since": 6, "until": 5},
    ],
)
def test_a_request_that_cannot_be_honoured_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        ExportRequest(**wrong)  # type: ignore[arg-type]


def test_an_unknown_field_is_refused_and_a_known_one_survives_json() -> None:
    request = ExportRequest(types=("Patient",), since=1, url="u")
    assert msgspec.json.decode(msgspec.json.encode(request), type=ExportRequest) == request
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"elements": ["id"]}', type=ExportRequest)
