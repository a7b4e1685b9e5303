"""The kick-off URL to and fro, and its parameters read: nothing lost, nothing made up, all problems at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fhirferry.bulkdata.kickoff import export_url, parse_export_url, query_pairs
from fhirferry.bulkdata.kickoff_reading import PARAMETERS, Reading, read_kickoff
from fhirferry.model.errors import RequestError
from fhirferry.model.instant import parse_instant
from fhirferry.model.request import ASSOCIATED, LEVELS, ExportRequest

T = parse_instant("2026-11-22T08:30:00.123Z")
INSTANTS = st.integers(min_value=-(10**16), max_value=10**17)
IDS = st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True) | st.sampled_from(["Patient", "Group", "."])
TYPES = st.from_regex(r"[A-Z][A-Za-z]{0,8}", fullmatch=True)
ELEMENTS = st.from_regex(r"([A-Z][A-Za-z]{0,5}\.)?[a-z][A-Za-z0-9]{0,5}(\[x\])?", fullmatch=True)
BASES = (
    "https://host/fhir",
    "sqlite:///srv/store.db",
    "sqlite:///srv/Group/store.db",
    "sqlite:///srv/Patient",
    "sqlite:///srv/Group",
    "sqlite:///srv/Group/Patient",
    "sqlite:///my%20Group/Patient/x",
)


@st.composite
def requests(draw: st.DrawFn) -> ExportRequest:
    """Any request, all fields of it, as `ExportRequest` takes them."""

    def some(values: st.SearchStrategy[str]) -> tuple[str, ...]:
        return tuple(draw(st.lists(values, max_size=3)))

    level = draw(st.sampled_from(LEVELS))
    since, until = sorted(draw(st.tuples(INSTANTS, INSTANTS).filter(lambda both: both[0] != both[1])))
    named = draw(st.sampled_from(["patients", "patient_list", "nobody"])) if level != "system" else "nobody"
    changes = draw(st.booleans())
    cohort = changes and (level == "group" or named != "nobody")
    return ExportRequest(
        level=level,
        group_id=draw(IDS) if level == "group" else None,
        types=some(TYPES) or None,
        since=since if changes else None,
        until=until if draw(st.booleans()) else None,
        patients=(some(IDS) or ("a",)) if named == "patients" else None,
        patient_list=draw(st.text("0123456789abcdef", min_size=64, max_size=64)) if named == "patient_list" else None,
        type_filters=some(st.text(st.characters(exclude_categories=("Cs",)), min_size=1)),
        elements=some(ELEMENTS),
        include_associated_data=some(st.sampled_from(ASSOCIATED)),
        include_referenced=some(TYPES) if draw(st.booleans()) else None,
        reference_depth=draw(st.integers(1, 3)),
        organize_output_by=draw(st.sampled_from([None, "Patient"])) if level != "system" else None,
        new_members=draw(st.sampled_from(["full", "since"])) if cohort else "since",
        left_members=draw(st.sampled_from(["keep", "delete"])) if cohort else "keep",
        handling=draw(st.sampled_from(["strict", "lenient"])),
        release=draw(st.sampled_from(["R4", "R4B"])),
    )


@given(base=st.sampled_from(BASES), request=requests())
@example(base="sqlite:///srv/Group", request=ExportRequest(level="patient"))
@example(base="sqlite:///srv/Group/store.db", request=ExportRequest())
@example(base="sqlite:///srv", request=ExportRequest(level="group", group_id="Patient"))
@example(base="https://h", request=ExportRequest(include_referenced=()))
def test_b1_to_b54_a_kick_off_url_says_exactly_the_request(base: str, request: ExportRequest) -> None:
    url = export_url(base, request)
    assert url.isascii()
    assert not set(url) & set(' "<>\\^`{}|+')
    again = parse_export_url(url, handling=request.handling, release=request.release)
    assert again.url == url
    assert replace(again, url="") == request
    assert export_url(base, again) == url


def test_every_field_of_a_request_is_in_the_property_above() -> None:
    """A new field must not be forgotten on its way into the manifest and back."""
    filled = {parameter.field for parameter in PARAMETERS.values()} - {""}
    elsewhere = {"url", "level", "group_id", "handling", "passed_over", "release"}
    assert filled | elsewhere == set(ExportRequest.__struct_fields__)


def test_b1_b2_b3_the_address_is_that_of_the_level_and_defaults_are_left_out() -> None:
    assert export_url("https://h/fhir/", ExportRequest()) == "https://h/fhir/$export"
    assert export_url("https://h/fhir", ExportRequest(level="patient")) == "https://h/fhir/Patient/$export"
    request = ExportRequest(
        level="group",
        group_id="g.1",
        types=("Patient", "Observation"),
        patients=("b", "a"),
        since=T,
        include_associated_data=("_history",),
        include_referenced=(),
        new_members="full",
        left_members="delete",
    )
    assert export_url("https://h/fhir", request) == (
        "https://h/fhir/Group/g.1/$export?_type=Observation,Patient&_since=2026-11-22T08:30:00.123Z"
        "&patient=Patient/a,Patient/b&includeAssociatedData=_history&includeReferenced=&newMembers=full&leftMembers=delete"
    )


def test_export_url_is_a_url_whatever_the_base() -> None:
    request = ExportRequest(types=("Patient",))
    assert (
        export_url("file:///my data/ü#1.db/?mode=ro", request) == "file:///my%20data/%C3%BC#1.db/$export?_type=Patient"
    )
    assert export_url("https://h/a%20b", ExportRequest()) == "https://h/a%20b/$export"
    assert export_url("sqlite:///a/Group/x.db", ExportRequest()) == "sqlite:///a/%47roup/x.db/$export"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", ExportRequest()),
        ("?_type=Patient&_type=Observation", ExportRequest(types=("Observation", "Patient"))),
        ("?_type=Patient%2CObservation", ExportRequest(types=("Observation", "Patient"))),
        ("?_type=Patient,%20Observation", ExportRequest(types=("Observation", "Patient"))),
        ("?%5Ftype=Patient", ExportRequest(types=("Patient",))),
        ("?_since=2026-11-22T09:30:00.123+01:00", ExportRequest(since=T)),
        ("?_since=2026-11-22T09:30:00.123%2B01:00", ExportRequest(since=T)),
        ("?_since=2026-11-22T09:30:00.123%2001:00", ExportRequest(since=T)),
        ("?_since=2026-11-22T08%3A30%3A00.1230009Z", ExportRequest(since=T)),
        ("?_until=2026-11-22T08:30:00.1230009Z", ExportRequest(until=T + 1)),
        ("?_outputFormat=ndjson", ExportRequest()),
        ("?_outputFormat=application/fhir+ndjson", ExportRequest()),
        ("?_outputFormat=application%2Fndjson", ExportRequest()),
        ("?allowPartialManifests=false", ExportRequest()),
        ("?includeReferenced=", ExportRequest(include_referenced=())),
        ("?includeReferenced=&includeReferenced=Device", ExportRequest(include_referenced=("Device",))),
    ],
)
def test_b6_b27_b32_other_spellings_of_a_request_are_understood(query: str, wanted: ExportRequest) -> None:
    for operation in ("$export", "%24export"):
        assert replace(parse_export_url(f"https://h/fhir/{operation}{query}"), url="") == wanted


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://h/fhir/Patient", "not a kick-off URL"),
        ("", "not a kick-off URL"),
        ("https://h/fhir/Group/a_b/$export", "group: 'a_b'"),
        ("https://h/fhir/$export?_elements=name.family", "not an element at the root"),
        ("https://h/fhir/$export?_typeFilter=", "_typeFilter: '': is empty"),
        ("https://h/fhir/$export?organizeOutputBy=Patient", "organizeOutputBy=Patient needs"),
        ("https://h/fhir/$export?_type=", "not a resource type"),
        ("https://h/fhir/$export?_since=2026", "is no instant"),
        ("https://h/fhir/$export?_since=2026-11-22T08:30:00Z&_since=2026-11-22T08:30:00Z", "twice"),
        ("https://h/fhir/$export?_outputFormat=parquet", "parquet"),
        ("https://h/fhir/$export?_since=x&_until=y", "(?s)_since: 'x': .*\n_until: 'y': "),
    ],
)
def test_b35_a_kick_off_that_cannot_be_honoured_is_refused(url: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        parse_export_url(url)


def read(query: str, level: str = "patient", handling: str = "strict") -> Reading:
    return read_kickoff(query_pairs(query), level=level, group_id="g" if level == "group" else None, handling=handling)


WRONG = {
    "_outputFormat": ["parquet", ""],
    "_since": ["2026", "", "yesterday"],
    "_until": ["2026-11-22T08:30:00"],
    "_type": ["patient", "", "Patient/1", "Patient,"],
    "_typeFilter": [""],
    "_elements": ["a.b.c", "", "Patient."],
    "patient": ["", "Group/1", "https://other/fhir/Patient/1", "Patient/a_b", "a,"],
    "patientList": ["", "ab", "A" * 64],
    "includeAssociatedData": ["", "_custom", "latestProvenanceResources"],
    "includeReferenced": ["practitioner", "Device,", "Device,,Location"],
    "referenceDepth": ["0", "-1", "", "1.0", "two", "1_0", "٣", "9" * 5000],
    "newMembers": ["all", ""],
    "leftMembers": ["forget", ""],
    "organizeOutputBy": ["Practitioner", "patient", ""],
    "_minimumFileSize": ["0", "-1", "1MB", ""],
    "_maximumFileSize": ["0", "1e6"],
    "allowPartialManifests": ["true", "yes", ""],
    "_format": ["json"],
    "_pretty": ["true"],
    "_summary": ["true"],
    "_typFilter": ["Patient?active=true"],
    "_Type": ["Patient"],
}
PASSED_OVER = {
    "includeReferenced", "organizeOutputBy", "_minimumFileSize", "_maximumFileSize", "allowPartialManifests", "_format",
    "_pretty",
}  # fmt: skip
CASES = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_b14_b35_a_wrong_value_is_refused_by_parameter_value_and_reason(name: str, value: str) -> None:
    reading = read_kickoff([(name, value)], level="patient")
    assert reading.problems
    for parameter, told, reason in reading.problems:
        assert parameter == name
        assert told in value
        assert len(reason) > 8
    assert reading.request.passed_over == ()


@pytest.mark.parametrize(("name", "value"), CASES)
def test_b15_b16_b50_lenient_passes_over_only_what_cannot_widen_disclosure(name: str, value: str) -> None:
    strict = read_kickoff([(name, value)], level="patient")
    lenient = read_kickoff([(name, value)], level="patient", handling="lenient")
    if name in PASSED_OVER:
        assert lenient.problems == ()
        assert lenient.request.passed_over == tuple(sorted(f"{n}: {v!r}: {why}" for n, v, why in strict.problems))
    else:
        assert lenient.problems == strict.problems


def test_every_parameter_is_tried_with_a_wrong_value() -> None:
    assert set(PARAMETERS) <= set(WRONG)
    assert {name for name, parameter in PARAMETERS.items() if parameter.passable} == PASSED_OVER


def test_b50_what_is_passed_over_never_falls_back_to_the_default_that_brings_more() -> None:
    """Somebody who named what should come along does not get what usually does."""
    assert read("includeReferenced=practitioner", handling="lenient").request.include_referenced == ()
    reading = read("includeReferenced=practitioner,Device", handling="lenient")
    assert reading.request.include_referenced == ("Device",)
    assert len(reading.request.passed_over) == 1


def test_b14_all_that_is_wrong_is_told_at_once() -> None:
    reading = read(
        "_type=patient,Observation&_since=x&bogus=1&patient=a_b&_since=y&newMembers=full&_minimumFileSize=0", "system"
    )
    assert [(name, value) for name, value, _ in reading.problems] == [
        ("_type", "patient"),
        ("_since", "x,y"),
        ("bogus", "1"),
        ("patient", "a_b"),
        ("_minimumFileSize", "0"),
    ]  # and nothing of newMembers: what it needs is wrong itself
    assert reading.request.types == ("Observation",)


@pytest.mark.parametrize("name", [name for name, parameter in PARAMETERS.items() if not parameter.repeats])
def test_b14_what_is_given_twice_is_refused_though_it_says_the_same(name: str) -> None:
    ((parameter, _, reason),) = read_kickoff([(name, "x"), (name, "x")], level="patient").problems
    assert parameter == name
    assert "twice" in reason


@pytest.mark.parametrize(
    ("level", "query", "parameter", "says"),
    [
        ("system", "patient=Patient/1", "patient", "not in one of the system"),  # B40
        ("system", "patientList=" + "0" * 64, "patientList", "not in one of the system"),
        ("system", "organizeOutputBy=Patient", "organizeOutputBy", "needs an export of patients"),
        ("patient", "patient=a&patientList=" + "0" * 64, "patientList", "named twice"),
        ("patient", "newMembers=full", "newMembers", "with _since"),
        ("group", "leftMembers=delete", "leftMembers", "with _since"),
        ("system", "_until=2026-11-22T08:30:00Z&_since=2026-11-22T08:30:00Z", "_until", "earlier"),
    ],
)
def test_b40_what_contradicts_is_told_by_its_own_name(level: str, query: str, parameter: str, says: str) -> None:
    ((name, value, reason),) = read(query, level).problems
    assert name == parameter
    assert value
    assert says in reason
    ((other, *_),) = read("&".join(reversed(query.split("&"))), level).problems
    assert other == parameter  # in whatever order they came


def test_unknown_names_get_the_nearest_right_one() -> None:
    for name, near in (("_typFilter", "_typeFilter"), ("since", "_since"), ("includereferenced", "includeReferenced")):
        ((_, _, reason),) = read(f"{name}=1").problems
        assert f"did you mean {near!r}" in reason
    ((_, _, reason),) = read("zzz=1").problems
    assert all(name in reason for name in PARAMETERS)


def test_b54_sizes_are_for_the_job() -> None:
    reading = read("_minimumFileSize=1000&_maximumFileSize=2000")
    assert (reading.min_file_size, reading.max_file_size, reading.problems) == (1000, 2000, ())
    assert (read("").min_file_size, read("").max_file_size) == (None, None)


def test_b39_patients_are_named_with_or_without_their_type() -> None:
    assert read("patient=Patient/a,b&patient=Patient/c").request.patients == ("a", "b", "c")


def test_start_up_a_manifest_is_written_without_what_reads_kick_offs() -> None:
    code = (
        "import sys, fhirferry.bulkdata.manifest as m\n"
        "from fhirferry.model.request import ExportRequest\n"
        "m.export_url('sqlite:///s.db', ExportRequest(types=('Patient',)))\n"
        "print([n for n in sys.modules if n.endswith('kickoff_reading') or n.startswith('urllib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_tells_of_every_parameter_and_of_what_lenient_handling_passes_over() -> None:
    def first(heading: str, after: str = "\n") -> set[str]:
        section = re.split(r"(?m)^## ", page.partition(f"\n## {heading}\n")[2])[0].partition(after)[2]
        rows = re.findall(r"(?m)^\| (`.+?) \|", section.partition("\n\nRefused in")[0])
        return {name for row in rows for name in re.findall(r"`(\w+)`", row.partition(":")[0])}

    page = (Path(__file__).parents[3] / "docs" / "kick-off.md").read_text("utf-8")
    assert first("Parameters") == set(PARAMETERS)
    assert first("Lenient handling") == PASSED_OVER | {"_elements"}
    assert first("Lenient handling", "Refused in either case") == (set(PARAMETERS) - PASSED_OVER)
    fields = dict(re.findall(r"(?m)^\| `(\w+)` \|.*\| `(\w+)` \|$", page))
    assert fields == {
        name: parameter.field for name, parameter in PARAMETERS.items() if hasattr(_PLAIN, parameter.field)
    }


_PLAIN = ExportRequest()
