"""kill -9 of an export of a Group with a filter, what comes along and Provenance: the same promises as of a whole one."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.faultpoints import POINTS
from tests.acceptance.crashing import Export, Ground, here, lines_of, processes, wait_until

SELECTED = [
    "--group", "g", "--type", "Encounter,Observation,Patient", "--type-filter", "Observation?status=final",
    "--include-referenced", "Organization,Practitioner", "--reference-depth", "2",
    "--include-associated-data", "RelevantProvenanceResources",
]  # fmt: skip
OWN = ("cohort-recorded", "cohort-selected", "round-named")
"""Points that only an export of certain patients passes."""
NTH = dict.fromkeys(("unit-started", "commit-inside", "commit-after"), (2, 3)) | {
    "page-read": (2, 5, 8),
    "round-named": (1, 2, 3),
}
CASES = [(point, nth) for point in dict.fromkeys((*OWN, *NTH)) for nth in NTH.get(point, (1,))]


class Selected(Export):
    """An export of a third of the patients."""

    def command(self, *more: str) -> list[str]:
        return super().command(*SELECTED, *more)


def resources() -> Iterator[dict[str, object]]:
    def to(name: str) -> dict[str, str]:
        return {"reference": name}

    for n in range(300):
        yield {"resourceType": "Patient", "id": f"{n}", "filling": "x" * 200}
        for m in range(3):
            about = to(f"Patient/{n}")
            doctor = to(f"Practitioner/{n % 50}")
            yield {
                "resourceType": "Encounter",
                "id": f"{n}-{m}",
                "subject": about,
                "participant": [{"individual": doctor}],
            }
            status = "final" if m else "preliminary"
            yield {
                "resourceType": "Observation",
                "id": f"{n}-{m}",
                "status": status,
                "subject": about,
                "text": "x" * 300,
            }
        yield {"resourceType": "Provenance", "id": f"{n}", "target": [to(f"Observation/{n}-1"), to(f"Encounter/{n}-0")]}
    for n in range(50):
        yield {"resourceType": "Practitioner", "id": f"{n}", "qualification": [{"issuer": to(f"Organization/{n % 7}")}]}
    for n in range(7):
        yield {"resourceType": "Organization", "id": f"{n}"}
    yield {"resourceType": "Group", "id": "g", "member": [{"entity": to(f"Patient/{n}")} for n in range(0, 300, 3)]}


@pytest.fixture(scope="module")
def selected_ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("selected")
    (folder / "all.ndjson").write_text("".join(json.dumps(each) + "\n" for each in resources()))
    assert here("import", folder / "all.ndjson", "--store", folder / "store.db").exit_code == 0
    way = ["--from", folder / "store.db", "--to", folder / "out", "--ledger", folder / "l.db"]
    undisturbed = here("export", *way, *SELECTED)
    assert undisturbed.exit_code == 0, undisturbed.stderr
    lines = lines_of(folder / "out")
    names = {(line["resourceType"], line["id"]) for line in map(json.loads, lines)}
    members = [str(n) for n in range(0, 300, 3)]
    doctors = {n % 50 for n in range(0, 300, 3)}
    assert names == {
        *(("Patient", n) for n in members),
        *(("Encounter", f"{n}-{m}") for n in members for m in range(3)),
        *(("Observation", f"{n}-{m}") for n in members for m in (1, 2)),
        *(("Provenance", n) for n in members),
        *(("Practitioner", str(n)) for n in doctors),
        *(("Organization", str(n % 7)) for n in doctors),
    }
    return Ground(folder / "store.db", lines, 0.0)


@pytest.fixture
def export(selected_ground: Ground, tmp_path: Path) -> Iterator[Selected]:
    one = Selected(selected_ground, tmp_path)
    yield one
    one.end()
    wait_until(lambda: not processes(one.marker), "a process outlived its parent by more than 2 s", timeout=2)


def test_every_case_is_a_point() -> None:
    assert {point for point, _ in CASES} <= set(POINTS)


@pytest.mark.parametrize(("point", "nth"), CASES)
def test_killed_and_the_same_command_again(export: Selected, point: str, nth: int) -> None:
    killed = export.run(export.command(), fault=f"{point}:{nth}:kill:any")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = export.seen()
    again = export.run(export.command())
    assert again.returncode == 0, again.stderr
    assert f"Resuming export job {before.record.id}" in again.stderr
    export.assert_complete(before)


@pytest.mark.parametrize("point", ["page-read:4", "file-synced:3", "unit-finished:2"])
def test_a_pool_process_killed_and_the_command_goes_on(export: Selected, point: str) -> None:
    result = export.run(export.command("--executor", "processes:2"), fault=f"{point}:kill:child")
    assert result.returncode == 0, result.stderr
    export.assert_complete()
