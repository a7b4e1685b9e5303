"""The conformance suite of a source's exports of patients and groups. Used as `source_suite.SourceSuite` is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from fhirferry.model.cohort import Share
from fhirferry.model.errors import GroupNotFound, PatientNotFound, TransientError
from fhirferry.model.instant import DAY, Instant, parse_instant
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.testing.source_suite import START, Dock, Exported, export, group, of, pages, resource, shares


def named(dock: Dock, t: Instant, *patients: str, **options: Any) -> Exported:
    """An export of these patients."""
    return export(dock.source, t, level="patient", patients=patients, **options)


def of_group(dock: Dock, t: Instant, ident: str = "g", **options: Any) -> Exported:
    """An export of a group."""
    return export(dock.source, t, level="group", group_id=ident, **options)


def names(exported: Exported) -> set[str]:
    """What came."""
    return set(exported.values)


def whom(dock: Dock, t: Instant, ident: str = "g") -> list[str]:
    """The members of a group at T."""
    cohort = dock.source.members(ExportRequest(level="group", group_id=ident), t)
    assert cohort is not None
    return list(cohort.patients)


def fill(dock: Dock, *patients: str) -> None:
    """A Patient and an Observation and an Encounter of each."""
    for ident in patients:
        dock.put(f"Patient/{ident}")
        dock.put(f"Observation/{ident}", subject=of(ident))
        dock.put(f"Encounter/{ident}", subject=of(ident))


def kinds(kinds: Iterable[str], *patients: str) -> set[str]:
    """Names as `fill` makes them."""
    return {f"{kind}/{ident}" for kind in kinds for ident in patients}


ALL = ("Encounter", "Observation", "Patient")


class CohortSuite:
    """What the levels "patient" and "group" promise, as tests."""

    def test_b21_a_compartment_is_what_refers_to_the_patient_and_the_patient(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        dock.put("Observation/performed", performer=[{"reference": "Practitioner/p"}, of("a")])
        dock.put("Appointment/nested", participant=[{"actor": {"reference": "Location/l"}}, {"actor": of("a")}])
        dock.put("CarePlan/deep", subject=of("b"), activity=[{"detail": {"performer": [of("a")]}}])
        dock.put("Patient/twin", link=[{"other": of("a"), "type": "seealso"}])
        dock.put("Observation/elsewhere", focus=[of("a")], subject=of("b"))
        dock.put("Practitioner/p", extension=[{"valueReference": of("a")}])
        dock.put("Observation/nobody")
        dock.put("Binary/a", securityContext=of("a"))
        t = dock.source.snapshot("job")
        more = {"Observation/performed", "Appointment/nested", "CarePlan/deep", "Patient/twin"}
        assert names(named(dock, t, "a")) == kinds(ALL, "a") | more
        everybody = kinds(ALL, "a", "b") | more | {"Observation/elsewhere"}
        assert names(export(dock.source, t, level="patient")) == everybody, "B23: and no Binary"
        assert names(export(dock.source, t, level="patient", types=("Patient", "Practitioner"))) == {
            "Patient/a", "Patient/b", "Patient/twin",
        }  # fmt: skip

    def test_b24_which_references_count(self, dock: Dock) -> None:
        dock.put("Patient/a")
        good = ["Patient/a", "Patient/a/_history/3", "http://any.base/Patient/a", "https://h/r4/Patient/a/_history/1"]
        wrong = [
            "#a",
            "urn:uuid:a",
            "Patient/aa",
            "Patient?identifier=a",
            "a",
            "/Patient/a",
            "Practitioner/a",
            "x/Patient/a",
        ]
        for number, reference in enumerate([*good, *wrong]):
            dock.put(f"Observation/{number}", subject={"reference": reference})
        dock.put("Observation/identifier", subject={"type": "Patient", "identifier": {"value": "a"}})
        dock.put("Observation/odd", subject="Patient/a", performer=[{"reference": 7}, of("a"), None])
        t = dock.source.snapshot("job")
        expected = {"Patient/a", *(f"Observation/{number}" for number in range(len(good))), "Observation/odd"}
        assert names(named(dock, t, "a")) == expected

    def test_l10_each_once_although_in_several_compartments(self, dock: Dock) -> None:
        people = [f"p{number}" for number in range(7)]
        fill(dock, *people)
        for number in range(20):
            pair = people[number % 7], people[number * 3 % 7], people[number // 3]
            dock.put(f"Provenance/{number}", number, target=[of(one) for one in pair])
        t = dock.source.snapshot("job")
        for chosen in (people, people[:3], people[4:], people[1::2]):
            expected = {
                f"Provenance/{number}"
                for number in range(20)
                if {people[number % 7], people[number * 3 % 7], people[number // 3]} & set(chosen)
            }
            for most, target in ((1, 1), (3, 500), (1000, 10**9)):
                found = named(dock, t, *chosen, max_resources=most, target_bytes=target)
                assert names(found) == expected | kinds(ALL, *chosen)

    def test_b39_b41_patients_that_are_named_must_be_there(self, dock: Dock) -> None:
        fill(dock, "a", "b", "gone")
        dock.delete("Patient/gone")
        dock.put("Observation/orphan", subject=of("orphan"))
        t = dock.source.snapshot("job")
        dock.put("Patient/later")
        dock.put("Patient/a", "later")
        assert names(named(dock, t, "a")) == kinds(ALL, "a")
        for wrong in ("gone", "orphan", "later", "nobody"):
            with pytest.raises(PatientNotFound, match=wrong) as caught:
                named(dock, t, "a", wrong)
            assert caught.value.status_code == 400

    def test_s62_a_group_must_be_there(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        dock.write([group("g", "Patient/a"), group("deleted", "Patient/a")])
        dock.delete("Group/deleted")
        t = dock.source.snapshot("job")
        dock.write([group("later", "Patient/a"), group("g", "Patient/b")])
        assert names(of_group(dock, t)) == kinds(ALL, "a") | {"Group/g"}, "as it was at T"
        for wrong in ("deleted", "later", "never"):
            with pytest.raises(GroupNotFound, match=f"^Group {wrong} was not found.$") as caught:
                of_group(dock, t, wrong)
            assert caught.value.status_code == 400

    def test_b39_b41_patients_of_a_group(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.write([group("g", "Patient/a", "Patient/b")])
        t = dock.source.snapshot("job")
        found = names(of_group(dock, t, patients=("a",)))
        assert found == kinds(ALL, "a"), "the Group would tell who else is in it"
        with pytest.raises(PatientNotFound, match="c"):
            of_group(dock, t, patients=("a", "c"))

    def test_l1_a_group_of_nobody_exports_nothing_and_says_so(self, dock: Dock) -> None:
        fill(dock, "a")
        dock.write([group("empty"), group("retired", "Patient/a", active=False), group("carers", "Practitioner/a")])
        dock.write([group("shell", "Group/empty", "Group/retired")])
        t = dock.source.snapshot("job")
        for ident in ("empty", "retired", "carers", "shell"):
            found = of_group(dock, t, ident, since=1)
            assert (found.values, found.deleted) == ({}, []), ident
            assert found.issues, ident

    def test_l2_of_groups_only_the_one_that_is_exported(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        dock.write([group("g", "Patient/a", "Group/inner"), group("inner", "Patient/a"), group("other", "Patient/a")])
        dock.write([group("things", "Device/d")])
        t = dock.source.snapshot("job")
        assert names(of_group(dock, t)) == kinds(ALL, "a") | {"Group/g"}
        assert names(of_group(dock, t, types=("Group",))) == {"Group/g"}
        assert names(named(dock, t, "a")) == kinds(ALL, "a")
        assert names(export(dock.source, t, level="patient", types=("Group",))) == {
            "Group/g",
            "Group/inner",
            "Group/other",
        }

    def test_l3_nested_groups_are_flattened_and_may_run_in_circles(self, dock: Dock) -> None:
        dock.write(
            [group("g", "Patient/c", "Group/one", "Group/two", "Group/g"), group("one", "Patient/a", "Group/two")]
        )
        dock.write([group("two", "Patient/b", "Patient/a", "Group/g", "http://base/Group/one", "Group/missing")])
        t = dock.source.snapshot("job")
        assert whom(dock, t) == ["a", "b", "c"]
        assert whom(dock, t, "two") == ["a", "b", "c"]
        assert len(of_group(dock, t).issues) == 1, "the one that is missing"

    def test_l3_members_who_left_or_have_not_come(self, dock: Dock) -> None:
        dock.clock.now = parse_instant("2026-03-31T12:00:00Z")
        periods: dict[str, tuple[bool, dict[str, str]]] = {
            "always": (True, {}),
            "since-this-year": (True, {"start": "2026"}),
            "since-this-month": (True, {"start": "2026-03"}),
            "since-today": (True, {"start": "2026-03-31"}),
            "from-tomorrow": (False, {"start": "2026-04-01"}),
            "from-next-year": (False, {"start": "2027"}),
            "until-this-year": (True, {"end": "2026"}),
            "until-this-month": (True, {"end": "2026-03"}),
            "until-today": (True, {"end": "2026-03-31"}),
            "until-yesterday": (False, {"end": "2026-03-30"}),
            "until-last-month": (False, {"end": "2026-02"}),
            "until-last-year": (False, {"end": "2025"}),
            "then": (False, {"start": "2020", "end": "2021"}),
            "now": (True, {"start": "2026-03-31T13:59:59+02:00", "end": "2026-03-31T12:00:01Z"}),
            "this-second": (True, {"end": "2026-03-31T12:00:00Z"}),
            "a-second-ago": (False, {"end": "2026-03-31T11:59:59Z"}),
            "in-a-second": (False, {"start": "2026-03-31T12:00:01Z"}),
            "for-ever": (True, {"end": "9999"}),
        }
        members = [{"entity": of(ident), "period": period} for ident, (_, period) in periods.items()]
        marked = [{"entity": of("inactive"), "inactive": True}, {"entity": of("active"), "inactive": False}]
        dock.write([resource("Group/g", member=[*members, *marked])])
        t = dock.source.snapshot("job")
        assert t < parse_instant("2026-03-31T12:00:00.5Z")
        assert whom(dock, t) == sorted(["active", *(ident for ident, (there, _) in periods.items() if there)])

    def test_a_member_without_a_patient_resource_still_has_data(self, dock: Dock) -> None:
        dock.put("Observation/1", subject=of("unseen"))
        dock.write([group("g", "Patient/unseen", "Patient/never")])
        t = dock.source.snapshot("job")
        assert names(of_group(dock, t)) == {"Observation/1", "Group/g"}
        chosen = dock.source.select("job", t, [("unseen", Share.SINCE), ("never", Share.WHOLE)])
        assert (chosen.patients, chosen.absent) == (1, 1)

    def test_l4_since_is_of_each_resource_never_of_the_patients(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.write([group("g", "Patient/a", "Patient/b")])
        since = dock.source.snapshot("one")
        for ident in "abc":
            dock.put(f"Observation/{ident}", "new", subject=of(ident))
        t = dock.source.snapshot("two")
        assert names(of_group(dock, t, since=since)) == {"Observation/a", "Observation/b"}
        assert names(named(dock, t, "a", since=since)) == {"Observation/a"}
        assert names(export(dock.source, t, level="patient", since=since)) == kinds(["Observation"], "a", "b", "c")
        assert names(of_group(dock, t, until=since + 1)) == kinds(["Encounter", "Patient"], "a", "b") | {"Group/g"}

    def test_b29_all_data_of_those_who_joined(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        for pair in ("ab", "bc", "ac"):
            dock.put(f"Provenance/{pair}", target=[of(pair[0]), of(pair[1])])
        since = dock.source.snapshot("one")
        dock.put("Observation/a", "new", subject=of("a"))
        dock.put("Observation/b", "new", subject=of("b"))
        dock.put("Provenance/new", target=[of("a"), of("b")])
        dock.delete("Encounter/b")
        t = dock.source.snapshot("two")
        found = named(dock, t, "a", "b", whole=["b"], since=since)
        whole = {"Patient/b", "Observation/b", "Provenance/ab", "Provenance/bc"}
        assert names(found) == whole | {"Observation/a", "Provenance/new"}
        assert found.deleted == ["Encounter/b"]
        older = named(dock, t, "a", "b", whole=["b"], since=since, until=since + 1 + DAY)
        assert names(older) == names(found)

    def test_b81_deletions_belong_to_whom_the_deleted_belonged(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c")
        dock.put("Provenance/ab", target=[of("a"), of("b")])
        dock.write([group("g", "Patient/a"), group("other", "Patient/a")])
        dock.put("Observation/moved", subject=of("b"))
        since = dock.source.snapshot("one")
        dock.put("Observation/moved", subject=of("a"))
        for gone in (
            "Observation/a",
            "Observation/b",
            "Provenance/ab",
            "Patient/a",
            "Observation/moved",
            "Group/other",
        ):
            dock.delete(gone)
        t = dock.source.snapshot("two")
        mine = {"Observation/a", "Provenance/ab", "Patient/a", "Observation/moved"}
        for _ in range(2):
            assert set(of_group(dock, t, since=since).deleted) == mine
            assert set(named(dock, t, "b", since=since).deleted) == {"Observation/b", "Provenance/ab"}
            everything = export(dock.source, t, level="patient", since=since).deleted
            assert set(everything) == mine | {"Observation/b", "Group/other"}
            dock.prune()

    def test_what_changed_hands_after_t_is_still_whose_it_was(self, dock: Dock) -> None:
        fill(dock, "a", "b")
        t = dock.source.snapshot("job")
        dock.put("Observation/a", "b's now", subject=of("b"))
        later = dock.source.snapshot("next")
        assert names(named(dock, t, "a")) == kinds(ALL, "a")
        assert names(named(dock, t, "b")) == kinds(ALL, "b")
        assert names(named(dock, later, "a")) == kinds(ALL, "a") - {"Observation/a"}
        assert names(named(dock, later, "b")) == kinds(ALL, "b") | {"Observation/a"}

    def test_without_its_cohort_a_job_reads_nothing(self, dock: Dock) -> None:
        fill(dock, "a")
        t = dock.source.snapshot("job")
        request = ExportRequest(level="patient", patients=("a",))
        for ask in (
            lambda: list(dock.source.partitions(request, t, 1, None, "job")),
            lambda: dock.source.totals(request, t, "job"),
        ):
            with pytest.raises(TransientError, match="not selected"):
                ask()
        dock.source.select("job", t, [("a", Share.SINCE)])
        plans = list(dock.source.partitions(request, t, 1, None, "job"))
        assert dock.source.read(plans[0].bounds, None, 10, 1000).count == 1
        assert dock.source.select("job", t, []).patients == 1, "it stays as it is"
        dock.source.release("job")
        with pytest.raises(TransientError, match="not selected"):
            dock.source.read(plans[0].bounds, None, 10, 1000)
        dock.source.renew("job", t)
        assert dock.source.select("job", t, [("a", Share.SINCE)]).patients == 1
        assert dock.source.read(plans[0].bounds, None, 10, 1000).count == 1

    def test_a_cohort_goes_when_its_pin_lapses(self, dock: Dock) -> None:
        fill(dock, "a")
        t = dock.source.snapshot("job")
        request = ExportRequest(level="patient", patients=("a",))
        dock.source.select("job", t, [("a", Share.SINCE)])
        dock.prune()
        assert list(dock.source.partitions(request, t, 1, None, "job"))
        dock.clock.now += 2 * DAY
        dock.prune()
        with pytest.raises(TransientError, match="not selected"):
            list(dock.source.partitions(request, t, 1, None, "job"))

    def test_members_are_no_question_of_the_system_or_of_all_patients(self, dock: Dock) -> None:
        t = dock.source.snapshot("job")
        assert dock.source.members(ExportRequest(), t) is None
        assert dock.source.members(ExportRequest(level="patient"), t) is None

    def test_l1_a_cohort_of_nobody_is_not_everybody(self, dock: Dock) -> None:
        fill(dock, "a")
        dock.write([group("g")])
        t = dock.source.snapshot("job")
        request = ExportRequest(level="group", group_id="g", since=1)
        dock.source.select("job", t, [])
        assert list(dock.source.partitions(request, t, 1, None, "job")) == []
        assert dock.source.totals(request, t, "job") == {}

    @pytest.mark.parametrize("narrowed", [False, True], ids=["whole", "increment"])
    def test_partitions_of_a_cohort_are_even_fixed_and_resumable(self, dock: Dock, narrowed: bool) -> None:
        people = [f"p{number}" for number in range(12)]
        since = dock.source.snapshot("before") if narrowed else None
        for round_ in range(6):
            for ident in people:
                dock.put(f"Observation/{ident}-{round_}", subject=of(ident), size=100)
                dock.put(f"Patient/{ident}", round_, size=100)
        for ident in people[::3]:
            dock.delete(f"Observation/{ident}-1")
        t = dock.source.snapshot("job")
        request = ExportRequest(level="patient", patients=tuple(people[2:9]), since=since)
        dock.source.select("job", t, shares(people[2:9], whole=["p4"]))
        plans = list(dock.source.partitions(request, t, 1_500, None, "job"))
        assert len(plans) > 6
        assert all(plan.bytes for plan in plans)
        dock.put("Observation/later", subject=of("p3"))
        dock.prune()
        plans = [msgspec.json.decode(msgspec.json.encode(plan), type=PartitionPlan) for plan in plans]
        assert list(dock.source.partitions(request, t, 1_500, None, "job")) == plans
        for number, plan in enumerate(plans):
            assert list(dock.source.partitions(request, t, 1_500, plan, "job")) == plans[number + 1 :]
        count = 0
        for plan in plans:
            if plan.kind is Kind.OUTPUT:
                found = list(pages(dock.source, plan, max_resources=2))
                assert sum(len(page.body) for page in found) < 1_900
                count += sum(page.count for page in found)
        assert count == 7 + 42 - 2
        assert sum(total.resources for total in dock.source.totals(request, t, "job").values()) == count

    def test_totals_are_what_the_cohort_brings(self, dock: Dock) -> None:
        fill(dock, "a", "b", "c", "d")
        dock.write([group("g", "Patient/a", "Patient/b", "Patient/c")])
        dock.put("Provenance/ab", target=[of("a"), of("b")])
        since = dock.source.snapshot("one")
        dock.put("Observation/a", "new", subject=of("a"))
        t = dock.source.snapshot("two")
        dock.put("Observation/b", "later", subject=of("b"))
        dock.source.select("two", t, shares("abc", whole="b"))
        group_level = {"level": "group", "group_id": "g"}
        for request in (
            {"level": "patient"},
            group_level,
            {**group_level, "since": since},
            {"level": "patient", "since": since},
            {**group_level, "types": ("Provenance",)},
        ):
            asked = ExportRequest(**request)
            lines = export(dock.source, t, job="two", **request).lines
            totals = dock.source.totals(asked, t, "two")
            assert sum(total.resources for total in totals.values()) == len(lines)
            assert sum(total.bytes for total in totals.values()) == sum(map(len, lines))

    def test_a_patient_of_more_than_one_page(self, dock: Dock) -> None:
        for number in range(50):
            dock.put(f"Observation/{number}", number, subject=of("b"), updated=START - number)
        fill(dock, "a", "b", "c")
        t = dock.source.snapshot("job")
        found = named(dock, t, "b", "c", max_resources=3, target_bytes=10**6)
        assert names(found) == kinds(ALL, "b", "c") | {f"Observation/{number}" for number in range(50)}
