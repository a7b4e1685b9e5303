from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.definitions import load
from fhirferry.fhir.search.dates import FUTURE, date_range
from fhirferry.fhir.search.filters import read_type_filters
from fhirferry.fhir.search.hints import IndexHints, index_hints
from fhirferry.fhir.search.matching import compile_filters
from fhirferry.fhir.search.values import PREFIXES

R4 = load("R4")


def hints(*texts: str) -> IndexHints:
    return index_hints(read_type_filters(texts, R4).filters)


def test_ids_narrow_when_every_filter_names_some() -> None:
    assert hints("Patient?_id=a,b").ids == {"a", "b"}
    assert hints("Patient?_id=a,b&_id=b,c&gender=male").ids == {"b"}
    assert hints("Patient?_id=a", "Patient?_id=b").ids == {"a", "b"}
    assert hints("Patient?_id=a", "Patient?gender=male") == IndexHints()
    assert hints("Patient?_id:not=a").ids is None


def test_last_updated_narrows() -> None:
    start, end = date_range("2020") or (0, 0)
    assert hints("Patient?_lastUpdated=2020").updated == (start, end)
    assert hints("Patient?_lastUpdated=ge2020").updated == (start, FUTURE)
    assert hints("Patient?_lastUpdated=ge2020&_lastUpdated=lt2021").updated == (start, end)
    assert hints("Patient?_lastUpdated=ne2020").updated is None
    assert hints("Patient?_lastUpdated=ge2020", "Patient?_id=a").updated is None


def test_patients_narrow_where_all_that_is_looked_at_makes_membership() -> None:
    assert hints("Observation?patient=Patient/1,Patient/2").patients == {"1", "2"}
    assert hints("Observation?subject:Patient=1", "Observation?performer=http://h/Patient/2").patients == {"1", "2"}
    assert hints("Observation?patient=Patient/1&performer=Patient/2,Patient/3").patients == {"1"}, "the fewest"
    assert hints("Observation?patient=1").patients is None, "a bare id is found behind anything"
    assert hints("Observation?performer=Patient/1,Practitioner/2").patients is None
    assert hints("Observation?focus=Patient/1").patients is None, "makes no membership"
    assert hints("Observation?patient=Patient/1", "Observation?status=final").patients is None
    assert hints("Group?member=Patient/1").patients is None, "nobody keeps whose a Group is"
    assert hints("Observation?patient:missing=true").patients is None


DAYS = st.dates().map(str)
CONDITION = st.one_of(
    st.tuples(st.sampled_from(["", *PREFIXES]), DAYS).map("_lastUpdated={0[0]}{0[1]}".format),
    st.lists(st.sampled_from("abc"), min_size=1).map(lambda ids: "_id=" + ",".join(ids)),
    st.just("gender=male"),
)
FILTER = st.lists(CONDITION, min_size=1, max_size=3).map(lambda parts: "Patient?" + "&".join(parts))


@given(st.lists(FILTER, min_size=1, max_size=3), st.sampled_from("abc"), DAYS)
def test_no_hint_leaves_out_what_matches(texts: list[str], ident: str, day: str) -> None:
    filters = read_type_filters(texts, R4).filters
    updated = f"{day}T12:00:00Z"
    body = json.dumps({"resourceType": "Patient", "id": ident, "meta": {"lastUpdated": updated}, "gender": "male"})
    if compile_filters(filters, R4)(body.encode()):
        found = index_hints(filters)
        moment = (date_range(updated) or (0, 0))[0]
        assert found.ids is None or ident in found.ids
        assert found.updated is None or found.updated[0] <= moment < found.updated[1]
