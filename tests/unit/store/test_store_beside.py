"""Beside one another: writers in other processes, a cut that is exact, pruning beside a reader."""

from __future__ import annotations

import multiprocessing
import threading
import time
from multiprocessing.synchronize import Event

from fhirferry.clock import system_clock
from fhirferry.fhir.resource import Deletion
from fhirferry.model.errors import SnapshotGone
from fhirferry.model.request import ExportRequest
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import export, pages, resource


def churn(path: str, name: str, stop: Event) -> None:
    """Writes batches whose three resources always belong together, until told to stop."""
    with SqliteStore(path, clock=system_clock) as store:
        number = 0
        while not stop.is_set():
            number += 1
            given = system_clock() - 1 if number % 3 else None
            store.write([resource(f"{kind}/{name}", number, updated=given) for kind in ("Claim", "List", "Patient")])
            if number % 5 == 0:
                store.write([Deletion("Group", name), resource(f"Account/{name}-{number}")])
            else:
                store.write([resource(f"Group/{name}", number)])


def test_s46_the_cut_is_exact_while_two_processes_write(path: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    with SqliteStore(path, clock=system_clock, create=True) as store:
        writers = [spawn.Process(target=churn, args=(path, name, stop)) for name in ("a", "b")]
        for writer in writers:
            writer.start()
        try:
            replayed: dict[str, object] = {}
            since = None
            rounds = 0
            while len(store.info().types) < 5:
                time.sleep(0.01)  # until both are at it
            while rounds < 12:
                time.sleep(0.02)
                t = store.snapshot(f"round {rounds}")
                increment = export(store, t, since=since, target_bytes=10**6, max_resources=100, max_bytes=10**6)
                replayed.update(increment.values)
                for name in increment.deleted:
                    replayed.pop(name, None)
                assert replayed == export(store, t, target_bytes=10**6, max_resources=100, max_bytes=10**6).values
                for name in "ab":  # a batch is in or out as a whole
                    assert len({replayed.get(f"{kind}/{name}") for kind in ("Claim", "List", "Patient")}) == 1
                since = t
                rounds += 1
                if rounds % 4 == 0:
                    store.release(f"round {rounds - 3}")
                    store.prune()
        finally:
            stop.set()
            for writer in writers:
                writer.join(20)
        assert [writer.exitcode for writer in writers] == [0, 0]
        assert len(replayed) > 12


def test_pruning_beside_a_reader_costs_it_no_row_and_never_a_row_unseen(path: str) -> None:
    """A pinned reader gets everything; an unpinned one everything or SnapshotGone, never less."""
    with SqliteStore(path, clock=system_clock, create=True) as store:
        store.write([resource(f"Patient/{number}", 0) for number in range(200)])
        pinned = store.snapshot("pinned")
        stop = threading.Event()
        failures: list[BaseException] = []

        def write_and_prune() -> None:
            try:
                with SqliteStore(path, clock=system_clock) as other:
                    value = 0
                    while not stop.is_set():
                        value += 1
                        other.write([resource(f"Patient/{number}", value) for number in range(0, 200, 3)])
                        other.prune()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=write_and_prune)
        thread.start()
        gone = 0
        try:
            for _ in range(15):
                assert set(export(store, pinned, max_resources=20, max_bytes=10**6).values.values()) == {0}
                loose = store.snapshot("loose")
                store.release("loose")
                try:
                    (plan,) = store.partitions(ExportRequest(), loose, 10**9)
                    assert sum(page.count for page in pages(store, plan, max_resources=10)) == 200
                except SnapshotGone:
                    gone += 1
        finally:
            stop.set()
            thread.join(20)
        assert not failures
        store.release("pinned")
        store.prune()
        assert store.info().types["Patient"].versions == 200
