"""The conformance suite of what a source may do with type filters. Used as `source_suite.SourceSuite` is.

A source may leave out what no filter of a type lets through, as an index tells it, or nothing at all: the filters are
evaluated on what it gives. So the tests do that too, and look at what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fhirferry.fhir.definitions import load
from fhirferry.fhir.search.filters import read_type_filters
from fhirferry.fhir.search.matching import compile_filters
from fhirferry.model.instant import DAY, Instant, format_instant
from fhirferry.model.partition import PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.testing.cohort_suite import fill
from fhirferry.testing.source_suite import START, Dock, Exported, export, of, shares


def matching(exported: Exported, filters: Sequence[str]) -> set[str]:
    """Names of what came and passes the filters."""
    read = read_type_filters(filters, load())
    tests = {kind: compile_filters(read.of(kind), load()) for kind in read.types}
    lines = zip(exported.values, exported.lines, strict=True)
    return {name for name, line in lines if tests.get(name.split("/")[0], bool)(line)}


def found(dock: Dock, t: Instant, *filters: str, **options: Any) -> set[str]:
    """What an export with these filters is left with; the type is the filters'."""
    kinds = tuple({text.partition("?")[0] for text in filters})
    return matching(export(dock.source, t, types=kinds, type_filters=filters, **options), filters)


class HintsSuite:
    """What filters promise whatever the source made of them, as tests."""

    def test_ids_are_found_as_they_were_at_t(self, dock: Dock) -> None:
        for number in range(30):
            dock.put(f"Observation/{number}", size=100)
        dock.delete("Observation/3")
        dock.put("Observation/4", "new")
        t = dock.source.snapshot("job")
        dock.put("Observation/5", "later")
        dock.put("Observation/3", "later")
        dock.delete("Observation/6")
        wanted = "Observation?_id=" + ",".join(map(str, range(3, 20)))
        for options in ({}, {"max_resources": 1, "target_bytes": 200}):
            names = found(dock, t, wanted, "Observation?_id=25,nobody", **options)
            assert names == {f"Observation/{number}" for number in (*range(4, 20), 25)}
        lines = export(dock.source, t, types=("Observation",), type_filters=["Observation?_id=4,5"]).values
        assert (lines["Observation/4"], lines["Observation/5"]) == ("new", 0)
        assert found(dock, t, "Observation?_id=1&_id=2") == set()

    def test_a_filter_that_names_none_lets_all_ids_through(self, dock: Dock) -> None:
        for number in range(5):
            dock.put(f"Observation/{number}", status="final" if number else "amended")
        t = dock.source.snapshot("job")
        assert found(dock, t, "Observation?_id=1", "Observation?status=amended") == {"Observation/0", "Observation/1"}
        assert found(dock, t, "Observation?_id:not=1") == {f"Observation/{number}" for number in (0, 2, 3, 4)}

    def test_ids_with_since_until_and_level(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.put("Observation/nobody")
        since = dock.source.snapshot("one")
        dock.put("Observation/b", "new", subject=of("b"))
        dock.put("Observation/a", "new", subject=of("a"))
        dock.delete("Observation/c")
        middle = dock.source.snapshot("two")
        dock.put("Observation/b", "newer", subject=of("b"))
        t = dock.source.snapshot("three")
        wanted = "Observation?_id=a,b,c,nobody"
        assert found(dock, t, wanted, since=since) == {"Observation/a", "Observation/b"}
        assert found(dock, t, wanted, since=since, until=middle + 1) == {"Observation/a"}
        assert found(dock, t, wanted, level="patient") == {"Observation/a", "Observation/b"}
        assert found(dock, t, wanted, level="patient", patients=("b", "c")) == {"Observation/b"}
        told = export(dock.source, t, types=("Observation",), type_filters=["Observation?_id=a"], since=since)
        assert told.deleted == ["Observation/c"], "no filter is evaluated on deletions"

    def test_ids_of_a_patient_who_is_taken_whole(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        since = dock.source.snapshot("one")
        dock.put("Observation/a2", subject=of("a"))
        t = dock.source.snapshot("two")
        wanted = "Observation?_id=a,a2,b"
        options: dict[str, Any] = {"level": "patient", "patients": ("a", "b"), "since": since}
        assert found(dock, t, wanted, whole=["b"], **options) == {"Observation/a2", "Observation/b"}
        new = "Observation?_lastUpdated=ge2000"
        assert found(dock, t, new, whole=["b"], **options) == {"Observation/a2", "Observation/b"}

    def test_last_updated_is_what_the_resource_says(self, dock: Dock) -> None:
        """Loaded late, it is older than the change that it is; and one in the future is replaced."""
        for number in range(20):
            dock.put(f"Observation/{number}", updated=START - number * DAY)
        dock.source.snapshot("before")
        dock.put("Observation/late", updated=START - 5 * DAY)
        dock.put("Observation/later", updated=START - 50 * DAY)
        dock.put("Observation/future", updated=START + 50 * DAY)
        dock.put("Observation/now")
        t = dock.source.snapshot("job")
        five = format_instant(START - 5 * DAY)
        recent = {f"Observation/{number}" for number in range(5)}
        new = {"Observation/future", "Observation/now"}
        at = {"Observation/5", "Observation/late"}
        for options in ({}, {"max_resources": 1, "target_bytes": 200}):
            assert found(dock, t, f"Observation?_lastUpdated=gt{five}", **options) == recent | new
            assert found(dock, t, f"Observation?_lastUpdated=ge{five}", **options) == recent | new | at
            assert found(dock, t, f"Observation?_lastUpdated={five}", **options) == at
            old = {f"Observation/{number}" for number in range(6, 20)} | {"Observation/later"}
            assert found(dock, t, f"Observation?_lastUpdated=lt{five}", **options) == old
            both = f"Observation?_lastUpdated=ge{five}&_lastUpdated=lt{format_instant(START - 3 * DAY)}"
            assert found(dock, t, both, **options) == at | {"Observation/4"}

    def test_last_updated_with_since(self, dock: Dock) -> None:
        for number in range(9):
            dock.put(f"Observation/{number}", updated=START - number * DAY)
        since = dock.source.snapshot("one")
        for number in range(3):
            dock.put(f"Observation/late{number}", updated=START - number * DAY)
        t = dock.source.snapshot("two")
        wanted = f"Observation?_lastUpdated=ge{format_instant(START - DAY)}"
        late = {"Observation/late0", "Observation/late1"}
        assert found(dock, t, wanted, since=since) == late
        assert found(dock, t, wanted, until=since + 1) == {"Observation/0", "Observation/1"}
        assert found(dock, t, wanted) == late | {"Observation/0", "Observation/1"}

    def test_b24_what_is_about_a_patient(self, dock: Dock) -> None:
        people = [f"p{number}" for number in range(6)]
        fill(dock, *people)
        for number in range(30):
            dock.put(f"Provenance/{number}", target=[of(people[number % 6]), of(people[number % 5])])
            dock.put(f"Observation/{number}", subject=of(people[number % 6]), performer=[of(people[number % 5])])
        dock.put("Observation/url", subject={"reference": "http://h/Patient/p1/_history/3"})
        dock.put("Observation/odd", subject={"reference": "Patient/p1/_history/ "})
        dock.put("Observation/version", subject={"reference": "Patient/p1/_history/1"})
        t = dock.source.snapshot("job")
        dock.put("Observation/later", subject=of("p1"))
        hers = {"Observation/p1", "Observation/url", "Observation/version"}
        hers |= {f"Observation/{number}" for number in range(1, 30, 6)}
        his = {"Observation/p4", *(f"Observation/{number}" for number in range(4, 30, 6))}
        for options in ({}, {"max_resources": 1, "target_bytes": 200}, {"level": "patient"}):
            assert found(dock, t, "Observation?patient=Patient/p1", **options) == hers
            assert found(dock, t, "Observation?patient=p1", **options) == hers, "behind any base"
            assert found(dock, t, "Observation?patient=http://h/Patient/p1", **options) == hers
            assert found(dock, t, "Observation?patient=Patient/p1,Patient/p4", **options) == hers | his
            assert (
                found(dock, t, "Observation?subject:Patient=p1", "Observation?patient=Patient/p4", **options)
                == hers | his
            )
            about = {f"Provenance/{number}" for number in range(30) if 1 in (number % 6, number % 5)}
            assert found(dock, t, "Provenance?target=Patient/p1", **options) == about
            both = {"Observation/10", "Observation/4"} & his
            assert found(dock, t, "Observation?patient=Patient/p4&performer=Patient/p0,Patient/p4", **options) == both
        assert found(dock, t, "Observation?patient=Patient/p1", level="patient", patients=("p2",)) == {
            f"Observation/{number}" for number in range(30) if number % 6 == 1 and number % 5 == 2
        }
        assert (
            found(dock, t, "Patient?link=Patient/p1") == found(dock, t, "Observation?patient=Patient/nobody") == set()
        )

    def test_plans_with_filters_are_fixed_and_resumable(self, dock: Dock) -> None:
        for number in range(40):
            dock.put(f"Observation/{number}", size=100, subject=of(f"p{number % 4}"), updated=START - number * DAY)
            dock.put(f"Condition/{number}", size=100, subject=of(f"p{number % 4}"))
        t = dock.source.snapshot("job")
        filters = {
            "ids": ("Observation?_id=" + ",".join(map(str, range(0, 40, 2))), "Condition?_id=1"),
            "updated": (
                f"Observation?_lastUpdated=ge{format_instant(START - 30 * DAY)}",
                "Condition?_lastUpdated=lt2000",
            ),
            "patients": ("Observation?patient=Patient/p1,Patient/p3", "Condition?patient=Patient/p2"),
        }
        for texts in filters.values():
            for patients in (None, ("p1", "p2")):
                level = "system" if patients is None else "patient"
                request = ExportRequest(
                    types=("Condition", "Observation"), type_filters=texts, level=level, patients=patients
                )
                dock.source.select("job", t, shares(("p1", "p2")))
                plans = list(dock.source.partitions(request, t, 500, None, "job"))
                assert len(plans) > 3
                dock.put("Observation/2", "later")
                dock.delete("Condition/1")
                dock.prune()
                for number, plan in enumerate(plans):
                    plan = msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan)
                    rest = list(dock.source.partitions(request, t, 500, plan, "job"))
                    assert rest == plans[number + 1 :]
