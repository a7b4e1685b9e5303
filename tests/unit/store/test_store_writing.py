"""Which version an item makes, and what it is stamped with (design, section 8)."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from fhirferry.fhir.resource import Deletion, read_resource
from fhirferry.model.errors import SourceConnectionError
from fhirferry.model.instant import DAY, SECOND, format_instant, parse_instant
from fhirferry.model.request import ExportRequest
from fhirferry.store import writing
from fhirferry.store.info import TypeInfo
from fhirferry.store.pruning import Pruned
from fhirferry.store.sqlite import SqliteStore
from fhirferry.store.writing import Outcome
from fhirferry.testing.source_suite import START, Ticking, export, resource

GONE = Deletion("Patient", "a")


def body_of(store: SqliteStore) -> dict:
    return msgspec.json.decode(store.get("Patient", "a"))


def test_outcomes_of_one_resource_in_the_order_of_the_batch(store: SqliteStore) -> None:
    one, two = resource("Patient/a", 1), resource("Patient/a", 2)
    assert store.write([GONE, one, one, two, GONE, GONE, two]) == [
        Outcome.ABSENT,
        Outcome.NEW,
        Outcome.EQUAL,
        Outcome.CHANGED,
        Outcome.DELETED,
        Outcome.ABSENT,
        Outcome.NEW,
    ]
    assert body_of(store)["meta"]["versionId"] == "4"


def test_outcomes_across_batches_are_the_same(store: SqliteStore) -> None:
    one, two = resource("Patient/a", 1), resource("Patient/a", 2)
    outcomes = [store.write([item])[0] for item in (GONE, one, one, two, GONE, GONE, two)]
    assert [str(outcome) for outcome in outcomes] == ["absent", "new", "equal", "changed", "deleted", "absent", "new"]


def test_equal_is_the_same_content_whatever_its_stamps(store: SqliteStore) -> None:
    store.write([resource("Patient/a", 1, updated=START - DAY)])
    assert store.write([resource("Patient/a", 1, updated=START - SECOND)]) == [Outcome.EQUAL]
    assert store.write([resource("Patient/a", 1)]) == [Outcome.EQUAL]


def test_older_by_given_lastupdated_is_skipped_unless_forced(store: SqliteStore) -> None:
    store.write([resource("Patient/a", "new", updated=START - SECOND)])
    old = resource("Patient/a", "old", updated=START - DAY)
    assert store.write([old]) == [Outcome.OLDER]
    assert body_of(store)["value"] == "new"
    assert store.write([old], force=True) == [Outcome.CHANGED]
    assert body_of(store)["value"] == "old"


def test_a_deletion_keeps_its_predecessors_lastupdated(store: SqliteStore) -> None:
    store.write([resource("Patient/a", 1, updated=START - SECOND), GONE])
    assert store.write([resource("Patient/a", 2, updated=START - DAY)]) == [Outcome.OLDER]
    assert store.write([resource("Patient/a", 2, updated=START - SECOND)]) == [Outcome.NEW]


def test_a_past_lastupdated_stays_as_it_came(store: SqliteStore) -> None:
    text = b'{"resourceType":"Patient","id":"a","meta":{"lastUpdated":"2020-02-03T04:05:06.70+01:00"}}'
    store.write([read_resource(text)])
    assert store.get("Patient", "a") == text


@pytest.mark.parametrize("given", [None, START + DAY], ids=["absent", "in the future"])
def test_else_the_stores_stamp_goes_into_the_body(store: SqliteStore, clock: Ticking, given: int | None) -> None:
    store.write([resource("Patient/a", 1, updated=given)])
    meta = body_of(store)["meta"]
    assert START < parse_instant(meta["lastUpdated"]) <= clock.now
    assert meta["versionId"] == ("1" if given is None else "7"), "a given versionId stays"


def test_stamps_follow_t_when_the_clock_goes_back(store: SqliteStore, clock: Ticking) -> None:
    t = store.snapshot("job")
    clock.now = START - DAY
    store.write([resource("Patient/a")])
    assert parse_instant(body_of(store)["meta"]["lastUpdated"]) > t
    assert store.snapshot("next") >= parse_instant(body_of(store)["meta"]["lastUpdated"])


def test_no_stamp_in_a_body_is_later_than_the_t_that_shows_it(store: SqliteStore, clock: Ticking) -> None:
    for number, step in enumerate((0, -DAY, 5, -7, DAY, -3)):
        clock.now += step
        given = clock.now + (number % 3) - 1
        store.write([resource(f"Patient/{number}", updated=given), resource(f"Observation/{number}")])
        t = store.snapshot(str(number))
        for line in export(store, t).lines:
            assert msgspec.json.decode(line)["meta"]["lastUpdated"] <= format_instant(t)


def test_a_batch_is_all_or_nothing(store: SqliteStore) -> None:
    store.write([resource("Patient/a", 1)])
    before = store.info().types
    broken = msgspec.structs.replace(resource("Patient/c"), digest=object())  # SQLite cannot bind it
    with pytest.raises((sqlite3.ProgrammingError, SourceConnectionError)):
        store.write([resource("Patient/a", 2), resource("Patient/b"), broken])
    assert store.info().types == before
    assert body_of(store)["value"] == 1
    assert store.write([resource("Patient/b")]) == [Outcome.NEW]


def test_counters_are_exact(store: SqliteStore) -> None:
    store.write([resource(f"Patient/{number}", "ü" * number) for number in range(20)])
    store.write([resource("Patient/3", "x"), Deletion("Patient", "4"), Deletion("Patient", "5")])
    store.write([resource("Patient/5", "back"), resource("Observation/1")])
    info = store.info()
    for name, held in info.types.items():
        lines = export(store, store.snapshot(name), types=(name,)).lines
        versions = {"Patient": 24, "Observation": 1}[name]
        deletions = {"Patient": 1, "Observation": 0}[name]
        expected = TypeInfo(resources=len(lines), bytes=sum(map(len, lines)), deletions=deletions, versions=versions)
        assert held == expected


def test_totals_of_a_pinned_t_do_not_move(store: SqliteStore) -> None:
    store.write([resource("Patient/1")])
    t = store.snapshot("job")
    totals = store.totals(ExportRequest(), t)
    store.write([resource("Patient/2"), resource("Account/1")])
    assert store.totals(ExportRequest(), t) == totals
    assert totals["Patient"].resources == 1


def test_pruning_gives_back_and_says_what(store: SqliteStore, clock: Ticking) -> None:
    for number in range(5):
        store.write([resource("Patient/a", number), resource("Patient/b", number)])
    middle = clock.now
    store.write([resource("Patient/a", "last"), Deletion("Patient", "b")])
    assert store.prune(before=middle).versions == 8
    assert store.prune(before=START) == Pruned(watermark=middle), "the watermark never goes down"
    assert store.prune().versions == 2
    assert store.info().types["Patient"].versions == 2
    assert body_of(store)["value"] == "last"
    assert store.write([Deletion("Patient", "b"), resource("Patient/b", 1)]) == [Outcome.ABSENT, Outcome.NEW]


def test_pruning_goes_in_bounded_steps(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirferry.store.pruning.BATCH", 3)
    for number in range(11):
        store.write([resource("Patient/a", number)])
    assert store.prune().versions == 10
    assert export(store, store.snapshot("job")).values == {"Patient/a": 10}


def test_a_change_is_never_stamped_before_what_it_replaces(store: SqliteStore, clock: Ticking) -> None:
    """So a `_since` between the two brings it, though it was forced in with an older lastUpdated."""
    store.write([resource("Patient/a", "new", updated=START - 10)])
    store.write([resource("Patient/a", "forced", updated=START - 20)], force=True)
    t = store.snapshot("job")
    assert export(store, t, since=START - 15).values == {"Patient/a": "forced"}


def test_a_commit_that_is_left_to_a_thread_is_waited_for(store: SqliteStore, path: str, clock: Ticking) -> None:
    outcomes, wait = store.write_behind([resource("Patient/a", 1)])
    wait()
    assert outcomes == [Outcome.NEW]
    with SqliteStore(path, clock=clock) as reader:
        assert reader.get("Patient", "a")


def test_a_commit_that_fails_behind_is_told_and_takes_nothing(store: SqliteStore) -> None:
    store._db.execute("pragma foreign_keys = on")
    store._db.execute("create table child (parent references state (one) deferrable initially deferred)")
    store._db.execute("create temp trigger orphan after insert on version begin insert into child values (7); end")
    _, wait = store.write_behind([resource("Patient/a", 1)])
    with pytest.raises(SourceConnectionError, match="FOREIGN KEY"):
        wait()
    store._db.execute("drop trigger orphan")
    assert store.get("Patient", "a") is None
    assert store.write([resource("Patient/a", 1)]) == [Outcome.NEW]


def test_one_batch_holds_more_than_waits_at_once(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "AT_ONCE", 5_000)
    flush, flushed = writing._Batch._flush, []
    monkeypatch.setattr(writing._Batch, "_flush", lambda self: flushed.append(len(self._bodies)) or flush(self))
    one, two = resource("Patient/a", 1, size=2_000), resource("Patient/a", 2)
    others = [resource(f"Patient/b{number}", size=900) for number in range(20)]
    outcomes = store.write([one, *others, two, GONE, *others])
    assert outcomes == [
        Outcome.NEW, *[Outcome.NEW] * 20, Outcome.CHANGED, Outcome.DELETED, *[Outcome.EQUAL] * 20
    ]  # fmt: skip
    assert max(flushed) < 10
    shown = export(store, store.snapshot("job")).values
    assert shown == {f"Patient/b{number}": 0 for number in range(20)}
