"""What must hold, no. 2: every export shows the store as it was at its T, and exports chain, while writers keep writing.

The writer is a process of its own. Beside each transaction it logs what it did and which stamp the store gave it, read
back with plain SQL. What an export should hold is worked out from this log alone, past all of the exporting code.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fhirferry.clock import system_clock
from fhirferry.engine.connections import Connections
from fhirferry.exporter import Exporter, open_destination
from fhirferry.fhir.resource import Deletion, Resource, read_resource
from fhirferry.jobs.memory import MemoryJobStore
from fhirferry.model.instant import SECOND, Instant, format_instant, parse_instant
from fhirferry.model.job import JobStatus
from fhirferry.model.request import ExportRequest
from fhirferry.sources.store import StoreSource
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.clock import FakeClock
from tests.acceptance.ferrying import FOREVER, State, deleted, exported, ferry, manifest, stored

RATE = 500
"""Writes per second."""
TYPES = ("Condition", "Observation", "Patient")
IDS = 300
"""Per type: few, so that the same ones are changed, deleted and made again all the time."""


class Write(NamedTuple):
    """One id's new state in one transaction. body None: deleted. changed: its stamp."""

    transaction: int
    name: str
    changed: Instant
    body: str | None


# The writer


def some_items(chance: random.Random, serial: int) -> list[Resource | Deletion]:
    """A small transaction: new, changed, deleted, made again, with old, future, exact or no lastUpdated."""
    items: list[Resource | Deletion] = []
    for name in chance.sample([f"{kind}/{number}" for kind in TYPES for number in range(IDS)], chance.randint(1, 9)):
        kind, ident = name.split("/")
        if chance.random() < 0.25:
            items.append(Deletion(kind, ident))
            if chance.random() < 0.6:
                continue  # else made again at once, in the same transaction
        moved = chance.choice([None, None, -86_400, -5, -0.001, 0, 0.5, 3600])
        meta = {} if moved is None else {"lastUpdated": format_instant(system_clock() + int(moved * SECOND))}
        body = {"resourceType": kind, "id": ident, "meta": meta, "serial": serial, "pad": "ü" * chance.randint(0, 300)}
        serial += 1
        items.append(read_resource(json.dumps(body, ensure_ascii=False).encode()))
    return items


def keep_writing(path: str, log: str, seed: int, stop: Any, pace: float) -> None:
    """Write about `pace` items a second until told to stop; log each committed transaction."""
    chance = random.Random(seed)
    number = done = 0
    with (
        SqliteStore(path, clock=system_clock) as store,
        closing(sqlite3.connect(path)) as plain,
        open(log, "w", encoding="utf-8") as file,
    ):
        start = time.monotonic()
        while not stop.is_set():
            number += 1
            items = some_items(chance, number * 100)
            store.write(items)
            for name in dict.fromkeys(f"{item.type}/{item.id}" for item in items):
                row = current(plain, name)
                if row is not None:
                    file.write(json.dumps([number, name, *row]) + "\n")
            file.flush()
            done += len(items)
            time.sleep(max(0.0, start + done / pace - time.monotonic()))


def current(plain: sqlite3.Connection, name: str) -> tuple[Instant, str | None] | None:
    """Stamp and body of the newest version; body None where that is a deletion; None: nothing was ever there."""
    row: tuple[Instant, str | None] | None = plain.execute(
        "select changed, body from version left join body using (key)"
        " where type = (select code from type where name = ?) and id = ? and ended = ?",
        (*name.split("/"), FOREVER),
    ).fetchone()
    return row


@contextmanager
def writing(store: Path, log: Path, *, seed: int = 1, pace: float = RATE) -> Iterator[None]:
    """A writer beside the block. It has begun when the block does."""
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    writer = spawn.Process(target=keep_writing, args=(str(store), str(log), seed, stop, pace))
    writer.start()
    try:
        until(lambda: log.exists() and log.stat().st_size > 20_000)
        yield
    finally:
        stop.set()
        writer.join(30)
        if writer.exitcode is None:
            writer.kill()
            writer.join()
    assert writer.exitcode == 0


def until(there: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


# What should be there, from the log alone


def read_log(log: Path) -> list[Write]:
    """In the order of committing; without what a transaction left as it was (nothing to delete, an older resource)."""
    last: dict[str, tuple[Instant, str | None]] = {}
    kept = []
    for line in log.read_text("utf-8").splitlines():
        write = Write(*json.loads(line))
        if last.get(write.name) != (write.changed, write.body):
            kept.append(write)
        last[write.name] = write.changed, write.body
    return kept


def newest_at(writes: list[Write], t: Instant) -> dict[str, Write]:
    return {write.name: write for write in writes if write.changed <= t}


def state_at(writes: list[Write], t: Instant) -> State:
    return {name: write.body.encode() for name, write in newest_at(writes, t).items() if write.body is not None}


def t_of(folder: Path) -> Instant:
    return parse_instant(manifest(folder)["transactionTime"])


def new_store(path: Path) -> Path:
    SqliteStore(str(path), clock=system_clock, create=True).close()
    return path


def assert_prefix(writes: list[Write], t: Instant) -> None:
    """T cuts the order of committing: whole transactions before it, whole transactions behind."""
    inside = [write.transaction for write in writes if write.changed <= t]
    outside = [write.transaction for write in writes if write.changed > t]
    assert not outside or not inside or max(inside) < min(outside)


class Chain(NamedTuple):
    store: Path
    writes: list[Write]
    increments: list[Path]
    full: list[Path]


def make_chain(at: Path, rounds: int, pause: float) -> Chain:
    """`rounds` chained exports beside the writer, some full ones between, and a last increment when it has ended."""
    store = new_store(at / "a.db")
    increments: list[Path] = []
    full: list[Path] = []

    def export(name: str, since: Path | None = None) -> Path:
        narrowed = () if since is None else ("--since", manifest(since)["transactionTime"])
        made = ferry("export", "--from", store, "--to", at / name, *narrowed, "--max-file-size", "200KB", at=at)
        assert made.code == 0, made.err
        return at / name

    with writing(store, at / "log"):
        for number in range(rounds):
            increments.append(export(f"part-{number}", since=increments[-1] if increments else None))
            if number % 4 == 2:
                full.append(export(f"full-{number}"))
                beside = ferry("verify", full[-1], "--against", store, at=at)
                assert beside.code == 0, beside.out
            time.sleep(pause)
    increments.append(export("last", since=increments[-1]))
    return Chain(store, read_log(at / "log"), increments, full)


def check_chain(chain: Chain, at: Path) -> None:
    """All that a chain promises."""
    moments = [t_of(folder) for folder in chain.increments]
    assert moments == sorted(set(moments))
    for t in moments:
        assert_prefix(chain.writes, t)
    for folder in (chain.increments[0], *chain.full):
        assert exported(folder) == state_at(chain.writes, t_of(folder))
        assert not deleted(folder)
    recreated = 0
    for before, folder in pairwise(chain.increments):
        since, t = t_of(before), t_of(folder)
        assert manifest(folder)["request"].count("_since=") == 1
        fresh = {n: w for n, w in newest_at(chain.writes, t).items() if w.changed > since}
        # A version comes in the one increment that its stamp lies in; B81-B83: who is back is not deleted.
        assert exported(folder) == {n: w.body.encode() for n, w in fresh.items() if w.body is not None}
        assert deleted(folder) == {n for n, w in fresh.items() if w.body is None}
        gone = {w.name for w in chain.writes if since < w.changed <= t and w.body is None}
        recreated += len(gone & exported(folder).keys())
    assert recreated > 10
    replay = at / "b.db"
    for folder in chain.increments[:3]:
        assert ferry("import", folder, "--store", replay, at=at).code == 0
    rest = ferry("import", *chain.increments[3:], "--store", replay, at=at)
    assert rest.code == 0, rest.err
    assert stored(replay) == stored(chain.store) == state_at(chain.writes, FOREVER)


def test_each_export_holds_the_state_at_its_t_and_ten_of_them_chain(tmp_path: Path) -> None:
    """No gap, no overlap, deletions included; replayed into an empty store they give the first store, byte for byte."""
    chain = make_chain(tmp_path, rounds=10, pause=0.1)
    check_chain(chain, tmp_path)
    verified = ferry("verify", chain.increments[5], "--against", chain.store, at=tmp_path)
    assert verified.code == 0, verified.out


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
def test_a_chain_of_two_minutes(tmp_path: Path, seed: int) -> None:
    check_chain(make_chain(tmp_path, rounds=60, pause=1.0), tmp_path)


def prune_on(path: str, stop: Any) -> None:
    with SqliteStore(path, clock=system_clock) as store:
        while not stop.is_set():
            store.prune()
            time.sleep(0.02)


def test_pruning_beside_a_slow_export_costs_it_no_row_and_verify_says_so_afterwards(tmp_path: Path) -> None:
    store = new_store(tmp_path / "a.db")
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    pruner = spawn.Process(target=prune_on, args=(str(store), stop))
    out = tmp_path / "out"
    with writing(store, tmp_path / "log", pace=1500):
        until(lambda: (tmp_path / "log").stat().st_size > 300_000)
        pruner.start()
        try:
            slow = ("--limit-rate", "100KB", "--page-size", "20", "--max-file-size", "60KB")
            made = ferry("export", "--from", store, "--to", out, *slow, at=tmp_path)
        finally:
            stop.set()
            pruner.join(30)
        assert (made.code, pruner.exitcode) == (0, 0), made.err
    writes = read_log(tmp_path / "log")
    t = t_of(out)
    assert exported(out) == state_at(writes, t)
    lost = {write.name for write in writes if write.changed > t} & exported(out).keys()
    assert len(lost) > 100  # these versions would have gone without the pin
    assert ferry("store", "prune", "--store", store).code == 0
    told = ferry("verify", out, "--against", store)
    assert told.code == 5
    assert "pruned" in told.out
    since = ferry("export", "--from", store, "--to", tmp_path / "next", "--since", manifest(out)["transactionTime"])
    assert since.code == 0  # pruning forgets old states, not what changed since
    fresh = {n: w for n, w in newest_at(writes, FOREVER).items() if w.changed > t}
    assert exported(tmp_path / "next") == {n: w.body.encode() for n, w in fresh.items() if w.body is not None}
    assert deleted(tmp_path / "next") == {n for n, w in fresh.items() if w.body is None}


def test_the_chain_holds_when_the_clock_goes_back_and_forth(tmp_path: Path) -> None:
    """T grows strictly whatever the clock does, and each increment brings what the ones before lacked."""
    clock = FakeClock()
    path = str(tmp_path / "a.db")
    connections = Connections(lambda _, check: StoreSource(path, clock, check=check), open_destination)
    exporter = Exporter(ledger=MemoryJobStore(clock), connections=connections, clock=clock, poll=0.01)
    chance = random.Random(3)
    moments: list[Instant] = []
    replayed: State = {}
    with SqliteStore(path, clock=clock, create=True) as store, closing(sqlite3.connect(path)) as plain:
        for number, leap in enumerate([0, 1, -3600, 0, -86_400, -0.000_001, 7200, 0, 400 * 86_400, -1, -1]):
            clock.advance(leap)
            for serial in range(8):
                items = leaping_items(chance, clock, number * 1000 + serial * 100)
                store.write(items)
                if serial % 3 == 0:
                    clock.advance(chance.choice([-2, 0, 0, 1]))
            stamps = plain.execute("select min(changed), max(changed) from version where changed > ?", [0]).fetchone()
            job = exporter.start(
                ExportRequest(since=moments[-1] if moments else None),
                source=f"sqlite://{path}",
                destination=f"file://{tmp_path / str(number)}",
            )
            exporter.worker().run_job(job.id)
            record = job.status()
            assert record.status is JobStatus.COMPLETED, record.failure
            assert record.transaction_time is not None
            assert record.transaction_time >= stamps[1]
            assert not moments or record.transaction_time > moments[-1]
            moments.append(record.transaction_time)
            for name in deleted(tmp_path / str(number)):
                replayed.pop(name, None)
            for name, line in exported(tmp_path / str(number)).items():
                assert replayed.get(name) != line  # nothing comes twice
                replayed[name] = line
            assert replayed == stored(Path(path))
    exporter.close()


def leaping_items(chance: random.Random, clock: FakeClock, serial: int) -> list[Resource | Deletion]:
    items: list[Resource | Deletion] = []
    for number in chance.sample(range(40), 6):
        if chance.random() < 0.3:
            items.append(Deletion("Patient", str(number)))
            continue
        given = chance.choice([None, -90_000, -1, 0, 1, 90_000])
        meta = {} if given is None else {"lastUpdated": format_instant(clock.now + given * SECOND)}
        serial += 1
        body = {"resourceType": "Patient", "id": str(number), "meta": meta, "serial": serial}
        items.append(read_resource(json.dumps(body).encode()))
    return items


def test_a_value_that_comes_back_replays_to_the_same_content(tmp_path: Path) -> None:
    """B -> A -> B between two exports: equal content makes no new version in the copy, so its stamps may be older."""
    store = new_store(tmp_path / "a.db")

    def put(value: int) -> None:
        with SqliteStore(str(store), clock=system_clock) as opened:
            opened.write([read_resource(b'{"resourceType":"Patient","id":"p","value":%d}' % value)])

    put(1)
    ferry("export", "--from", store, "--to", tmp_path / "one", at=tmp_path)
    put(2)
    put(1)
    since = manifest(tmp_path / "one")["transactionTime"]
    ferry("export", "--from", store, "--to", tmp_path / "two", "--since", since, at=tmp_path)
    assert exported(tmp_path / "two") == stored(store)
    ferry("import", tmp_path / "one", tmp_path / "two", "--store", tmp_path / "b.db", at=tmp_path)
    copy, original = (json.loads(stored(path)["Patient/p"]) for path in (tmp_path / "b.db", store))
    del copy["meta"], original["meta"]
    assert copy == original
