"""What progress tells: true figures of this run, never backwards, never wider than the terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console as RichConsole

from fhirferry.cli import live
from fhirferry.cli.bars import render
from fhirferry.cli.console import Console
from fhirferry.cli.progress import Progress
from fhirferry.cli.progress_import import ImportProgress
from fhirferry.cli.progress_verify import VerifyProgress
from fhirferry.cli.view import Pace, Row, Speed, View, line
from fhirferry.clock import system_clock
from fhirferry.engine.verify_findings import Step
from fhirferry.exporter import Exporter
from fhirferry.importing.importer import ImportTotals, TypeTotals
from fhirferry.model import steps
from fhirferry.model.job import ExportJobRecord, JobSettings
from fhirferry.model.partition import Kind, Partition, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from fhirferry.testing.clock import FakeClock

TOTALS = {"Patient": Total(resources=100, bytes=10_000), "Observation": Total(resources=900, bytes=90_000)}


def record(now: int, **fields: Any) -> ExportJobRecord:
    """A running job, acquired for the first time."""
    queued = ExportJobRecord(
        id="job",
        request=ExportRequest(),
        requestor="",
        hash="",
        source_uri="sqlite:///s",
        destination_uri="file:///o",
        queued_time=now,
        totals=TOTALS,
    )
    return msgspec.structs.replace(steps.acquire(queued, "here", now), **fields)


def carried(**of: int) -> dict[str, Any]:
    """Fields of a record after so many resources of each type, a hundred bytes each."""
    return {
        "carried": {name: Total(resources=count, bytes=count * 100) for name, count in of.items()},
        "resources": sum(of.values()),
        "bytes": sum(of.values()) * 100,
        "progress": sum(of.values()) // 10,
    }


def partition(number: int, name: str) -> Partition:
    return Partition(job_id="job", number=number, plan=PartitionPlan(resource_type=name, bounds={}))


def seen(progress: Progress, clock: FakeClock) -> View:
    view = progress.view(clock())
    assert view is not None
    return view


def test_the_speed_is_that_of_this_run_only(clock: FakeClock) -> None:
    pace = Pace()
    pace.see(clock(), 40_000, 400, 40_000)  # what earlier runs did
    assert pace.speed(clock(), 100_000) == Speed()
    clock.advance(10)
    pace.see(clock(), 50_000, 500, 50_000)
    assert pace.speed(clock(), 100_000) == Speed(resources=10, bytes=1_000, left=50)


def test_between_commits_the_speed_stands_and_the_time_left_runs_down_but_a_stall_shows(clock: FakeClock) -> None:
    pace = Pace()
    pace.see(clock(), 0, 0, 0)
    clock.advance(10)
    pace.see(clock(), 10_000, 100, 10_000)
    clock.advance(4)
    pace.see(clock(), 10_000, 100, 10_000)
    assert pace.speed(clock(), 30_000) == Speed(resources=10, bytes=1_000, left=16)
    clock.advance(86)
    assert pace.speed(clock(), 30_000) == Speed(resources=1, bytes=100, left=200)


def test_the_speed_is_that_of_the_last_minute(clock: FakeClock) -> None:
    pace = Pace()
    for done in [*range(0, 1000, 10), *range(1000, 8000, 100)]:
        pace.see(clock(), done, done, done)
        clock.advance(1)
    assert pace.speed(clock(), None).bytes == pytest.approx(100, rel=0.02)


def test_a_page_counts_once_through_its_commit_and_a_repeated_unit_takes_nothing_back(clock: FakeClock) -> None:
    progress = Progress(Console(quiet=True), clock)
    progress(record(clock()))
    told = []
    for step in (
        lambda: progress.page(partition(0, "Patient"), 50, 5_000),
        lambda: progress.page(partition(0, "Patient"), 100, 10_000),
        lambda: progress.page(partition(1, "Observation"), 300, 30_000),
        lambda: progress.page(partition(0, "Patient"), 0, 0),  # it came in …
        lambda: progress(record(clock(), **carried(Patient=100))),  # … and is committed
        lambda: progress.page(partition(1, "Observation"), 0, 0),  # it failed …
        lambda: progress.page(partition(1, "Observation"), 100, 10_000),  # … and begins again
        lambda: progress.page(partition(1, "Observation"), 400, 40_000),
    ):
        clock.advance(1)
        step()
        view = seen(progress, clock)
        told.append((view.total.resources, [(row.name, row.resources) for row in view.rows]))
    patients = ("Patient", 100)
    assert told == [
        (50, [("Patient", 50)]),
        (100, [patients]),
        (400, [patients, ("Observation", 300)]),
        (400, [patients, ("Observation", 300)]),
        (400, [patients, ("Observation", 300)]),
        (400, [patients, ("Observation", 300)]),
        (400, [patients, ("Observation", 300)]),
        (500, [patients, ("Observation", 400)]),
    ]
    assert view.at_work == ["Observation"]
    assert [row.done for row in view.rows] == [True, False]
    assert view.total == Row(name="total", resources=500, of=1000, bytes=50_000, share=0.5)
    assert not view.note


def test_a_resumed_job_begins_at_its_committed_share_and_says_so(clock: FakeClock) -> None:
    progress = Progress(Console(quiet=True), clock)
    before = record(clock(), **carried(Patient=100, Observation=330))
    progress(before)
    progress(msgspec.structs.replace(before, epoch=2))
    assert seen(progress, clock).total.share == 0.43
    clock.advance(10)
    progress.page(partition(7, "Observation"), 70, 7_000)
    view = seen(progress, clock)
    assert view.note == "resumed at 43 %"
    assert view.speed == Speed(resources=7, bytes=700, left=pytest.approx(50_000 / 700))


def test_a_worker_meets_a_job_when_it_has_acquired_it(clock: FakeClock) -> None:
    progress = Progress(Console(quiet=True), clock, named=True)
    progress(record(clock(), **carried(Patient=100), epoch=2))
    assert seen(progress, clock).note == "resumed at 10 %"


@pytest.mark.parametrize("here", [True, False])
def test_what_is_in_another_s_hands_is_not_called_resumed(here: bool, clock: FakeClock) -> None:
    progress = Progress(Console(quiet=True), clock, here=here)
    progress(record(clock(), **carried(Patient=100)))
    assert not seen(progress, clock).note
    progress(record(clock(), **carried(Patient=100, Observation=100), epoch=2))
    assert seen(progress, clock).note == "resumed at 20 %"


def test_several_jobs_have_a_row_each(clock: FakeClock) -> None:
    progress = Progress(Console(quiet=True), clock)
    progress(record(clock(), **carried(Patient=100)))
    progress(record(clock(), **carried(Patient=50), id="other"))
    view = seen(progress, clock)
    assert [(row.name, row.resources, row.share) for row in view.rows] == [("job", 100, 0.1), ("other", 50, 0.05)]
    assert view.total.name == "2 jobs"
    assert (view.total.resources, view.total.share) == (150, 0.075)


def test_lines_come_every_five_seconds_and_none_for_what_is_short(
    clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(Console(), clock, named=True)
    progress(record(clock()))
    for second in range(1, 12):
        clock.advance(1)
        progress.page(partition(0, "Observation"), second * 10, second * 1_000)
    assert capsys.readouterr().err.splitlines() == [
        "job: exporting 5 %: Observation, 50 of 1,000 resources, 5 kB, 10/s, 1 kB/s, 1m35s left",
        "job: exporting 10 %: Observation, 100 of 1,000 resources, 10 kB, 10/s, 1 kB/s, 1m30s left",
    ]


def test_the_record_keeps_what_was_carried_of_each_type(tmp_path: Path) -> None:
    from fhirferry.store.sqlite import SqliteStore

    source, ledger = f"sqlite://{tmp_path / 'store.db'}", f"sqlite://{tmp_path / 'ledger.db'}"
    (tmp_path / "in.ndjson").write_text(
        "".join(f'{{"resourceType":"{name}","id":"{n}"}}\n' for name in ("Basic", "Patient") for n in range(50))
    )
    from fhirferry.importing.importer import import_paths

    with SqliteStore(str(tmp_path / "store.db"), clock=system_clock, create=True) as store:
        import_paths(
            store,
            [tmp_path / "in.ndjson"],
            strict=True,
            force=False,
            on_bad=print,
            on_progress=lambda _: None,
            clock=system_clock,
        )
    exporter = Exporter(ledger=ledger, executor="inline", poll=0.01)
    job = exporter.start(
        ExportRequest(),
        source=source,
        destination=f"file://{tmp_path / 'out'}",
        settings=JobSettings(page_resources=10, pages_per_commit=2),
    )
    flying: dict[int, tuple[int, int]] = {}
    highest = 0

    def on_page(of: Partition, resources: int, size: int) -> None:
        nonlocal highest
        flying[of.number] = (resources, size)
        highest = max(highest, sum(each[0] for each in flying.values()))

    record = exporter.worker(on_page=on_page).run_job(job.id)
    exporter.close()
    assert record.carried == record.totals
    assert set(record.carried) == {"Basic", "Patient"}
    assert highest >= 20, "units told their pages"
    assert set(flying.values()) == {(0, 0)}, "and each came in"


def test_records_from_before_carried_was_kept_are_read(clock: FakeClock) -> None:
    old = json.loads(msgspec.json.encode(record(clock(), **carried(Patient=10))))
    del old["carried"]
    read = msgspec.json.decode(json.dumps(old), type=ExportJobRecord)
    progress = Progress(Console(quiet=True), clock)
    progress(read)
    assert seen(progress, clock).total.resources == 10


VIEW = View(
    verb="exporting",
    rows=[
        Row(name="ExplanationOfBenefit", resources=12_345_678, of=12_345_678, bytes=8 * 10**9, share=1.0, done=True),
        Row(name="MedicinalProductAuthorization", resources=5, of=5, bytes=900, share=1.0, done=True),
        Row(name="Observation", resources=98_765_432, of=123_456_789, bytes=6 * 10**10, share=0.8),
        Row(name="Patient", resources=1, of=1_000_000, bytes=1_000, share=0.0),
        Row(name="Zebra", resources=7, of=None, bytes=None, share=None),
    ],
    at_work=["Observation", "Patient", "Zebra"],
    total=Row(name="total", resources=111_111_116, of=137_802_467, bytes=68 * 10**9, share=0.8),
    speed=Speed(resources=52_000.4, bytes=85_000_000, left=3_725),
    note="resumed at 43 %",
)


def drawn(view: View, width: int, height: int) -> list[str]:
    out = io.StringIO()
    RichConsole(file=out, width=width, height=height, color_system=None).print(render(view, width, height))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("height", [5, 7, 24])
def test_no_row_is_wider_or_higher_than_the_terminal(height: int) -> None:
    for width in range(16, 200):
        lines = drawn(VIEW, width, height)
        assert len(lines) <= height - 2
        assert max(map(len, lines)) <= width
        rows = 3 if height == 7 else 1 if height == 5 else 5
        assert len(lines) == rows + 2, "one line for each row"
        assert any("80 %" in row for row in lines if row.startswith("total"))


def test_what_matters_least_goes_first_where_there_is_no_room() -> None:
    at = {width: drawn(VIEW, width, 24) for width in (30, 45, 60, 80, 120)}
    count, size = "98,765,432", "60 GB"
    assert [[what in at[width][2] for what in (count, size, "━")] for width in at] == [
        [False, False, False],
        [False, True, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]
    assert "98,765,432 of 123,456,789" in at[120][2]
    assert [at[width][-1].strip() for width in at] == [
        "1h02m left, 85 MB/s, 52,000/s",
        "1h02m left, 85 MB/s, 52,000/s",
        "1h02m left, 85 MB/s, 52,000/s, resumed at 43 %",
        "1h02m left, 85 MB/s, 52,000/s, resumed at 43 %",
        "1h02m left, 85 MB/s, 52,000/s, resumed at 43 %",
    ]


def test_types_that_are_done_become_one_row_when_there_is_no_room_for_all() -> None:
    names = [row.split("  ")[0] for row in drawn(VIEW, 80, 8)]
    assert names[:-1] == ["2 types done", "Observation", "Patient", "Zebra", "total"]
    names = [row.split("  ")[0] for row in drawn(VIEW, 80, 6)]
    assert names[:-1] == ["Observation", "2 more", "total"]


def test_a_line_says_what_there_is_and_no_more() -> None:
    assert line(VIEW) == (
        "exporting 80 %: Observation and 2 more, 111,111,116 of 137,802,467 resources, 68 GB, 52,000/s, 85 MB/s, "
        "1h02m left, resumed at 43 %"
    )
    unknown = View(verb="importing", rows=[], at_work=[], total=Row(name="total", resources=0), speed=Speed())
    assert line(unknown) == "importing: 0 resources"


class Teletype(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "xterm", "CI": "false"}, True),
    ],
)
def test_bars_are_for_terminals_that_can(env: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert not Console().on_terminal
    monkeypatch.setattr(sys, "stderr", Teletype())
    assert Console().on_terminal is expected
    quiet = Console(quiet=True)
    assert not quiet.show(lambda: None), "-q"


def test_what_a_signal_handler_says_while_its_thread_writes_comes_whole_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = Console()

    class Interrupted(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("first"):
                console.say("from the handler")
            return super().write(text)

    out = Interrupted()
    monkeypatch.setattr(sys, "stderr", out)
    console.say("first")
    console.say("second")
    assert out.getvalue().splitlines() == ["first", "from the handler", "second"]


def test_bars_end_when_there_is_nothing_to_see_and_for_good_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PATIENCE", 0)
    monkeypatch.setattr(live, "EVERY", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(sys, "stderr", Teletype())
    looks: list[View | None] = [VIEW] * 5
    console = Console()
    assert console.show(lambda: looks.pop() if looks else None)
    while looks:
        pass
    console.end_progress()
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "Observation" in shown
    assert "\x1b[?25l" not in shown
    console.say("after")
    assert sys.stderr.getvalue() == shown + "after\n"  # type: ignore[attr-defined]
    console.end_progress()


def test_an_import_is_measured_by_its_files_as_they_are_stored(clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"x" * 700)
    (tmp_path / "b.ndjson.gz").write_bytes(b"x" * 300)
    (tmp_path / "notes.txt").write_bytes(b"x" * 300)
    progress = ImportProgress(Console(quiet=True), clock, [tmp_path])
    assert progress.view(clock()) is None
    clock.advance(5)
    totals = ImportTotals(types={"Patient": TypeTotals(new=3)}, resources=3, bytes=500, read=250, bad=2)
    progress(totals)
    view = progress.view(clock())
    assert view is not None
    assert view.total == Row(name="total", resources=3, bytes=500, share=0.25)
    assert view.speed == Speed(resources=0.6, bytes=100, left=15)
    assert (list(view.rows), view.at_work, view.note) == ([Row(name="Patient", resources=3)], ["Patient"], "2 bad")
    piped = ImportProgress(Console(quiet=True), clock, [tmp_path / "a.ndjson", Path("/dev/stdin")])
    clock.advance(5)
    piped(totals)
    view = piped.view(clock())
    assert view is not None
    assert (view.total.share, view.speed.left) == (None, None)


def test_verifying_shows_files_then_the_store_then_the_comparison(clock: FakeClock) -> None:
    progress = VerifyProgress(Console(quiet=True), clock)
    told: list[tuple[str, float | None, list[str], float | None]] = []

    def tell(stage: str, done: int, total: int, name: str = "Patient", kind: Kind = Kind.OUTPUT) -> None:
        clock.advance(1)
        progress(Step(stage=stage, kind=kind, type=name, done=done, total=total, resources=done // 10))
        view = progress.view(clock())
        assert view is not None
        told.append((view.total.name, view.total.share, [row.name for row in view.rows], view.speed.left))

    tell("files", 0, 100)
    tell("files", 0, 300, "Bundle", Kind.DELETED)
    tell("files", 100, 100)
    tell("files", 100, 300, "Bundle", Kind.DELETED)
    tell("source", 0, 50)
    tell("source", 25, 50)
    tell("keys", 10, 40, "")
    files = ["Patient", "Bundle (deleted)"]
    assert told == [
        ("all files", 0, [], None),
        ("all files", 0, [], None),
        ("all files", 0.25, files[:1], pytest.approx(6)),
        ("all files", 0.5, files, pytest.approx(3)),
        ("all of the store", 0, files, None),
        ("all of the store", 0.5, [*files, "Patient, store"], 1),
        ("keys compared", 0.25, [*files, "Patient, store"], None),
    ]


Quiet = Callable[..., Any]


def test_watch_says_only_what_became_of_a_job_with_q(
    exporter: Any, run: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.cli.conftest import completed, half, running

    exporter.add("job1", running, half)
    moves = iter([lambda r, now: msgspec.structs.replace(r, resources=1500), completed])

    def sleep(_: float) -> None:
        now = exporter.ledger.now()
        before = exporter.ledger.get("job1")
        exporter.ledger.commit(next(moves)(before, now), before.version)

    monkeypatch.setattr("time.sleep", sleep)
    said = run("jobs", "watch", "-q").stdout.splitlines()
    assert [text.split()[1] for text in said] == ["running", "completed"]


def test_watch_adds_type_speed_and_time_left_to_its_lines(
    exporter: Any, run: Quiet, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    from tests.unit.cli.conftest import completed, half, running

    exporter.add("job1", running, half)

    def more(before: ExportJobRecord, now: int) -> ExportJobRecord:
        patients = {"Patient": Total(resources=1500, bytes=3_000_000)}
        return msgspec.structs.replace(before, resources=1500, bytes=3_000_000, progress=75, carried=patients)

    moves = iter([more, completed])

    def sleep(_: float) -> None:
        clock.advance(10)
        before = exporter.ledger.get("job1")
        exporter.ledger.heartbeat("job1", before.holder, before.epoch)
        exporter.ledger.commit(next(moves)(before, clock()), before.version)

    monkeypatch.setattr("time.sleep", sleep)
    said = run("jobs", "watch").stdout.splitlines()
    assert len(said) == 3
    assert said[1].endswith("3 MB, Patient, 50/s, 100 kB/s, 10s left"), said[1]
