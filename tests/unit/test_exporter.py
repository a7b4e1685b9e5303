"""The front door: what a kick-off checks, makes and refuses, and what others than the worker may do with a job."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.clock import system_clock
from fhirferry.engine.connections import Connections
from fhirferry.exporter import Exporter, open_destination
from fhirferry.fhir.resource import read_resource
from fhirferry.model.errors import (
    DestinationConnectionError,
    FerryError,
    FolderInUse,
    IllegalStep,
    JobNotFound,
    RequestError,
    SourceConnectionError,
)
from fhirferry.model.job import JobSettings, JobStatus
from fhirferry.model.request import ExportRequest
from fhirferry.store.sqlite import SqliteStore
from tests.unit.engine.house import House

ALL = ExportRequest()
WAY = {"source": "memory://s", "destination": "memory://d"}


@pytest.fixture
def house() -> House:
    house = House()
    house.fill(3)
    return house


@pytest.fixture
def exporter(house: House) -> Iterator[Exporter]:
    with contextlib.closing(Exporter(ledger=house.jobs, connections=house.connections, poll=0.001)) as exporter:
        yield exporter


def test_the_way_through_the_house(house: House, exporter: Exporter) -> None:
    job = exporter.start(ALL, **WAY)
    assert job.status().status is JobStatus.QUEUED
    assert house.source.reads == []  # a kick-off waits for nothing
    exporter.worker().run_job(job.id)
    assert job.status().status is JobStatus.COMPLETED
    (item,) = job.manifest()["output"]
    assert (item["url"], item["count"]) == ("Patient-1.ndjson", 3)
    assert [file.name for file in job.files()] == ["Patient-1.ndjson"]
    assert house.open_now == 0


def test_s81_l17_an_equal_kick_off_is_a_new_job_and_shows_the_same_hash(exporter: Exporter) -> None:
    first = exporter.start(ALL, source="memory://s", destination="memory://1", requestor="ann")
    second = exporter.start(ALL, source="memory://s", destination="memory://2", requestor="ann")
    other = exporter.start(ALL, source="memory://s", destination="memory://3", requestor="bob")
    assert len({first.id, second.id, other.id}) == 3
    assert first.status().hash == second.status().hash != other.status().hash


def test_s44_s52_settings_are_taken_at_the_kick_off(exporter: Exporter) -> None:
    settings = JobSettings(page_resources=7, pages_per_commit=3, max_file_size=99)
    assert exporter.start(ALL, **WAY, settings=settings).status().settings == settings


def test_s46_the_kick_off_does_not_fix_t(exporter: Exporter) -> None:
    record = exporter.start(ALL, **WAY).status()
    assert record.transaction_time is None
    assert record.queued_time is not None


@pytest.mark.parametrize(
    ("source", "destination"),
    [("memory", "file:///x"), ("ftp://x", "file:///x"), ("sqlite:///s.db", "s4://x"), ("sqlite:///s.db", "/x")],
)
def test_s15_s74_an_address_that_nobody_serves_is_refused(tmp_path: Path, source: str, destination: str) -> None:
    SqliteStore(str(tmp_path / "s.db"), clock=system_clock, create=True).close()
    with contextlib.closing(Exporter(ledger=f"sqlite://{tmp_path}/ledger.db")) as exporter:
        source = source.replace("/s.db", f"{tmp_path}/s.db")
        with pytest.raises(RequestError, match="must begin with"):
            exporter.start(ALL, source=source, destination=destination)
        assert exporter.jobs() == ()


@pytest.mark.parametrize("which", ["source", "destination"])
def test_s16_what_cannot_be_reached_at_the_kick_off_is_the_caller_s_to_change(house: House, which: str) -> None:
    def fail(error: FerryError) -> object:
        raise error

    connections = Connections(
        (lambda *_: fail(SourceConnectionError("no such store"))) if which == "source" else house.connections[0],
        (lambda _: fail(DestinationConnectionError("failedToConnectToDestination")))
        if which == "destination"
        else house.connections[1],
    )
    exporter = Exporter(ledger=house.jobs, connections=connections)
    with pytest.raises(RequestError) as caught:
        exporter.start(ALL, **WAY)
    assert caught.value.message in ("no such store", "failedToConnectToDestination")
    assert caught.value.status_code == 400
    assert house.jobs.list() == ()


def test_l28_an_unknown_type_is_refused_and_named(house: House, exporter: Exporter) -> None:
    for name in ("Pat", "Patients", "patient"):
        with pytest.raises(RequestError, match=name):
            exporter.start(ExportRequest(types=("Observation", name)), **WAY)
    assert house.jobs.list() == ()
    exporter.start(ExportRequest(types=("Observation",)), **WAY)  # known, and without data


def test_a_place_that_holds_another_export_is_refused_at_the_kick_off(house: House, exporter: Exporter) -> None:
    exporter.worker().run_job(exporter.start(ALL, **WAY).id)
    with pytest.raises(FolderInUse):
        exporter.start(ALL, **WAY)
    assert len(house.jobs.list()) == 1


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("data", r"data holds store\.db; give a folder of its own"),
        ("", r"holds data/store\.db; give"),
        ("data/../data/", "data holds store"),
        ("link", "data holds store"),
        ("data/store.db", r"store\.db is a store or ledger; give"),
        ("jobs", r"jobs holds ledger\.db; give"),
    ],
)
def test_an_export_never_lies_where_store_or_ledger_would_be_handed_on_with_it(
    tmp_path: Path, place: str, says: str
) -> None:
    for folder in ("data", "jobs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    store = tmp_path / "data" / "store.db"
    SqliteStore(str(store), clock=system_clock, create=True).close()
    with contextlib.closing(Exporter(ledger=f"sqlite://{tmp_path}/jobs/ledger.db")) as exporter:
        way = {"source": f"sqlite://{store}", "destination": f"file://{tmp_path}/{place}"}
        for call in (exporter.start, exporter.find_or_start, exporter.plan, exporter.check):
            with pytest.raises(RequestError, match=says):
                call(ALL, **way)
        assert exporter.jobs() == ()
        beside = exporter.start(ALL, source=way["source"], destination=f"file://{tmp_path}/data/out")
        assert beside.status().status is JobStatus.QUEUED, "a folder of its own, though below theirs"


def test_store_and_ledger_are_two_files(tmp_path: Path) -> None:
    with contextlib.closing(Exporter(ledger=f"sqlite://{tmp_path}/one.db")) as exporter:
        with pytest.raises(RequestError, match="must be two files"):
            exporter.start(ALL, source=f"sqlite://{tmp_path}/./one.db", destination=f"file://{tmp_path}/out")
        assert exporter.jobs() == ()


def test_equal_calls_find_one_job_and_other_calls_start_their_own(house: House, exporter: Exporter) -> None:
    job, was_there = exporter.find_or_start(ALL, **WAY)
    again, found = exporter.find_or_start(ALL, **WAY)
    assert (was_there, found, again.id) == (False, True, job.id)
    assert exporter.find_or_start(ALL, **WAY, requestor="bob")[1] is False
    exporter.worker().run_job(job.id)
    house.clock.advance(1)
    with pytest.raises(FolderInUse):
        exporter.find_or_start(ALL, **WAY)


def test_find_gives_the_unfinished_job_of_the_same_request_and_way(house: House, exporter: Exporter) -> None:
    assert exporter.find(ALL, **WAY) is None
    job = exporter.start(ALL, **WAY)
    found = exporter.find(ALL, **WAY)
    assert found is not None
    assert found.id == job.id
    assert exporter.find(ExportRequest(types=("Patient",)), **WAY) is None
    assert exporter.find(ALL, source="memory://s", destination="memory://other") is None
    assert exporter.find(ALL, **WAY, requestor="bob") is None
    job.cancel()
    assert exporter.find(ALL, **WAY) is None


def test_a_plan_says_what_would_be_done_and_writes_nothing(house: House, exporter: Exporter) -> None:
    plan = exporter.plan(ALL, **WAY)
    assert (plan.resources, plan.problem) == (3, None)
    record = exporter.worker().run_job(exporter.start(ALL, **WAY).id)
    assert record.bytes == plan.bytes
    before = house.names()
    again = exporter.plan(ALL, **WAY)
    assert again.problem is not None
    assert record.id in again.problem
    assert house.names() == before
    assert len(house.jobs.list()) == 1


def test_a_manifest_comes_with_the_last_commit_and_not_before(exporter: Exporter) -> None:
    job = exporter.start(ALL, **WAY)
    with pytest.raises(IllegalStep, match="no manifest before"):
        job.manifest()


def test_wait_ends_with_the_job_or_its_time(exporter: Exporter) -> None:
    job = exporter.start(ALL, **WAY)
    start = time.monotonic()
    assert job.wait(timeout=0.02).status is JobStatus.QUEUED
    assert time.monotonic() - start < 1
    thread = threading.Thread(target=exporter.worker().run_job, args=(job.id,))
    thread.start()
    assert job.wait(timeout=10).status is JobStatus.COMPLETED
    thread.join()


def test_cancel_resume_and_delete_go_through_the_handle(house: House, exporter: Exporter) -> None:
    job = exporter.start(ALL, **WAY)
    with pytest.raises(IllegalStep):
        job.resume()
    assert job.cancel().status is JobStatus.CANCELED
    with pytest.raises(IllegalStep):
        job.cancel()
    job.delete()
    for ask in (job.status, job.cancel, lambda: exporter.job(job.id)):
        with pytest.raises(JobNotFound):
            ask()


def test_prune_forgets_rows_and_touches_no_file(house: House, exporter: Exporter) -> None:
    job = exporter.start(ALL, **WAY)
    exporter.worker().run_job(job.id)
    before = house.names()
    house.clock.advance(10)
    assert exporter.prune(house.clock()) == (job.id,)
    assert exporter.jobs() == ()
    assert house.names() == before


def test_a_wrong_executor_is_refused_before_any_job_is_taken(house: House) -> None:
    exporter = Exporter(ledger=house.jobs, connections=house.connections, executor="cluster:4")
    with pytest.raises(RequestError, match="executor"):
        exporter.worker()


def test_l18_jobs_tell_how_long_the_oldest_waits(house: House, exporter: Exporter) -> None:
    exporter.start(ALL, source="memory://s", destination="memory://1")
    house.clock.advance(3600)
    exporter.start(ALL, source="memory://s", destination="memory://2")
    oldest, newest = exporter.jobs(unfinished=True)
    assert (house.clock() - oldest.queued_time) // 1_000_000 == 3600
    assert newest.queued_time == house.clock()


def test_rfc8089_a_file_url_may_be_percent_encoded(tmp_path: Path) -> None:
    open_destination(f"file://{tmp_path}/a%20b").prepare("job-1")
    assert [path.name for path in tmp_path.iterdir()] == ["a b"]


def test_store_folder_and_ledger_that_are_real(tmp_path: Path) -> None:
    with contextlib.closing(SqliteStore(str(tmp_path / "s.db"), clock=system_clock, create=True)) as store:
        store.write([read_resource(b'{"resourceType":"Patient","id":"%d"}' % number) for number in range(5)])
    with contextlib.closing(Exporter(ledger=f"sqlite://{tmp_path}/l.db")) as exporter:
        job = exporter.start(ALL, source=f"sqlite://{tmp_path}/s.db", destination=f"file://{tmp_path}/out")
        assert exporter.worker().run_job(job.id).status is JobStatus.COMPLETED
        assert exporter.verify(f"file://{tmp_path}/out", against=f"sqlite://{tmp_path}/s.db").outcome == "holds"
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name != ".fhirferry") == [
        "Patient-1.ndjson",
        "SHA256SUMS",
        "manifest.json",
    ]


def test_s81_a_selection_in_another_spelling_is_the_same_command(exporter: Exporter) -> None:
    one = ExportRequest(
        types=("Patient",), type_filters=("Patient?gender=male,female", "Patient?_id=2"), elements=("name", "id")
    )
    other = ExportRequest(
        types=("Patient",), type_filters=("Patient?_id=2,Patient?gender=female,male",), elements=("id", "name")
    )
    job, resumed = exporter.find_or_start(one, **WAY)
    again, found = exporter.find_or_start(other, **WAY)
    assert (resumed, found, again.id) == (False, True, job.id)
    assert job.status().request.type_filters == ("Patient?_id=2", "Patient?gender=female,male")
    assert exporter.find(other, **WAY) is not None


def test_b50_a_wrong_selection_is_refused_before_the_job_exists_and_by_a_dry_run(exporter: Exporter) -> None:
    wrong = ExportRequest(types=("Patent",), type_filters=("Patient?gendr=male",), elements=("nmae",))
    for ask in (exporter.start, exporter.find_or_start, exporter.check, exporter.plan):
        with pytest.raises(RequestError) as refused:
            ask(wrong, **WAY)
        assert [line.partition(":")[0] for line in refused.value.message.splitlines()] == [
            "_type", "_typeFilter", "_elements",
        ]  # fmt: skip
    assert not exporter.jobs()
    assert exporter.find(wrong, **WAY) is None


def test_a_dry_run_of_a_selection_says_at_most(exporter: Exporter) -> None:
    assert not exporter.plan(ALL, **WAY).at_most
    plan = exporter.plan(ExportRequest(types=("Patient",), type_filters=("Patient?_id=1",)), **WAY)
    assert (plan.at_most, plan.resources) == (True, 3)
