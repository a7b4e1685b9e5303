"""What becomes of a kick-off before it is a job: who is named, which folder it gets, what it goes on from."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from fhirferry.exporter import Exporter
from fhirferry.exporting.patient_list import PatientList
from fhirferry.model import steps
from fhirferry.model.errors import FolderInUse, RequestError
from fhirferry.model.instant import SECOND
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.layout import parse_layout
from fhirferry.model.request import ExportRequest
from fhirferry.transforms import asking
from tests.unit.engine.house import House

WAY: dict[str, Any] = {"source": "memory://s", "destination": "memory://d"}
MANY = tuple(str(number) for number in range(150))
PATIENTS = ExportRequest(level="patient")


@pytest.fixture(autouse=True)
def _offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "NOT_YET", {}, raising=False)


@pytest.fixture
def house() -> House:
    house = House()
    house.fill(200)
    return house


@pytest.fixture
def exporter(house: House) -> Iterator[Exporter]:
    exporter = Exporter(ledger=house.jobs, connections=house.connections)
    yield exporter
    exporter.close()


def complete(house: House, record: ExportJobRecord, t: int | None = None) -> ExportJobRecord:
    """The job, run to its end at T (without any work)."""
    house.clock.advance(1)
    (held,) = house.jobs.acquire("w", 1, job_id=record.id)
    done = steps.complete(replace(held, sealed=True, transaction_time=t or house.clock()), house.clock())
    return house.jobs.commit(done, held.version)


# Patients that are named


def test_many_patients_are_kept_beside_the_record_and_few_in_it(house: House, exporter: Exporter) -> None:
    many = exporter.start(replace(PATIENTS, patients=MANY), **WAY)
    request = many.status().request
    assert request.patients is None
    lines = "".join(f"{each}\n" for each in sorted(MANY))
    assert request.patient_list == hashlib.sha256(lines.encode()).hexdigest()
    assert tuple(house.jobs.listed(many.id)) == tuple(sorted(MANY))
    few = exporter.start(replace(PATIENTS, patients=MANY[:100]), **WAY)
    assert few.status().request.patients == tuple(sorted(MANY[:100]))
    assert not tuple(house.jobs.listed(few.id))


def test_s81_the_same_patients_are_the_same_command_in_whatever_way_they_are_given(exporter: Exporter) -> None:
    first, _ = exporter.find_or_start(replace(PATIENTS, patients=MANY), **WAY)
    listed = PatientList(reversed(MANY + MANY))
    for request, patients in (
        (PATIENTS, iter(MANY)),
        (PATIENTS, listed),
        (replace(PATIENTS, patient_list=listed.sha256), listed),
    ):
        again, found = exporter.find_or_start(request, **WAY, patients=patients)
        assert (found, again.id) == (True, first.id)
    other, found = exporter.find_or_start(PATIENTS, **{**WAY, "destination": "memory://e"}, patients=["1", "2"])
    assert not found
    assert other.status().request.patients == ("1", "2")


def test_l1_a_list_that_is_empty_missing_or_another_is_never_everybody(house: House, exporter: Exporter) -> None:
    stands_for = replace(PATIENTS, patient_list=PatientList(MANY).sha256)
    for request, patients, says in (
        (PATIENTS, (), "an empty list of patients"),
        (stands_for, None, "give the list with it"),
        (stands_for, MANY[1:], "is not the one"),
        (replace(PATIENTS, patients=("1",)), ("2",), "named twice"),
        (PATIENTS, ("1", "a b", "Patient/3"), "2 of the patients are not named by an id"),
        (ExportRequest(), ("1",), "not in one of the system"),
    ):
        for ask in (exporter.start, exporter.find_or_start, exporter.check, exporter.plan):
            with pytest.raises(RequestError, match=says):
                ask(request, **WAY, patients=patients)
    assert not house.jobs.list()
    with pytest.raises(RequestError, match="an empty list of patients"):
        PatientList(())


def test_b41_patients_who_are_not_there_are_refused_before_the_job_exists(house: House, exporter: Exporter) -> None:
    for ask in (exporter.start, exporter.plan):
        with pytest.raises(RequestError, match="not there: nobody") as refused:
            ask(replace(PATIENTS, patients=("1", "nobody")), **WAY)
        assert refused.value.status_code == 404
    assert not house.jobs.list()


def test_s62_a_group_that_is_not_there_is_refused_with_404(house: House, exporter: Exporter) -> None:
    for ask in (exporter.start, exporter.plan):
        with pytest.raises(RequestError, match="Group g was not found") as refused:
            ask(ExportRequest(level="group", group_id="g"), **WAY)
        assert refused.value.status_code == 404
    assert not house.jobs.list()


def test_a_dry_run_counts_what_is_the_patients_and_leaves_nothing_behind(house: House, exporter: Exporter) -> None:
    plan = exporter.plan(replace(PATIENTS, patients=("1", "2")), **WAY)
    assert (plan.resources, plan.patients, plan.absent) == (2, 2, 0)
    plan = exporter.plan(PATIENTS, **WAY, patients=MANY)
    assert (plan.resources, plan.patients) == (150, 150)
    assert not house.source._pins
    assert not house.jobs.list()


def test_promise_4_a_list_of_thirty_thousand_takes_little_more_than_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(7)
    ids = (f"{draw.getrandbits(128):032x}" for _ in range(30_000))
    monkeypatch.setattr("fhirferry.exporting.patient_list._RUN", 5_000)
    tracemalloc.start()
    try:
        listed = PatientList(ids)
        assert (listed.count, sum(1 for _ in listed)) == (30_000, 30_000)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_200_000
    assert peak < 3_500_000


def test_a_list_is_in_order_and_without_doubles_over_all_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirferry.exporting.patient_list._RUN", 3)
    ids = ["b", "a-", "a", "a.b", "B", "a0", "a", "b", "0", "-"]
    listed = PatientList(ids)
    assert list(listed) == list(listed) == sorted(set(ids))
    assert listed.sha256 == PatientList(sorted(set(ids))).sha256


# Layouts (S65)


@pytest.mark.parametrize(
    ("template", "job", "files"),
    [
        ("", "", ""),
        ("<timestamp>", "<timestamp>", ""),
        ("daily/<timestamp>-<id>", "daily/<timestamp>-<id>", ""),
        ("<timestamp>/<resourcename>", "<timestamp>", "<resourcename>"),
        ("a/<id>/b/<timestamp>/c/<resourcename>_x", "a/<id>/b/<timestamp>", "c/<resourcename>_x"),
        ("by-type/<resourcename>", "", "by-type/<resourcename>"),
    ],
)
def test_s65_what_leads_up_to_the_job_is_its_folder_and_the_rest_is_for_its_files(
    exporter: Exporter, template: str, job: str, files: str
) -> None:
    layout = parse_layout(template)
    assert (layout.job, layout.files) == (job, files)
    record = exporter.start(ExportRequest(), **WAY, layout=template).status()
    folder = job.replace("<timestamp>", "20260101T000000").replace("<id>", record.id)
    assert record.destination_uri == "memory://d" + (f"/{folder}" if folder else "")
    assert (record.destination_root, record.settings.layout) == ("memory://d", files)
    assert record.layout == template


@pytest.mark.parametrize(
    "template",
    ["/a", "a/", "a//b", "..", "a/../b", ".", "<time>", "<resourcename>/<timestamp>", "<resourcename>-<id>", "a b", "Ä",
     "deleted", "x/Error", ".FHIRferry", "<timestamp", "a" * 300, "a\\b", "manifest.json"],
)  # fmt: skip
def test_s65_a_layout_that_leads_elsewhere_is_refused(house: House, exporter: Exporter, template: str) -> None:
    with pytest.raises(RequestError, match="is not a layout"):
        exporter.start(ExportRequest(), **WAY, layout=template)
    assert not house.jobs.list()


def test_each_run_has_its_folder_and_an_equal_command_finds_the_unfinished_one(
    house: House, exporter: Exporter
) -> None:
    way = {**WAY, "layout": "<timestamp>"}
    house.place("memory://d").prepare("an-earlier-one-without-layout")
    first, _ = exporter.find_or_start(ExportRequest(), **way)
    house.clock.advance(5)
    again, found = exporter.find_or_start(ExportRequest(), **way)
    assert (found, again.id) == (True, first.id)
    assert exporter.find(ExportRequest(), **way) is not None
    complete(house, first.status())
    house.clock.advance(5)
    second, found = exporter.find_or_start(ExportRequest(), **way)
    assert not found
    assert first.status().destination_uri != second.status().destination_uri


def test_two_jobs_never_get_one_folder_in_the_same_second(house: House, exporter: Exporter) -> None:
    way = {**WAY, "layout": "<timestamp>"}
    first = exporter.start(ExportRequest(), **way)
    for ask in (exporter.start, exporter.find_or_start):
        with pytest.raises(FolderInUse, match="<timestamp>-<id>"):
            ask(ExportRequest(types=("Patient",)), **way)
    assert exporter.plan(ExportRequest(types=("Patient",)), **way).problem is not None
    assert [record.id for record in house.jobs.list()] == [first.id]
    exporter.start(ExportRequest(types=("Patient",)), **WAY, layout="<timestamp>-<id>")


# Chains


def test_b29_since_last_is_the_t_of_the_last_completed_job_of_the_same_selection(
    house: House, exporter: Exporter
) -> None:
    asked = replace(PATIENTS, patients=("1", "2"))
    way = {**WAY, "layout": "<timestamp>"}
    assert exporter.since_last(asked, **way) == (asked, None)
    first = complete(house, exporter.start(asked, **way).status())
    house.clock.advance(5)
    for other, otherwise in (
        (replace(asked, types=("Patient",)), {}),
        (replace(asked, patients=("1",)), {}),
        (replace(asked, include_referenced=()), {}),
        (PATIENTS, {}),
        (asked, {"source": "memory://other"}),
        (asked, {"destination": "memory://other"}),
    ):
        assert exporter.since_last(other, **{**way, **otherwise})[1] is None
    request, before = exporter.since_last(replace(asked, handling="lenient"), **way)
    assert before is not None
    assert (before.id, request.since, request.new_members) == (first.id, first.transaction_time, "full")
    second, _ = exporter.find_or_start(request, **way, continues=before.id)
    assert second.status().continues == first.id
    failed = exporter.since_last(asked, **way)[1]
    assert failed is not None
    assert failed.id == first.id, "the second is not completed"
    complete(house, second.status())
    third = exporter.since_last(asked, **way)[1]
    assert third is not None
    assert third.id == second.id, "bounds of time and handling are no selection"


def test_the_same_since_last_finds_its_unfinished_job(house: House, exporter: Exporter) -> None:
    way = {**WAY, "layout": "<timestamp>"}
    complete(house, exporter.start(ExportRequest(), **way).status())
    jobs = set()
    for _ in range(3):
        house.clock.advance(5)
        request, before = exporter.since_last(ExportRequest(), **way)
        assert before is not None
        assert request.new_members == "since", "there are no members"
        job = exporter.find_or_start(request, **way, continues=before.id)[0]
        assert job.status().continues == before.id
        jobs.add(job.id)
    assert len(jobs) == 1


def test_what_changed_at_until_is_still_to_come(house: House, exporter: Exporter) -> None:
    until = house.clock() - 10 * SECOND
    complete(house, exporter.start(ExportRequest(until=until), **WAY).status())
    assert exporter.since_last(ExportRequest(), **WAY)[0].since == until - 1


def test_b29_an_instant_and_new_members_need_the_job_of_that_instant(house: House, exporter: Exporter) -> None:
    asked = replace(PATIENTS, patients=("1", "2"))
    way = {**WAY, "layout": "<id>"}
    first = complete(house, exporter.start(asked, **way).status())
    t = first.transaction_time
    assert t is not None
    later = {"new_members": "full"}, {"left_members": "delete"}
    for fields in later:
        job = exporter.start(replace(asked, since=t, **fields), **way)
        assert job.status().continues == first.id
        house.jobs.delete(job.id)
        for ask in (exporter.start, exporter.find_or_start, exporter.check, exporter.plan):
            with pytest.raises(RequestError, match="no completed job of this selection"):
                ask(replace(asked, since=t - 1, **fields), **way)
    assert exporter.start(replace(asked, since=t - 1), **way).status().continues is None


def test_a_job_that_is_there_is_resumed_though_the_one_it_continues_is_forgotten(
    house: House, exporter: Exporter
) -> None:
    asked = replace(PATIENTS, patients=("1", "2"))
    way = {**WAY, "layout": "<id>"}
    first = complete(house, exporter.start(asked, **way).status())
    increment = replace(asked, since=first.transaction_time, new_members="full")
    job, _ = exporter.find_or_start(increment, **way)
    house.jobs.delete(first.id)
    again, found = exporter.find_or_start(increment, **way)
    assert (found, again.id) == (True, job.id)
