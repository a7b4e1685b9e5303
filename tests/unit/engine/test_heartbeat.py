"""L11: the hold is renewed by a thread of its own."""

from __future__ import annotations

import threading

import pytest

from fhirferry.engine import heartbeat as module
from fhirferry.engine.heartbeat import Heartbeat
from fhirferry.jobs.protocol import Beat
from fhirferry.model.errors import StoreBusy
from fhirferry.model.job import JobStatus
from tests.unit.engine.house import House


class Beats:
    """A ledger's heartbeat that says what it is told to; done: it was asked so often."""

    def __init__(self, *answers: Beat | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, int]] = []
        self.done = threading.Event()

    def heartbeat(self, *hold: object) -> Beat:
        self.asked.append(hold)  # type: ignore[arg-type]
        answer = self.answers.pop(0) if self.answers else Beat.OK
        if not self.answers:
            self.done.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_l11_heartbeats_go_on_while_a_unit_is_slow(house: House) -> None:
    house.fill(2)
    house.kick_off(heartbeat_timeout=0.04)
    beats: list[int] = []
    enough = threading.Event()
    original = house.jobs.heartbeat

    def heartbeat(*hold: object) -> Beat:
        beats.append(1)
        if len(beats) >= 10:
            enough.set()
        return original(*hold)  # type: ignore[arg-type]

    house.jobs.heartbeat = heartbeat  # type: ignore[method-assign]
    house.source.before_read = lambda _: enough.wait(5)
    assert house.run().status is JobStatus.COMPLETED
    assert enough.is_set()


@pytest.mark.parametrize("news", [Beat.LOST, Beat.CANCELED])
def test_it_tells_once_when_the_job_is_gone_and_ends(house: House, news: Beat) -> None:
    house.kick_off(heartbeat_timeout=0.02)
    (record,) = house.jobs.acquire("w", 1)
    told: list[int] = []
    stopped = threading.Event()

    def on_stop() -> None:
        told.append(1)
        stopped.set()

    beats = Beats(Beat.OK, news, Beat.OK, Beat.OK)
    with Heartbeat(beats, record, on_stop=on_stop, renew_pin=lambda: None) as heartbeat:  # type: ignore[arg-type]
        assert stopped.wait(5)
        heartbeat._thread.join(5)
        assert not heartbeat._thread.is_alive()
    assert heartbeat.news is news
    assert told == [1]
    assert set(beats.asked) == {("job0", "w", 1)}


def test_l11_an_error_of_any_kind_does_not_end_it(house: House) -> None:
    house.kick_off(heartbeat_timeout=0.02)
    (record,) = house.jobs.acquire("w", 1)
    beats = Beats(StoreBusy("locked"), ZeroDivisionError(), StoreBusy("locked"), Beat.OK)
    with Heartbeat(beats, record, on_stop=lambda: None, renew_pin=lambda: None):  # type: ignore[arg-type]
        assert beats.done.wait(5)


def test_the_pin_is_renewed_seldom_and_again_when_that_failed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIN_RENEWAL", 0.02)
    house.kick_off(heartbeat_timeout=0.02)
    (record,) = house.jobs.acquire("w", 1)
    renewals: list[int] = []
    twice = threading.Event()

    def renew() -> None:
        renewals.append(len(beats.asked))
        if len(renewals) == 1:
            raise StoreBusy("locked")
        twice.set()

    beats = Beats()
    with Heartbeat(beats, record, on_stop=lambda: None, renew_pin=renew):  # type: ignore[arg-type]
        assert twice.wait(5)
    assert renewals[0] == 4  # four beats of a quarter each
    assert renewals[1] == 5  # the next beat, not the next renewal


def test_a_heartbeat_never_renews_the_version_tag(house: House) -> None:
    house.kick_off()
    (record,) = house.jobs.acquire("w", 1)
    heartbeat = Heartbeat(house.jobs, record, on_stop=lambda: None, renew_pin=lambda: None)
    house.clock.advance(5)
    heartbeat.beat()
    after = house.jobs.get("job0")
    assert after.version == record.version
    assert after.heartbeat == house.clock()
