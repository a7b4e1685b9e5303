"""Progress of `verify` on stderr."""

from __future__ import annotations

from threading import Lock

from fhirferry.cli.console import Console
from fhirferry.cli.view import Pace, Row, Teller, View
from fhirferry.engine.verify_findings import Step
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.partition import Kind

TOTALS = {"files": "all files", "source": "all of the store", "keys": "keys compared"}
"""Stage -> what its total is called."""


class VerifyProgress:
    """Told every step of `engine.verify`. Files are measured in bytes, what the store shows in resources."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._pace = Pace()
        self._last: Step | None = None
        self._steps: dict[tuple[str, str, str], Step] = {}
        self._teller = Teller(console, clock, self.view)

    def __call__(self, step: Step) -> None:
        with self._lock:
            if self._last is None or self._last.stage != step.stage:
                self._pace = Pace()
            self._last = step
            self._steps[step.stage, step.kind, step.type] = step
            of_stage = self._stage(step.stage)
            done = sum(each.done for each in of_stage)
            size = done if step.stage == "files" else 0
            self._pace.see(self._clock(), done, sum(each.resources for each in of_stage), size)
        self._teller.moved(self.view)

    def view(self, now: Instant) -> View | None:
        """By resource type; those of the store come below those of the files."""
        with self._lock:
            if self._last is None:
                return None
            stage = self._last.stage
            of_stage = self._stage(stage)
            done, total = sum(step.done for step in of_stage), sum(step.total for step in of_stage)
            begun = [step for step in self._steps.values() if step.done and step.stage != "keys"]
            return View(
                verb="verifying",
                rows=[_row(step) for step in begun],
                at_work=[_name(self._last)] if stage != "keys" else ["keys"],
                total=Row(
                    name=TOTALS[stage],
                    resources=done if stage == "keys" else sum(step.resources for step in of_stage),
                    bytes=done if stage == "files" else None,
                    share=done / total if total else None,
                ),
                speed=self._pace.speed(now, total),
            )

    def _stage(self, stage: str) -> list[Step]:
        return [step for step in self._steps.values() if step.stage == stage]


def _row(step: Step) -> Row:
    return Row(
        name=_name(step),
        resources=step.resources,
        bytes=step.done if step.stage == "files" else None,
        share=min(step.done / step.total, 1.0) if step.total else None,
        done=step.done >= step.total,
    )


def _name(step: Step) -> str:
    if step.stage == "source":
        return f"{step.type}, store"
    return step.type if step.kind is Kind.OUTPUT else f"{step.type} ({step.kind})"
