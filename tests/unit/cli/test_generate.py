"""What `generate` shows while it works."""

from __future__ import annotations

from fhirferry.cli.console import Console
from fhirferry.cli.progress_generate import GenerateProgress
from fhirferry.cli.view import line
from fhirferry.samples.writing import Made
from fhirferry.testing.clock import FakeClock


def test_progress_tells_share_speed_and_time_left_by_patients() -> None:
    clock = FakeClock()
    progress = GenerateProgress(Console(quiet=True), clock, 1000)
    clock.advance(10)
    progress(Made(patients=250, types={"Patient": [250, 700_000], "Encounter": [1750, 2_300_000]}))
    shown = line(progress.view(clock()))
    assert shown == ("generating 25 %: 2,000 resources, 3 MB, 200/s, 300 kB/s, 30s left, 250 of 1,000 patients")
