"""The set is whole: every reference leads to a resource of it, and what belongs together says so."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.samples.conftest import Resources

# Issue 3, item 1, in its order.
ASKED = {
    *(
        "Patient",
        "Encounter",
        "Condition",
        "Observation",
        "MedicationRequest",
        "Medication",
        "Procedure",
        "Immunization",
    ),
    *("AllergyIntolerance", "DiagnosticReport", "DocumentReference", "CarePlan", "CareTeam", "Claim"),
    *("ExplanationOfBenefit", "Coverage", "Practitioner", "PractitionerRole", "Organization", "Location", "Device"),
    *("Provenance", "Group"),
}
SUBJECTS = ("subject", "patient", "beneficiary", "subscriber")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def names(resources: Resources) -> list[str]:
    return [f"{each['resourceType']}/{each['id']}" for found in resources.values() for each in found]


def test_all_types_that_were_asked_for_are_there_and_each_in_its_file(resources: Resources) -> None:
    assert resources.keys() == ASKED
    for kind, found in resources.items():
        assert {each["resourceType"] for each in found} == {kind}


@pytest.mark.parametrize("which", ["resources", "odd_resources"])
def test_every_reference_resolves_and_every_id_is_there_once(which: str, request: pytest.FixtureRequest) -> None:
    resources: Resources = request.getfixturevalue(which)
    there = Counter(names(resources))
    assert set(there.values()) == {1}
    missing = {ref for found in resources.values() for each in found for ref in references(each)} - there.keys()
    assert not missing


def test_what_a_patient_has_stays_with_the_patient(resources: Resources) -> None:
    """Between resources of a patient there is no reference to another patient's."""
    owner: dict[str, str] = {}
    for kind, found in resources.items():
        for each in found:
            subject = next((each[name]["reference"] for name in SUBJECTS if name in each), None)
            if subject is not None:
                owner[f"{kind}/{each['id']}"] = subject
    for kind, found in resources.items():
        for each in found:
            me = owner.get(f"{kind}/{each['id']}")
            for ref in references(each):
                assert me is None or owner.get(ref, me) == me


def test_histories_go_over_years_from_birth_to_the_end(resources: Resources) -> None:
    born = {f"Patient/{each['id']}": each["birthDate"] for each in resources["Patient"]}
    died = {f"Patient/{each['id']}": each.get("deceasedDateTime", "9") for each in resources["Patient"]}
    days = {}
    for visit in resources["Encounter"]:
        who, start, end = visit["subject"]["reference"], visit["period"]["start"], visit["period"]["end"]
        assert born[who] <= start < end
        assert start[:10] <= died[who][:10]
        days.setdefault(who, []).append(start)
    spans = sorted(int(max(starts)[:4]) - int(min(starts)[:4]) for starts in days.values())
    assert spans[len(spans) // 2] >= 5
    assert len(set(died.values())) > 1


def test_last_updated_is_spread_over_the_years_and_never_before_the_fact_or_after_the_end(resources: Resources) -> None:
    years, versions = Counter(), Counter()
    facts = ("recordedDate", "effectiveDateTime", "authoredOn", "created", "recorded", "occurrenceDateTime", "date")
    for found in resources.values():
        for each in found:
            updated = each["meta"]["lastUpdated"]
            assert updated < "2026"
            assert all(each[fact][:10] <= updated[:10] for fact in facts if fact in each)
            years[updated[:4]] += 1
            versions[each["meta"]["versionId"]] += 1
    assert len(years) > 20
    assert len(versions) > 3


def test_claims_and_answers_add_up_to_the_cent(resources: Resources) -> None:
    def cents(money: dict[str, str]) -> int:
        whole, _, rest = money["value"].partition(".")
        assert len(rest) == 2
        return int(whole + rest)

    for claim in resources["Claim"]:
        assert cents(claim["total"]) == sum(cents(item["net"]) for item in claim["item"])
    for answer in resources["ExplanationOfBenefit"]:
        for place, total in enumerate(answer["total"]):
            assert cents(total["amount"]) == sum(
                cents(item["adjudication"][place]["amount"]) for item in answer["item"]
            )
        assert answer["payment"]["amount"] == answer["total"][-1]["amount"]


def test_sizes_are_spread_like_real_data(folder: Path) -> None:
    sizes = sorted(
        len(line) for path in folder.iterdir() if path.stem != "Group" for line in path.read_bytes().splitlines()
    )
    count = len(sizes)
    assert 60 <= count / 60 <= 100
    assert sizes[0] < 500
    assert 800 <= sizes[count // 2] <= 1_500
    assert sizes[count * 95 // 100] > 3_000
    assert sizes[-1] > 20_000
    notes = [len(line) for line in (folder / "DocumentReference.ndjson").read_bytes().splitlines()]
    assert min(notes) < 2_500
    assert max(notes) > 12_000


def test_names_are_of_many_scripts(folder: Path) -> None:
    text = (folder / "Patient.ndjson").read_text(encoding="utf-8")
    practitioners = (folder / "Practitioner.ndjson").read_text(encoding="utf-8")
    both = text + practitioners
    assert "\\u" not in text
    for character in "éñ":
        assert character in both
    assert any("\u4e00" <= character <= "\u9fff" for character in both)


def test_decimals_keep_noughts_and_digits_that_no_double_has(folder: Path) -> None:
    text = (folder / "Observation.ndjson").read_bytes()
    assert b'"value":1.50,' in text
    assert b'"value":100000000000000000000.1,' in text
    assert b"e+" not in text


def test_each_measure_has_its_number_of_decimals(resources: Resources) -> None:
    places: dict[str, set[int]] = {}
    for each in resources["Observation"]:
        value = each.get("valueQuantity", {}).get("value")
        if value is not None:
            places.setdefault(each["code"]["text"], set()).add(len(str(value).partition(".")[2]))
    assert all(len(found) == 1 for found in places.values())
    assert {0, 1, 2, 3} <= set().union(*places.values())


def test_panels_have_components_and_documents_have_text(resources: Resources) -> None:
    codes = {each["code"]["coding"][0]["code"]: each for each in resources["Observation"] if "coding" in each["code"]}
    pressure = codes["85354-9"]
    assert [part["code"]["coding"][0]["code"] for part in pressure["component"]] == ["8480-6", "8462-4"]
    assert len(codes["24357-6"]["component"]) == 5
    reports = [each for each in resources["DiagnosticReport"] if len(each["result"]) > 3]
    assert reports
    for each in resources["DocumentReference"]:
        attachment = each["content"][0]["attachment"]
        text = base64.b64decode(attachment["data"], validate=True)
        assert len(text) == attachment["size"]
        assert "\n\n" in text.decode()


def test_lines_are_compact_and_end_with_a_newline(folder: Path) -> None:
    """So that an import takes them byte by byte as they are."""
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data.endswith(b"}\n")
        for line in data.splitlines()[:100]:
            assert msgspec.json.format(line, indent=-1) == line
