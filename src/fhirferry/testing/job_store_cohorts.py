"""Conformance of JobStore with what may be long: listed patients, cohorts, names. Needs pytest; use as `job_store_suite`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from fhirferry import faultpoints
from fhirferry.jobs.protocol import Beat
from fhirferry.jobs.rules import AT_ONCE
from fhirferry.model.errors import JobConflict, JobNotFound, RequestError
from fhirferry.testing.job_store_bench import Bench, LedgerFixtures, a_file, a_record, advanced

MANY = 2 * AT_ONCE + 5
"""More than a transaction or a page holds, and no multiple of it."""


def patients(count: int = MANY) -> list[str]:
    """Ids in order."""
    return [f"p{n:06d}" for n in range(count)]


class Broken(Exception):
    """Whoever delivers the patients broke down."""


def broken(after: int) -> Iterator[str]:
    """So many patients, and no more."""
    yield from patients(after)
    raise Broken


class CohortsSuite(LedgerFixtures):
    """One caller at a time."""

    # The patients that a job is created with

    def test_b40_listed_patients_are_there_with_their_job_in_order_and_each_once(self, bench: Bench) -> None:
        bench.jobs.create(a_record("a"), patients=iter(["b", "a", "é", "B", "\U0001f600", "\uffff", "b"]))
        bench.jobs.create(a_record("none", bench.now))
        assert list(bench.jobs.listed("a")) == ["B", "a", "b", "é", "\uffff", "\U0001f600"]
        assert [*bench.jobs.listed("none"), *bench.jobs.listed("nobody"), *bench.jobs.cohort("a")] == []
        bench.jobs.cancel("a")
        assert len(list(bench.jobs.listed("a"))) == 6

    def test_b40_a_long_list_is_kept_whole(self, bench: Bench) -> None:
        bench.jobs.create(a_record("a"), patients=reversed(patients()))
        bench.jobs.find_or_create(a_record("b", hash="another"), patients=patients(AT_ONCE))
        assert list(bench.jobs.listed("a")) == patients()
        assert list(bench.jobs.listed("b")) == patients(AT_ONCE)

    @pytest.mark.parametrize("count", [1, MANY])
    def test_b40_a_job_that_is_not_created_changes_no_list(self, bench: Bench, count: int) -> None:
        bench.jobs.create(a_record("a"), patients=["x"])
        with pytest.raises(JobConflict):
            bench.jobs.create(a_record("a"), patients=patients(count))
        assert bench.jobs.find_or_create(a_record("b"), patients=patients(count)).id == "a"
        with pytest.raises(Broken):
            bench.jobs.create(a_record("c"), patients=broken(count))
        assert list(bench.jobs.listed("a")) == ["x"]
        assert [record.id for record in bench.jobs.list()] == ["a"]
        bench.jobs.create(a_record("c"))
        assert [*bench.jobs.listed("b"), *bench.jobs.listed("c")] == []

    # The cohort

    def test_b39_a_cohort_reads_back_in_order_and_changes_nothing_else(self, bench: Bench) -> None:
        record = bench.run("a")
        bench.jobs.put_cohort(record, record.version, iter(["b", "a", "B", "b"]))
        assert list(bench.jobs.cohort("a")) == ["B", "a", "b"]
        bench.jobs.put_cohort(record, record.version, patients())
        assert list(bench.jobs.cohort("a")) == patients()
        bench.jobs.put_cohort(record, record.version, ())
        assert [*bench.jobs.cohort("a"), *bench.jobs.listed("a"), *bench.jobs.named("a", 1)] == []
        assert bench.jobs.get("a") == record

    @pytest.mark.parametrize("before", [(), ("x", "y")], ids=["first", "again"])
    def test_l1_a_cohort_that_was_cut_off_is_never_seen_and_is_done_again(
        self, bench: Bench, before: tuple[str, ...]
    ) -> None:
        record = bench.run("a")
        bench.jobs.put_cohort(record, record.version, before)
        with pytest.raises(Broken):
            bench.jobs.put_cohort(record, record.version, broken(MANY))
        assert list(bench.jobs.cohort("a")) == list(before), "half a cohort would be an export of half"
        bench.jobs.put_cohort(record, record.version, patients(3))
        assert list(bench.jobs.cohort("a")) == patients(3)

    def test_s2_a_cohort_is_written_under_the_tag_only(self, bench: Bench) -> None:
        record = bench.run("a")
        fresh = bench.save(advanced(record))
        delivered: list[str] = []

        def delivery() -> Iterator[str]:
            for number, patient in enumerate(patients()):
                delivered.append(patient)
                if number == AT_ONCE + 1:
                    bench.jobs.cancel("a")
                yield patient

        with pytest.raises(JobConflict):
            bench.jobs.put_cohort(record, record.version, delivery())
        assert delivered == []
        with pytest.raises(JobConflict):
            bench.jobs.put_cohort(fresh, fresh.version, delivery())
        assert len(delivered) <= 2 * AT_ONCE, "as soon as the tag is old"
        with pytest.raises(JobConflict):
            bench.jobs.put_cohort(fresh, fresh.version, ())
        with pytest.raises(JobNotFound):
            bench.jobs.put_cohort(a_record("nobody"), 1, ())
        assert list(bench.jobs.cohort("a")) == []

    def test_nobody_waits_for_whoever_delivers_or_reads_a_cohort(self, bench: Bench) -> None:
        record, other = bench.run("a"), bench.run("b")

        def delivery() -> Iterator[str]:
            for patient in patients():
                if patient.endswith("5000"):
                    nonlocal other
                    assert bench.jobs.heartbeat("a", "one", record.epoch) is Beat.OK
                    other = bench.save(advanced(other))
                yield patient

        bench.jobs.put_cohort(record, record.version, delivery())
        assert other.resources == 4
        first, second = bench.jobs.cohort("a"), bench.jobs.cohort("a")
        for n, (mine, theirs) in enumerate(zip(first, second, strict=True)):
            assert mine == theirs == f"p{n:06d}"
            if n % 15_000 == 0:
                other = bench.save(advanced(other))

    # What is named

    def test_b29_what_a_commit_names_is_named_once_for_the_first_round(self, bench: Bench) -> None:
        record = bench.run("a")
        names = [(1, "Patient/b"), (2, "Patient/a"), (1, "Location/1"), (2, "Patient/b"), (1, "Patient/a")]
        record = bench.jobs.commit(advanced(record), record.version, files=[a_file(1)], references=iter(names))
        assert list(bench.jobs.named("a", 1)) == [("Location/1", True), ("Patient/a", True), ("Patient/b", True)]
        again = [(2, "Location/1"), (2, "Location/2"), (3, "Location/3")]
        record = bench.jobs.commit(record, record.version, references=again)
        record = bench.jobs.commit(record, record.version, references=[(1, "Location/2"), (3, "Location/1")])
        assert [name for name, _ in bench.jobs.named("a", 1)] == ["Location/1", "Patient/a", "Patient/b"]
        assert list(bench.jobs.named("a", 2)) == [("Location/2", True)]
        assert list(bench.jobs.named("a", 3)) == [("Location/3", True)]
        assert [*bench.jobs.named("a", 4), *bench.jobs.named("a", 0), *bench.jobs.named("nobody", 1)] == []

    def test_l14_a_commit_that_does_not_happen_names_nothing(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = bench.run("a")

        def break_down(_point: str) -> None:
            raise Broken

        monkeypatch.setattr(faultpoints, "armed", break_down)
        with pytest.raises(Broken):
            bench.jobs.commit(record, record.version, references=[(1, "Location/1")])
        monkeypatch.setattr(faultpoints, "armed", None)
        with pytest.raises(JobConflict):
            bench.jobs.commit(record, record.version - 1, references=[(1, "Location/1")])
        with pytest.raises(RequestError):
            bench.jobs.commit(record, record.version, references=[(0, "Location/1")])
        assert (bench.jobs.get("a"), list(bench.jobs.named("a", 1))) == (record, [])

    def test_what_three_jobs_in_a_row_named_is_carried_along(self, bench: Bench) -> None:
        first = bench.run("a")
        bench.jobs.commit(first, first.version, references=[(1, "Location/1"), (2, "Location/2")])
        for before, after, found in (("a", "b", [(1, "Location/2"), (1, "Location/3")]), ("b", "c", [])):
            record = replace(bench.run(after), continues=before)
            bench.jobs.carry_named(record, record.version)
            record = bench.jobs.commit(record, record.version, references=found)
            bench.jobs.carry_named(record, record.version)
        assert list(bench.jobs.named("b", 1)) == [("Location/1", False), ("Location/2", False), ("Location/3", True)]
        assert [n for n, wanted in bench.jobs.named("c", 1) if not wanted] == ["Location/1", "Location/2", "Location/3"]
        assert [*bench.jobs.named("b", 2), *bench.jobs.named("c", 2)] == []
        assert list(bench.jobs.named("a", 2)) == [("Location/2", True)]

    def test_carrying_takes_all_or_says_why_not(self, bench: Bench) -> None:
        names = [f"Location/{patient}" for patient in patients()]
        first, second = bench.run("a"), replace(bench.run("b"), continues="a")
        bench.jobs.commit(first, first.version, references=[(1, name) for name in names])
        bench.jobs.commit(second, second.version, references=[(2, names[7])])
        with pytest.raises(JobConflict):
            bench.jobs.carry_named(second, second.version)
        with pytest.raises(JobNotFound):
            bench.jobs.carry_named(replace(second, id="nobody"), 1)
        assert list(bench.jobs.named("b", 1)) == []
        second = replace(bench.jobs.get("b"), continues="a")
        for continues in (None, "forgotten"):
            bench.jobs.carry_named(replace(second, continues=continues), second.version)
        assert list(bench.jobs.named("b", 1)) == []
        bench.jobs.carry_named(second, second.version)
        assert list(bench.jobs.named("b", 1)) == [(name, False) for name in names if name != names[7]]
        assert list(bench.jobs.named("b", 2)) == [(names[7], True)], "what it named itself stays as it was"
        assert bench.jobs.get("b") == second

    # Forgetting

    @pytest.mark.parametrize("way", ["delete", "prune"])
    def test_nothing_of_it_outlives_the_job(self, bench: Bench, way: str) -> None:
        bench.jobs.create(a_record("a"), patients=patients())
        (record,) = bench.jobs.acquire("one", 1)
        bench.jobs.put_cohort(record, record.version, patients())
        bench.jobs.commit(record, record.version, references=[(1, "Location/1")])
        bench.jobs.cancel("a")
        if way == "delete":
            bench.jobs.delete("a")
            assert next(bench.jobs.cohort("a")) == "p000000", "as long as its clean-up goes on"
        assert bench.swept() == ["a"]
        bench.jobs.cleaned("a", again_at=None)
        if way == "prune":
            assert list(bench.jobs.cohort("a")) == patients(), "whoever continues the job compares"
            assert bench.jobs.prune(bench.now + 1) == ("a",)
        bench.jobs.create(a_record("a"))
        assert [*bench.jobs.listed("a"), *bench.jobs.cohort("a"), *bench.jobs.named("a", 1)] == []
