"""kill -9 at random moments, again and again, until the export is through ("What must hold" no. 1)."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from fhirferry.model.job import JobStatus
from tests.acceptance.crashing import Export, Seen, processes, wait_until

SLOW = ("--limit-rate", "1.5MB")
"""So that a run lasts some seconds, and kills hit all of it."""


def kill_again_and_again(export: Export, seed: int, kills: int) -> None:
    """Kill the parent alone, whose pool is then orphaned, or the whole group; what goes on is the command or a worker."""
    chance = random.Random(seed)
    pool = ("--executor", "processes:2") if chance.random() < 0.5 else ()
    seen: list[Seen] = []
    for _ in range(kills):
        made = bool(export.records())
        command = (
            export.worker("--until-idle", *pool) if made and chance.random() < 0.3 else export.command(*SLOW, *pool)
        )
        child = export.start(command)
        # Most of the moments are in the work; some of them in start-up, where there is no handler and no ledger yet.
        time.sleep(chance.choice((chance.uniform(0, 0.3), chance.uniform(0.2, 1.5))))
        if chance.random() < 0.5:
            os.kill(child.pid, signal.SIGKILL)
        else:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(10)
        if export.records():
            seen.append(export.seen())
            if seen[-1].record.status is JobStatus.COMPLETED:
                break
    if not export.records() or export.record().status is not JobStatus.COMPLETED:
        last = export.run(export.command(*SLOW, *pool))
        assert last.returncode == 0, last.stderr
    export.clean_up_later(200)
    export.assert_complete(*seen)
    assert export.record().failure is None
    wait_until(lambda: not processes(export.marker), "a process outlived its parent by more than 2 s", timeout=2)


@pytest.mark.parametrize("seed", range(4))
def test_five_random_kills(export: Export, seed: int) -> None:
    kill_again_and_again(export, seed, 5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1025))
def test_eight_random_kills(export: Export, seed: int) -> None:
    kill_again_and_again(export, seed, 8)
