"""Clean-up: what goes, what stays, and whose it is."""

from __future__ import annotations

import pytest

from fhirferry.destinations.memory import MemoryDestination
from fhirferry.engine.cleanup import GRACE, LEASE, clean
from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, JobNotFound, SnapshotGone
from fhirferry.model.job import JobStatus
from tests.unit.engine.house import House, raising_at

LONGEST = 60 + 60 + GRACE


def clean_up(house: House) -> int:
    due = house.jobs.acquire_cleanup(9, lease=LEASE)
    for record in due:
        clean(record, house.jobs, house.connections)
    return len(due)


def half_done(house: House) -> None:
    """job0 is RUNNING with two files listed, and its worker is gone; a run of it left an orphan."""
    house.fill(5)
    house.kick_off(page_resources=1, pages_per_commit=1)

    def die(reads: int) -> None:
        if reads == 2:
            raise SystemExit

    house.source.before_read = die
    with pytest.raises(SystemExit):
        house.run()
    house.source.before_read = lambda _: None
    orphan = house.place().create(house.place().part_name("job0", "orphan"))
    orphan.write(b"x")
    orphan.commit()
    assert house.names() == [".fhirferry/job0/orphan.part", "Patient-1.ndjson", "Patient-2.ndjson"]


def test_a_completed_job_loses_its_orphans_and_its_pin_and_keeps_its_files(house: House) -> None:
    half_done(house)
    house.clock.advance(61)
    assert house.run().status is JobStatus.COMPLETED
    assert clean_up(house) == 1
    assert house.names() == [*(f"Patient-{n}.ndjson" for n in range(1, 6)), "SHA256SUMS", "manifest.json"]
    assert house.source._pins == {}


def test_a_completed_job_keeps_its_files_where_nothing_is_renamed(house: House) -> None:
    house.places["memory://d"] = MemoryDestination(renames=False, clock=house.clock)
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=1)
    assert house.run().status is JobStatus.COMPLETED
    before = house.names()
    assert sum(name.startswith("Patient-") and name.endswith(".ndjson") for name in before) == 3
    orphan = house.place().create(house.place().part_name("job0", "orphan"))
    orphan.write(b"x")
    orphan.commit()
    assert clean_up(house) == 1
    assert house.names() == before
    house.jobs.delete("job0")
    clean_up(house)
    assert house.names() == []


def test_a_cancelled_job_loses_everything_and_frees_the_place(house: House) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    assert house.names()  # nothing goes before somebody cleans
    clean_up(house)
    assert house.names() == []
    assert house.source._pins == {}
    house.place().check("another")


@pytest.mark.parametrize("passes", [2, 3])
def test_clean_up_is_idempotent(house: House, passes: int) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    (record,) = house.jobs.acquire_cleanup(1, lease=LEASE)
    for _ in range(passes):
        clean(record, house.jobs, house.connections)
    assert house.names() == []


def test_a_second_pass_follows_when_every_cut_off_unit_has_ended(house: House) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    clean_up(house)
    record = house.jobs.get("job0")
    assert record.cleanup_due == house.clock() + LONGEST * 1_000_000
    assert clean_up(house) == 0
    house.clock.advance(LONGEST)
    assert clean_up(house) == 1
    assert house.jobs.get("job0").cleanup_due is None


def test_the_second_pass_is_not_lost_to_a_delete_in_between(house: House) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    clean_up(house)
    house.jobs.delete("job0")
    clean_up(house)
    house.clock.advance(LONGEST)
    assert clean_up(house) == 1
    house.clock.advance(LONGEST)
    assert clean_up(house) == 0


def test_a_job_that_was_never_cut_off_needs_one_pass(house: House) -> None:
    house.fill(1)
    house.kick_off()
    house.run()
    clean_up(house)
    assert house.jobs.get("job0").cleanup_due is None


def test_a_clean_up_that_died_is_done_again_after_its_lease(house: House) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    house.jobs.acquire_cleanup(1, lease=LEASE)
    assert clean_up(house) == 0
    house.clock.advance(LEASE)
    assert clean_up(house) == 1
    assert house.names() == []


def test_l22_delete_takes_the_files_and_then_the_job(house: House) -> None:
    house.fill(1)
    house.kick_off()
    house.run()
    clean_up(house)
    house.jobs.delete("job0")
    assert clean_up(house) == 1
    assert house.names() == []
    house.place().check("another")
    with pytest.raises(JobNotFound):
        house.jobs.get("job0")
    assert house.jobs.files("job0") == ()


def test_delete_with_keep_files_forgets_the_job_and_leaves_what_was_published(house: House) -> None:
    half_done(house)
    house.jobs.delete("job0", keep_files=True)
    clean_up(house)
    assert house.names() == ["Patient-1.ndjson", "Patient-2.ndjson"]
    assert house.place()._owner is None


def test_a_failed_job_keeps_its_commits_and_its_pin_for_the_operator_s_retry(house: House) -> None:
    house.fill(5)
    house.kick_off(page_resources=1, pages_per_commit=1)
    with raising_at(house, 2, SnapshotGone("x")):
        house.run()
    moment = house.t_of()
    clean_up(house)
    assert house.names() == ["Patient-1.ndjson", "Patient-2.ndjson"]
    assert house.source._pins["job0"][0] == moment
    house.jobs.resume("job0")
    assert house.run().status is JobStatus.COMPLETED
    assert house.ids() == "01234"


def test_a_clean_up_of_a_failed_job_that_meets_its_retry_takes_nothing_from_it(house: House) -> None:
    house.fill(3)
    house.kick_off(page_resources=1, pages_per_commit=1)
    with raising_at(house, 1, SnapshotGone("x")):
        house.run()
    (due,) = house.jobs.acquire_cleanup(1, lease=LEASE)
    house.jobs.resume("job0")
    cleaned: list[int] = []

    original = house.jobs.commit

    def commit(record, version, **more):  # type: ignore[no-untyped-def]
        if not cleaned and more.get("files"):
            cleaned.append(1)
            clean(due, house.jobs, house.connections)  # a part is whole and not listed yet
        return original(record, version, **more)

    house.jobs.commit = commit  # type: ignore[method-assign]
    assert house.run().status is JobStatus.COMPLETED
    assert cleaned
    assert house.ids() == "012"


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_job_that_never_had_the_place_takes_nothing_from_its_owner(house: House, how: str) -> None:
    house.fill(2)
    house.kick_off()
    house.kick_off()  # both were queued while the place was free
    house.run()
    before = house.names()
    getattr(house.jobs, how)("job1")
    clean_up(house)
    house.clock.advance(LONGEST)
    clean_up(house)
    assert house.names() == before
    assert house.place()._owner == "job0"


def test_a_refused_job_that_is_deleted_takes_nothing_from_the_owner(house: House) -> None:
    house.fill(2)
    house.kick_off()
    house.run()
    house.kick_off()
    assert house.run().status is JobStatus.FAILED
    before = house.names()
    house.jobs.delete("job1")
    clean_up(house)
    assert house.names() == before


def test_the_second_pass_leaves_the_successor_in_the_same_place_alone(house: House) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    clean_up(house)
    house.kick_off()
    assert house.run().status is JobStatus.COMPLETED
    house.clock.advance(LONGEST)
    clean_up(house)
    assert house.ids("job1") == "01234"
    assert "manifest.json" in house.names()
    assert house.place()._owner == "job1"


def test_a_destination_that_is_away_is_tried_again_after_the_lease(house: House) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    house.place().fail_next("sweep", DestinationUnavailable("away"))
    clean_up(house)
    assert house.jobs.get("job0").cleanups == 0
    house.clock.advance(LEASE)
    clean_up(house)
    assert house.names() == []


def test_files_that_could_not_be_removed_are_not_given_up_on_and_the_snapshot_is_free(house: House) -> None:
    half_done(house)
    house.jobs.cancel("job0")
    house.place().fail_next("sweep", DestinationConnectionError("not allowed"))
    (due,) = house.jobs.acquire_cleanup(1, lease=LEASE)
    assert clean(due, house.jobs, house.connections) == "not allowed"
    assert house.jobs.get("job0").cleanups == 0
    assert house.names() != []
    assert house.source._pins == {}
    house.clock.advance(LEASE)
    clean_up(house)
    assert house.names() == []


def test_orphans_at_a_destination_that_is_gone_for_good_are_given_up_on(house: House) -> None:
    house.fill(3)
    house.kick_off()
    assert house.run().status is JobStatus.COMPLETED
    house.place().fail_next("sweep", DestinationConnectionError("no such bucket"))
    (due,) = house.jobs.acquire_cleanup(1, lease=LEASE)
    assert clean(due, house.jobs, house.connections) is None
    assert house.jobs.get("job0").cleanups == 1
    assert house.source._pins == {}
