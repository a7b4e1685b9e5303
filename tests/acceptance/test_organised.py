"""Organised output from the command line: read by HL7's rules, killed and resumed, and back into a store (B51, B77-B80)."""

from __future__ import annotations

import gzip
import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirferry.model.job import JobStatus
from tests.acceptance.crashing import Export, Ground, here, processes, wait_until

ORGANISED = ["--all-patients", "--organize-output-by", "Patient"]
FINE = ["--max-file-size", "100kB", "--page-size", "20"]
Lines = Counter[tuple[str, bytes]]
"""Whose, and what."""


def resources() -> Iterator[dict[str, object]]:
    for n in range(60):
        to = {"reference": f"Patient/{n}"}
        for m in range(300 if n == 30 else 10):
            yield {"resourceType": "Observation", "id": f"{n}-{m}", "subject": to, "pad": "x" * (m * 37 % 900)}
        yield {"resourceType": "Observation", "id": f"both-{n}", "subject": to,
               "performer": [{"reference": f"Patient/{(n + 1) % 60}"}]}  # fmt: skip
        yield {"resourceType": "Patient", "id": f"{n}"}


def blocks_of(out: Path) -> Lines:
    """All lines, by whose block they are in; checks files and manifest as HL7 asks (C28)."""
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["outputOrganizedBy"] == "Patient"
    found: Lines = Counter()
    seen: set[str] = set()
    goes_on: dict[str, str] = {}
    for item in manifest["output"]:
        assert "type" not in item
        data = (out / item["url"]).read_bytes()
        lines = (gzip.decompress(data) if item["url"].endswith(".gz") else data).splitlines()
        owner = ""
        resources = 0
        for number, line in enumerate(lines):
            body = json.loads(line)
            assert number or body["resourceType"] == "Parameters"
            if body["resourceType"] == "Parameters":
                (parameter,) = body["parameter"]
                assert parameter["name"] == "header"
                owner = parameter["valueReference"]["reference"]
                assert owner not in seen or (number == 0 and goes_on.pop(owner) == item["url"])
                first = owner not in seen
                seen.add(owner)
                continue
            if first:
                assert f"{body['resourceType']}/{body['id']}" == owner, "the Patient comes first"
            first = False
            resources += 1
            found[owner, line] += 1
            mentioned = [body.get("subject"), *body.get("performer", [])]
            assert {"reference": owner} in mentioned or owner == f"{body['resourceType']}/{body['id']}"
        assert item["count"] == resources
        if "continuesInFile" in item:
            goes_on[owner] = item["continuesInFile"]
    assert not goes_on, "the last file of a block says that it goes on"
    return found


@pytest.fixture(scope="module")
def organised_ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("organised")
    (folder / "all.ndjson").write_text("".join(json.dumps(each) + "\n" for each in resources()))
    assert here("import", folder / "all.ndjson", "--store", folder / "store.db").exit_code == 0
    return Ground(folder / "store.db", Counter(), 0.0)


class Organised(Export):
    """An export in blocks, some of which are larger than a file."""

    def command(self, *more: str) -> list[str]:
        where = ["--from", str(self.ground.store), "--to", str(self.out), "--ledger", str(self.ledger)]
        return ["export", *where, *FINE, *ORGANISED, *more]

    def whole(self) -> Lines:
        """What an export of the same store by types has, in its blocks."""
        plain = self.out.with_name("plain")
        asked = ["--from", self.ground.store, "--to", plain, "--ledger", self.ledger, "--all-patients"]
        assert here("export", *asked).exit_code == 0
        found: Lines = Counter()
        for path in plain.glob("*.ndjson"):
            for line in path.read_bytes().splitlines():
                body = json.loads(line)
                mentioned = [body.get("subject"), *body.get("performer", [])]
                owners = {each["reference"] for each in mentioned if each} or {f"Patient/{body['id']}"}
                found.update((owner, line) for owner in owners)
        return found


@pytest.fixture
def export(organised_ground: Ground, tmp_path: Path) -> Iterator[Organised]:
    one = Organised(organised_ground, tmp_path)
    yield one
    one.end()
    wait_until(lambda: not processes(one.marker), "a process outlived its parent by more than 2 s", timeout=2)


@pytest.mark.parametrize(
    "more", [(), ("--executor", "processes:2"), ("--compress", "gzip"), ("--min-file-size", "90kB")]
)
def test_c28_all_that_an_export_by_types_has_in_blocks(export: Organised, more: tuple[str, ...]) -> None:
    assert here(*export.command(*more)).exit_code == 0
    assert blocks_of(export.out) == export.whole()
    assert any("continuesInFile" in item for item in json.loads((export.out / "manifest.json").read_text())["output"])
    assert all(path.stat().st_size <= 100_000 for path in export.out.glob("*.ndjson*"))
    assert export.verify() == 0


@pytest.mark.parametrize(
    "fault",
    [
        "page-read:2",
        "page-read:9",
        "page-written:25",
        "commit-inside:2",
        "commit-after:4",
        "unit-finished:3",
        "published:5",
    ],
)
def test_s42_killed_and_the_same_command_again(export: Organised, fault: str) -> None:
    killed = export.run(export.command(), fault=f"{fault}:kill:any")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = export.seen()
    again = export.run(export.command())
    assert again.returncode == 0, again.stderr
    after = export.seen()
    assert after.record.status is JobStatus.COMPLETED
    assert before.files.items() <= after.files.items()
    assert before.published.items() <= after.published.items()
    assert export.listing() == {*after.files, "manifest.json", "SHA256SUMS", ".fhirferry", ".fhirferry/job"}
    assert blocks_of(export.out) == export.whole()
    assert export.verify() == 0


def test_round_trip_headers_are_passed_over_and_what_is_repeated_is_equal(export: Organised) -> None:
    assert here(*export.command()).exit_code == 0
    store = export.out.with_name("other.db")
    imported = here("import", export.out, "--store", store, "--json")
    assert imported.exit_code == 0, imported.stderr
    totals = json.loads(imported.stdout.splitlines()[-1])
    assert (totals["new"], totals["equal"], totals["bad"]) == (60 + 60 + 59 * 10 + 300, 60, 0)
    again = export.out.with_name("again")
    asked = ["--from", store, "--to", again, "--ledger", export.ledger, "--all-patients"]
    assert here("export", *asked).exit_code == 0
    kept = Counter(line for path in again.glob("*.ndjson") for line in path.read_bytes().splitlines())
    assert kept == Counter(dict.fromkeys((line for _, line in blocks_of(export.out)), 1))
    alone = export.out.with_name("alone.db")
    for path in sorted(export.out.glob("*.ndjson")):
        assert here("import", path, "--store", alone, "--strict").exit_code == 0
