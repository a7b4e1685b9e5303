"""A kick-off understood as a whole, or refused with all that is wrong (B14-B16, B34, B40, B50, B54, S68)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fhirferry.bulkdata.kickoff import parse_export_url, query_pairs
from fhirferry.fhir.problems import RequestProblems
from fhirferry.model.job import JobSettings
from fhirferry.model.request import ExportRequest
from fhirferry.transforms import asking
from fhirferry.transforms.asking import USUALLY_REFERENCED, canonical, ignored, refuse_problems
from fhirferry.transforms.kickoff import Asked, asked


@pytest.fixture(autouse=True)
def all_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "NOT_YET", {})


def ask(query: str, level: str = "patient", handling: str = "strict", settings: JobSettings | None = None) -> Asked:
    group_id = "g" if level == "group" else None
    return asked(query_pairs(query), level=level, group_id=group_id, handling=handling, settings=settings)


def refused(query: str, level: str = "patient", handling: str = "strict") -> list[tuple[str, str, str]]:
    try:
        ask(query, level, handling)
    except RequestProblems as wrong:
        return [(one.parameter, one.value, one.reason) for one in wrong.problems]
    return []


def test_a_kick_off_becomes_the_canonical_request_with_its_url() -> None:
    url = (
        "https://h/fhir/Group/g/$export?_type=Patient,Device&includeReferenced=Device&_since=2026-11-22T09:30:00+01:00"
    )
    found = asked(query_pairs(url.partition("?")[2]), level="group", group_id="g", url=url, release="R4B").request
    assert found.url == url
    assert found == canonical(parse_export_url(url, release="R4B"))
    assert ask("").request == ExportRequest(level="patient", include_referenced=USUALLY_REFERENCED)


def test_b14_what_cannot_be_read_and_what_fhir_does_not_know_are_told_together() -> None:
    found = refused(
        "_type=patient,Observaton,Observation&_typeFilter=Patient?gendr=male&_typeFilter=Observation?_sort=date"
        "&_elements=a.b.c,Patient.nmae,Observation.cod&includeReferenced=practitioner,Devise&_since=x&patient=&_typ=x"
        "&organizeOutputBy=Encounter&_minimumFileSize=9&_maximumFileSize=5&referenceDepth=0&patientList=" + "0" * 64
    )
    assert [(parameter, value) for parameter, value, _ in found] == [
        ("_type", "patient"),
        ("_elements", "a.b.c"),
        ("includeReferenced", "practitioner"),
        ("_since", "x"),
        ("patient", ""),
        ("_typ", "x"),
        ("organizeOutputBy", "Encounter"),
        ("referenceDepth", "0"),
        ("patientList", "0" * 64),
        ("_minimumFileSize", "9"),
        ("_type", "Observaton"),
        ("includeReferenced", "Devise"),
        ("_typeFilter", "Observation?_sort=date"),
        ("_typeFilter", "Patient?gendr=male"),
        ("_elements", "Observation.cod"),
        ("_elements", "Patient.nmae"),
    ]
    reasons = {value: reason for _, value, reason in found}
    assert "did you mean 'Patient'" in reasons["patient"]
    assert "did you mean 'Practitioner'" in reasons["practitioner"]
    assert "did you mean '_type'" in reasons["x"]


def test_a_wrong_type_is_told_once_not_again_for_each_filter_and_element_of_it() -> None:
    for level in ("system", "patient"):
        query = "_type=patient&_typeFilter=Patient?gender=male&_elements=Patient.name"
        assert [parameter for parameter, _, _ in refused(query, level)] == ["_type"]
        query = "_type=observation,Device&_typeFilter=Observation?code=1&_elements=Observation.code,Device.type"
        assert [value for _, value, _ in refused(query, level)] == ["observation"]
        assert [value for _, value, _ in refused("_type=patient,Device", level)] == ["patient"]


def test_s68_l5_a_filter_needs_its_type_in_type() -> None:
    for query in ("_typeFilter=Patient?gender=male", "_type=Observation&_typeFilter=Patient?gender=male"):
        for handling in ("strict", "lenient"):
            ((parameter, value, _),) = refused(query, handling=handling)
            assert (parameter, value) == ("_typeFilter", "Patient?gender=male")


@pytest.mark.parametrize(
    "query",
    [
        "_typFilter=Patient?gender=male",
        "_summary=count",
        "_type=Patent",
        "_type=Practitioner",
        "_since=2026",
        "_type=Patient&_typeFilter=Patient?subject:Patient.name=x",
        "_type=Patient&_typeFilter=Patient?gender=male%26_include=x",
        "_elements=a.b.c",
        "patient=",
        "patient=x&patient=a_b",
        "includeAssociatedData=LatestProvenanceResource",
        "_outputFormat=text/csv",
    ],
)
def test_b50_lenient_refuses_what_could_bring_more_than_was_meant(query: str) -> None:
    assert refused(query, handling="lenient") == refused(query)
    assert refused(query)


def test_b16_lenient_lists_each_thing_that_it_passed_over() -> None:
    query = (
        "_type=Patient&_pretty=true&organizeOutputBy=Encounter&allowPartialManifests=true&includeReferenced=Devise,x"
        "&_elements=Patient.nmae&_minimumFileSize=10&_maximumFileSize=5"
    )
    found = ask(query, handling="lenient")
    told = [issue.diagnostics for issue in ignored(found.request)]
    named = [text.removeprefix("Passed over, as handling is lenient: ").partition(":")[0] for text in told]
    assert named == [
        "_minimumFileSize", "_pretty", "allowPartialManifests", "includeReferenced", "organizeOutputBy",
        "includeReferenced", "_elements",
    ]  # fmt: skip
    assert found.request.organize_output_by is None
    assert found.request.include_referenced == ("Devise",)
    assert (found.settings.min_file_size, found.settings.max_file_size) == (0, 5)
    refuse_problems(found.request, ())


def test_b16_verify_reads_a_lenient_kick_off_again_as_it_was() -> None:
    url = "https://h/fhir/Patient/$export?_pretty=true&includeReferenced=Device,device&organizeOutputBy=Encounter"
    found = asked(query_pairs(url.partition("?")[2]), level="patient", handling="lenient", url=url).request
    assert canonical(parse_export_url(url, handling="lenient")) == found


@pytest.mark.parametrize(
    ("query", "sizes"),
    [
        ("", (20, 100)),
        ("_maximumFileSize=50", (20, 50)),
        ("_maximumFileSize=500", (20, 100)),  # smaller than asked for keeps the promise too
        ("_maximumFileSize=10", (0, 10)),
        ("_minimumFileSize=30", (30, 100)),
        ("_minimumFileSize=30&_maximumFileSize=31", (30, 31)),
    ],
)
def test_b54_the_sizes_of_a_kick_off_are_within_the_operators(query: str, sizes: tuple[int, int]) -> None:
    operators = JobSettings(min_file_size=20, max_file_size=100, compression="gzip")
    found = ask(query, settings=operators).settings
    assert found == replace(operators, min_file_size=sizes[0], max_file_size=sizes[1])


@pytest.mark.parametrize(
    "query",
    ["_minimumFileSize=50&_maximumFileSize=50", "_minimumFileSize=1&_maximumFileSize=1", "_minimumFileSize=256000000"],
)
def test_b54_a_least_size_without_room_is_refused(query: str) -> None:
    ((parameter, _, reason),) = refused(query)
    assert parameter == "_minimumFileSize"
    assert "largest" in reason


@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_l1_a_list_that_only_a_ledger_knows_is_not_asked_for_from_outside(handling: str) -> None:
    ((parameter, _, _),) = refused("patientList=" + "a" * 64, handling=handling)
    assert parameter == "patientList"
