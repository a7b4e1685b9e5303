"""S32 with a source: missing, extra and different as of T, and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.engine.verify import verify
from fhirferry.engine.verify_findings import FindingKind, Outcome
from fhirferry.model.errors import SnapshotGone, StoreDamaged
from fhirferry.model.partition import Issue, Kind, Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from tests.unit.engine.test_verify import CLEAN, GOOD, T, bundle, change_manifest, export, places, resource, with_file

K = FindingKind


class FakeSource:
    """Shows lines as of one T, a line to a page; remembers pins."""

    def __init__(self, lines: list[bytes], deletions: list[bytes] | None = None) -> None:
        self.parts = {"output": lines, "deleted": deletions or []}
        self.pins: dict[str, int] = {}
        self.asked: list[tuple[ExportRequest, int]] = []
        self.issues: tuple[Issue, ...] = ()
        self.error: Exception | None = None
        self.fail_at = "renew"

    def snapshot(self, job_id: str) -> int:
        assert self.error is not None, "verify fixes no T where the source knows the export's"
        return 0

    def renew(self, job_id: str, transaction_time: int) -> None:
        self.pins[job_id] = transaction_time
        if self.error is not None and self.fail_at == "renew":
            raise self.error

    def release(self, job_id: str) -> None:
        self.pins.pop(job_id, None)

    def totals(self, request: ExportRequest, transaction_time: int, job_id: str = "") -> Mapping[str, Total]:
        return {"Patient": Total(resources=len(self.parts["output"]), bytes=0)}

    def partitions(
        self,
        request: ExportRequest,
        transaction_time: int,
        target_bytes: int,
        after: PartitionPlan | None = None,
        job_id: str = "",
        round: int = 0,  # noqa: A002 - the protocol's word
    ) -> Iterator[PartitionPlan]:
        assert list(self.pins.values()) == [transaction_time]
        self.asked.append((request, transaction_time))
        for kind in (Kind.OUTPUT, Kind.DELETED):
            yield PartitionPlan(kind=kind, resource_type="Patient", bounds={"kind": kind.value})

    def read(self, bounds: Mapping[str, Any], continuation: str | None, max_resources: int, max_bytes: int) -> Page:
        if self.error is not None:
            raise self.error
        lines = self.parts[bounds["kind"]]
        at = int(continuation or 0)
        more = at + 1 < len(lines)
        issues = self.issues if at == 0 and bounds["kind"] == "output" else ()
        body = lines[at] if lines else b""
        return Page(body=body, count=len(lines[at : at + 1]), continuation=str(at + 1) if more else None, issues=issues)

    def close(self) -> None:
        raise AssertionError("who opened it closes it")


def source() -> FakeSource:
    lines = [data for name, data in CLEAN.items() if "/" not in name]
    return FakeSource(
        [line for data in lines for line in data.splitlines(keepends=True)], [CLEAN["deleted/Bundle-1.ndjson"]]
    )


def test_s32_an_export_equal_to_its_source_holds_and_leaves_no_pin() -> None:
    one = source()
    report = verify(export(CLEAN), against=one)
    assert (report.outcome, report.findings, report.compared) == (Outcome.HOLDS, (), 8)
    assert one.pins == {}
    ((request, at),) = one.asked
    assert (request.since, request.types, at) == (5, None, T)


def test_s32_deletions_are_compared_whatever_bundles_they_came_in() -> None:
    one = source()
    one.parts["deleted"] = [bundle("Observation/x", "Patient/y"), bundle("Patient/x")]
    assert verify(export(CLEAN), against=one).outcome is Outcome.HOLDS


def test_s32_missing_extra_and_different_are_named() -> None:
    one = source()
    one.parts["output"] += [resource("Patient/lost"), resource("Patient/more")]
    one.parts["output"].remove(resource("Observation/b"))
    one.parts["output"][0] = resource("Patient/a").replace(b"1.50", b"1.5")
    one.parts["deleted"] = [bundle("Patient/x", "Observation/x", "Patient/z")]
    files = with_file("Patient-3.ndjson", resource("Patient/more"))
    report = verify(export(files), against=one)
    assert sorted(places(report)) == [
        (K.DIFFERENT, "Patient-1.ndjson", 1, "Patient/a"),
        (K.EXTRA, "Observation-1.ndjson", 2, "Observation/b"),
        (K.EXTRA, "deleted/Bundle-1.ndjson", 1, "Patient/y"),
        (K.MISSING, "", 0, "Patient/lost"),
        (K.MISSING, "", 0, "Patient/z"),
    ]
    assert report.outcome is Outcome.DIFFERS


def test_a_source_that_shows_a_resource_twice_is_found_out() -> None:
    one = source()
    one.parts["output"] += [resource("Patient/a")]
    assert places(verify(export(CLEAN), against=one)) == [(K.DOUBLED, "", 0, "Patient/a")]


@pytest.mark.parametrize("fail_at", ["renew", "read"])
def test_pruned_versions_cannot_be_told_and_damage_outweighs_that(fail_at: str) -> None:
    one = source()
    one.error, one.fail_at = SnapshotGone("versions up to then were pruned"), fail_at
    report = verify(export(CLEAN), against=one)
    assert (report.outcome, report.counts, report.compared) == (Outcome.CANNOT_TELL, {K.UNCHECKED: 1}, None)
    assert one.pins == {}
    damaged = verify(export(with_file("Patient-3.ndjson", GOOD + GOOD)), against=one)
    assert (damaged.outcome, set(damaged.counts)) == (Outcome.DIFFERS, {K.UNCHECKED, K.DOUBLED})


def test_a_source_that_fails_is_no_finding_and_the_pin_goes() -> None:
    one = source()
    one.error, one.fail_at = StoreDamaged("malformed"), "read"
    with pytest.raises(StoreDamaged):
        verify(export(CLEAN), against=one)
    assert one.pins == {}


def test_a_request_that_cannot_be_repeated_cannot_be_told() -> None:
    def change(document: dict[str, Any]) -> None:
        document["request"] = "https://host/fhir/$export?_type=Patient&_elements=Pasient.id"

    report = verify(change_manifest(export(CLEAN), change), against=source())
    assert (report.outcome, report.counts) == (Outcome.CANNOT_TELL, {K.UNCHECKED: 1})
    assert "_elements" in report.findings[0].message


def test_what_the_source_could_not_read_is_covered_by_the_error_files() -> None:
    one = source()
    one.issues = (Issue(diagnostics="Patient/bad: the body is not JSON."),)
    assert verify(export(CLEAN), against=one).outcome is Outcome.HOLDS
    untold = {name: data for name, data in CLEAN.items() if not name.startswith("error")}
    report = verify(export(untold), against=one)
    assert (report.outcome, report.counts) == (Outcome.CANNOT_TELL, {K.UNCHECKED: 1})


def test_what_the_source_cannot_read_any_more_cannot_be_told() -> None:
    one = source()
    one.parts["output"].remove(resource("Patient/a"))
    one.issues = (Issue(diagnostics="cannot read Patient/a."), Issue(diagnostics="cannot read something"))
    report = verify(export(CLEAN), against=one)
    assert report.outcome is Outcome.CANNOT_TELL
    assert sorted(places(report)) == [(K.UNCHECKED, "", 0, ""), (K.UNCHECKED, "Patient-1.ndjson", 1, "Patient/a")]


def test_a_body_in_the_source_that_is_no_json_does_not_stop_verifying() -> None:
    one = source()
    one.parts["output"].append(b'{"half":\n')
    assert verify(export(CLEAN), against=one).counts == {K.UNCHECKED: 1}


KEYS = st.lists(st.sampled_from([f"Patient/{n}" for n in range(9)]), max_size=12)
LINES = st.lists(st.tuples(st.sampled_from([f"Patient/{n}" for n in range(9)]), st.integers(0, 1)), max_size=14)


@given(first=LINES, second=LINES, deleted=KEYS, shown=LINES, gone=KEYS, memory=st.sampled_from([3, 1000]))
def test_s32_every_kind_is_counted_as_a_naive_comparison_counts_it(
    first: list[tuple[str, int]],
    second: list[tuple[str, int]],
    deleted: list[str],
    shown: list[tuple[str, int]],
    gone: list[str],
    memory: int,
) -> None:
    line = {(key, n): resource(key, f',"n":{n}') for key, n in first + second + shown}
    files = {"Patient-1.ndjson": [line[x] for x in first], "Patient-2.ndjson": [line[x] for x in second]}
    files["deleted/Bundle-1.ndjson"] = [bundle(key) for key in deleted]
    stored = {name: b"".join(lines) for name, lines in files.items() if lines}
    source_lines = {key: line[key, n] for key, n in reversed(shown)}
    one = FakeSource(list(source_lines.values()), [bundle(key) for key in dict.fromkeys(gone)])

    report = verify(export(stored), against=one, memory=memory, max_findings=1000)

    output: dict[str, bytes] = {}
    for x in first + second:
        output.setdefault(x[0], line[x])
    naive = {
        K.DOUBLED: len(first + second) - len(output) + len(deleted) - len(set(deleted)),
        K.DELETED_AND_PRESENT: len(output.keys() & set(deleted)),
        K.MISSING: len(source_lines.keys() - output.keys()) + len(set(gone) - set(deleted)),
        K.EXTRA: len(output.keys() - source_lines.keys()) + len(set(deleted) - set(gone)),
        K.DIFFERENT: sum(output[key] != source_lines[key] for key in output.keys() & source_lines.keys()),
    }
    assert report.counts == {kind: count for kind, count in naive.items() if count}
    assert len(report.findings) == sum(naive.values())
