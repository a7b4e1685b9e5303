"""Bundles become resources: entries, references, deletions, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.importing.conftest import Run, basic

UUID = "urn:uuid:0d5a3c2e-0000-4000-8000-00000000000"


def bundle(kind: str, *entries: object) -> dict[str, object]:
    return {"resourceType": "Bundle", "id": "b", "type": kind, "entry": list(entries)}


def patient(number: int, **more: object) -> dict[str, object]:
    return {"fullUrl": f"{UUID}{number}", "resource": {"resourceType": "Patient", "id": f"p{number}"} | more}


def save(folder: Path, content: object, *, indent: int | None = 2, name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content, indent=indent) + "\n")
    return path


@pytest.mark.parametrize("kind", ["transaction", "batch", "collection", "searchset"])
@pytest.mark.parametrize(("indent", "name"), [(2, "a.json"), (None, "a.json"), (None, "a.ndjson"), (2, "noname")])
def test_bundles_are_unpacked_in_documents_and_in_lines(
    tmp_path: Path, run: Run, kind: str, indent: int | None, name: str
) -> None:
    done = run(save(tmp_path, bundle(kind, patient(1), patient(2)), indent=indent, name=name))
    assert (done.ids, done.bad) == (["Patient/p1", "Patient/p2"], [])


@pytest.mark.parametrize("kind", ["document", "message", "history", "transaction-response", "batch-response"])
def test_a_bundle_that_means_something_as_a_whole_is_one_resource(tmp_path: Path, run: Run, kind: str) -> None:
    content = bundle(kind, patient(1))
    assert run(save(tmp_path, content)).bodies == [content]


def test_references_to_entries_become_type_and_id_forwards_and_backwards(tmp_path: Path, run: Run) -> None:
    first = patient(1, link=[{"other": {"reference": f"{UUID}2"}}, {"other": {"reference": f"{UUID}1"}}])
    done = run(save(tmp_path, bundle("transaction", first, patient(2, extension=[{"url": f"{UUID}1"}]))))
    assert done.bodies[0]["link"] == [{"other": {"reference": "Patient/p2"}}, {"other": {"reference": "Patient/p1"}}]
    assert done.bodies[1]["extension"] == [{"url": "Patient/p1"}]


@pytest.mark.parametrize("indent", [None, 2])
def test_only_whole_string_values_that_address_an_entry_are_replaced(
    tmp_path: Path, run: Run, indent: int | None
) -> None:
    one = f"{UUID}1"
    untouched = {
        one: "a name",
        "text": [f"see {one}", f"{one}#part", f'"{one}', f'{one}"', f'\\"{one}', f'"{one}"', f"{one}\\", f"\\{one}"],
        "unknown": f"{UUID}7",
        "identifier": [{"system": "urn:ietf:rfc3986", "value": one}],
    }
    done = run(save(tmp_path, bundle("transaction", patient(1, **untouched)), indent=indent))
    assert done.bodies == [{"resourceType": "Patient", "id": "p1"} | untouched]


def test_a_resource_without_id_takes_its_uuid_or_the_place_where_it_is_put(tmp_path: Path, run: Run) -> None:
    entries = [
        {"fullUrl": f"{UUID}1", "resource": {"resourceType": "Basic", "subject": {"reference": f"{UUID}2"}}},
        {"fullUrl": f"{UUID}2", "resource": {"x": 1, "resourceType": "Patient"}}
        | {"request": {"method": "PUT", "url": "Patient/put"}},
        {"resource": {"resourceType": "Basic"}},
    ]
    done = run(save(tmp_path, bundle("transaction", *entries)))
    uuid = UUID.removeprefix("urn:uuid:") + "1"
    assert done.bodies == [
        {"resourceType": "Basic", "id": uuid, "subject": {"reference": "Patient/put"}},
        {"id": "put", "x": 1, "resourceType": "Patient"},
    ]
    assert done.bad == [("a.json", 0, "Bundle.entry[2]: id is missing")]


def test_tokens_of_an_entry_stay(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":\n%s}]}' % basic(1, ', "n" : 1.50'))
    (item,) = run(path).items
    assert item.body == basic(1, ',"n":1.50')  # type: ignore[union-attr]


def test_requests_of_entries_are_honoured_or_refused_never_ignored(tmp_path: Path, run: Run) -> None:
    def request(method: str, url: str) -> dict[str, object]:
        return {"request": {"method": method, "url": url}}

    done = run(
        save(
            tmp_path,
            bundle(
                "transaction",
                patient(1) | request("POST", "Patient"),
                request("DELETE", "Patient/p9"),
                request("DELETE", "https://example.org/fhir/Patient/p8"),
                request("DELETE", "Patient?identifier=secret"),
                request("GET", "Patient/p1"),
                patient(2) | request("PATCH", "Patient/p2"),
                {},
                7,
                {"resource": {"resourceType": "Patient", "id": 7}},
                patient(3),
            ),
        )
    )
    assert done.ids == ["Patient/p1", "-Patient/p9", "-Patient/p8", "Patient/p3"]
    assert [reason.partition(":")[0] for _, _, reason in done.bad] == [f"Bundle.entry[{n}]" for n in (3, 5, 6, 7, 8)]
    assert "secret" not in str(done.bad)


def test_outcomes_of_a_search_are_no_result_of_it(tmp_path: Path, run: Run) -> None:
    outcome = {"resource": {"resourceType": "OperationOutcome", "id": "o"}, "search": {"mode": "outcome"}}
    assert run(save(tmp_path, bundle("searchset", outcome, patient(1) | {"search": {"mode": "match"}}))).ids == [
        "Patient/p1"
    ]


@pytest.mark.parametrize("damage", [b"}", b'{"x":"\xff"}', b"[" * 99_999])
def test_a_broken_document_is_one_bad_file(tmp_path: Path, run: Run, damage: bytes) -> None:
    (tmp_path / "a.json").write_bytes(b'{"resourceType":"Bundle",\n"type":"batch","entry":[%s]}' % damage)
    done = run(tmp_path)
    assert done.ids == []
    assert [bad[:2] for bad in done.bad] == [("a.json", 0)]


def test_an_entry_with_broken_text_is_bad_alone(tmp_path: Path, run: Run) -> None:
    entries = b'{"resource":%s},{"fullUrl":"\xff","resource":%s},{"resource":%s}' % (
        basic(1, ',"x":"é"').decode().encode("latin-1"),
        basic(2),
        basic(3),
    )
    (tmp_path / "a.json").write_bytes(b'{"resourceType":"Bundle",\n"type":"batch","entry":[%s]}' % entries)
    done = run(tmp_path)
    assert done.ids == ["Basic/3"]
    assert len(done.bad) == 2


def test_all_51_bundles_resolve_every_reference(synthea: Path, run: Run) -> None:
    done = run(synthea)
    assert done.totals is not None
    assert (done.totals.bad, done.totals.files, done.totals.resources) == (0, 51, 18_418)
    assert done.totals.types["Observation"].new == 7_899
    ids = set(done.ids)
    for item in done.items:
        assert b"urn:uuid:" not in item.body  # type: ignore[union-attr]
    for body in done.bodies[::50]:
        for reference in _references(body):
            assert reference in ids or reference.startswith("#")


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        found = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return found + [reference for inner in value.values() for reference in _references(inner)]
    return [reference for inner in value for reference in _references(inner)] if isinstance(value, list) else []
