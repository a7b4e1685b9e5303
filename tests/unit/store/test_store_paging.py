"""Pages: what a damaged row does to them, and what they cost."""

from __future__ import annotations

import re
import sqlite3

import pytest

from fhirferry.model.partition import PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.sources.store import StoreSource
from fhirferry.store import sql, walks
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Ticking, export, pages, resource

WALKS = ("walk_key", "walk_time", "walk_deleted")


def break_body(path: str, statement: str, *values: object) -> None:
    db = sqlite3.connect(path)
    with db:
        assert db.execute(statement, values).rowcount == 1
    db.close()


THIRD = "where key = (select key from version where id = '3')"
DAMAGES = {
    "a NULL body": f"update body set body = null {THIRD}",
    "a body that is gone": f"delete from body {THIRD}",
    "a body that is no JSON any more": f"update body set body = 'secret' {THIRD}",
    "the same size, but no object": f"update body set body = '[' || substr(body, 2) {THIRD}",
    "cut short": f"update body set body = substr(body, 1, 30) || '}}' {THIRD}",
    "a newline in it": f"update body set body = replace(body, '\"value\":', '\"value\":' || char(10)) {THIRD}",
    "two objects in its place": f"update body set body = '{{}}' || char(10) || '{{' || substr(body, 5) {THIRD}",
    "another resource": f"update body set body = replace(body, '\"3\"', '\"33\"') {THIRD}",
    "a number": f"update body set body = 5 {THIRD}",
    "a BLOB that is no UTF-8": f"update body set body = x'7bff7d' {THIRD}",
}


@pytest.mark.parametrize("narrowed", [False, True], ids=["whole", "increment"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_l34_one_unreadable_resource_becomes_an_issue_and_the_rest_comes(
    store: SqliteStore, path: str, damage: str, narrowed: bool
) -> None:
    since = store.snapshot("before") if narrowed else None
    store.write([resource(f"Patient/{number}", number) for number in range(8)])
    t = store.snapshot("job")
    break_body(path, damage)
    result = export(store, t, since=since, max_bytes=10_000)
    assert set(result.values) == {f"Patient/{number}" for number in range(8)} - {"Patient/3"}
    (issue,) = result.issues
    assert issue.diagnostics.startswith("Patient/3 cannot be read from the store: ")
    assert "secret" not in issue.diagnostics


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_l34_in_organised_output_too(store: SqliteStore, path: str, damage: str) -> None:
    for ident in "ab":
        about = {"subject": {"reference": f"Patient/{ident}"}}
        store.write([resource(f"Patient/{ident}"), *(resource(f"Observation/{ident}{n}", **about) for n in range(3))])
    store.write([resource("Observation/3", subject={"reference": "Patient/b"}), resource("Patient/3")])
    t = store.snapshot("job")
    break_body(
        path, damage.replace("id = '3'", "id = '3' and type = (select code from type where name = 'Observation')")
    )
    (plan,) = store.partitions(ExportRequest(level="patient", organize_output_by="Patient"), t, 10**9)
    (page,) = pages(StoreSource(path, Ticking(), check=True), plan)
    assert [(block.patient, block.lines) for block in page.blocks] == [("a", 4), ("b", 4), ("3", 1)]
    assert sum(block.bytes for block in page.blocks) == len(page.body)
    (issue,) = page.issues
    assert issue.diagnostics.startswith("Observation/3 cannot be read from the store: ")


def test_a_break_that_keeps_size_and_braces_is_found_with_check(store: SqliteStore, path: str, clock: Ticking) -> None:
    store.write([resource(f"Patient/{number}", number) for number in range(8)])
    t = store.snapshot("job")
    break_body(path, f"update body set body = replace(body, '\"value\":3', '\"value\"?3') {THIRD}")
    source = StoreSource(path, clock, check=True)
    (plan,) = source.partitions(ExportRequest(), t, 10**9)
    (page,) = pages(source, plan)
    assert (page.count, [issue.diagnostics[:9] for issue in page.issues]) == (7, ["Patient/3"])
    source.close()


def test_l34_a_page_of_nothing_but_bad_rows(store: SqliteStore, path: str) -> None:
    store.write([resource("Patient/3")])
    t = store.snapshot("job")
    break_body(path, DAMAGES["a NULL body"])
    (plan,) = store.partitions(ExportRequest(), t, 10**9)
    (page,) = pages(store, plan)
    assert (page.body, page.count, len(page.issues)) == (b"", 0, 1)


def test_l8_no_walk_uses_offset() -> None:
    for file in WALKS:
        for statement in sql.queries(file).values():
            assert not re.search(r"\boffset\b", re.sub(r"--.*", "", statement), re.IGNORECASE)


@pytest.mark.parametrize(
    ("file", "search"),
    [
        ("walk_key", r"SEARCH version USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)"),
        ("walk_time", r"USING INDEX version_changed \(type=\? AND \(changed,place\)>\(\?,\?\) AND \(changed,place\)<"),
        ("walk_deleted", r"INDEX version_deleted \(type=\? AND \(changed,place\)>\(\?,\?\) AND \(changed,place\)<"),
    ],
)
def test_l8_every_query_searches_for_both_ends_and_sorts_nothing(store: SqliteStore, file: str, search: str) -> None:
    names = dict.fromkeys(["type", "t", "c0", "k0", "c1", "k1", "limit"], 1)
    for name, statement in sql.queries(file).items():
        with store.reading() as db:
            plan = "\n".join(row[3].decode() for row in db.execute("explain query plan " + statement, names))
        assert "TEMP B-TREE" not in plan, name
        if name == "plain":
            assert "SEARCH body USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan
        elif (file, name) not in [("walk_time", "last"), ("walk_deleted", "last")]:
            assert re.search(search, plan), (name, plan)
        assert "SCAN version" not in plan, name
        assert "SCAN body" not in plan, name


@pytest.mark.parametrize("scope", ["patients", "cohort"])
def test_l8_patient_by_patient_nothing_is_sorted_nor_looked_through(store: SqliteStore, scope: str) -> None:
    """However many patients come behind: the four ways to what a patient has are merged as they come."""
    store.write([resource("Patient/a")])
    request = ExportRequest(level="patient", organize_output_by="Patient")
    (plan,) = store.partitions(request, store.snapshot("job"), 10**9)
    walk = walks.walk_of(plan.bounds)
    for name in ("places", "scan", "rest", "begun", "bodies", "rows", "horizon"):
        statement = walks.queries("organised", scope)[name]
        with store.reading() as db:
            asked = walk.parameters((0, 0), walk.to, 5)
            plan_ = "\n".join(row[3].decode() for row in db.execute("explain query plan " + statement, asked))
        assert "TEMP B-TREE" not in plan_, name
        assert not re.search(r"SCAN (version|v|s|shared|body|patient|p|cohort)\b", plan_), (name, plan_)


def steps(store: SqliteStore, action: object) -> int:
    """Instructions of SQLite's machine, in units of 100."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1

    store._db.set_progress_handler(tick, 100)
    action()  # type: ignore[operator]
    store._db.set_progress_handler(None, 0)
    return count


def page_costs(store: SqliteStore, plan: PartitionPlan) -> list[int]:
    """The steps that each page of 500 takes, to the partition's end."""
    continuation, costs = None, list[int]()
    while not costs or continuation:
        page = None

        def one(at: str | None = continuation) -> None:
            nonlocal page
            page = store.read(plan.bounds, at, 500, 10**9)

        costs.append(steps(store, one))
        continuation = page.continuation  # type: ignore[attr-defined]
    return costs


def test_l8_the_last_page_costs_what_the_first_does_even_within_one_instant(store: SqliteStore) -> None:
    since = store.snapshot("before")
    store.write([resource(f"Patient/{number}") for number in range(6_000)])  # one batch, one `changed`
    t = store.snapshot("job")
    for request in (ExportRequest(), ExportRequest(since=since)):
        (plan,) = store.partitions(request, t, 10**9)
        full = page_costs(store, plan)[:12]
        assert max(full) <= min(full) * 1.2


def test_superseded_versions_bound_the_cost_of_a_page(store: SqliteStore) -> None:
    store.write(
        [resource("Patient/first"), *(resource("Patient/busy", n) for n in range(3_000)), resource("Patient/z")]
    )
    t = store.snapshot("job")
    (plan,) = store.partitions(ExportRequest(), t, 10**9)
    read = list(pages(store, plan, max_resources=500))
    assert [page.count for page in read] == [1, 0, 0, 0, 0, 0, 2]
    assert all(page.continuation for page in read[:-1])


def test_an_increment_costs_what_it_brings(store: SqliteStore) -> None:
    store.write([resource(f"Patient/{number}") for number in range(5_000)])
    since = store.snapshot("before")
    store.write([resource(f"Patient/{number}", "new") for number in range(0, 5_000, 1_000)])
    t = store.snapshot("job")
    whole = steps(store, lambda: export(store, t, target_bytes=10**9, max_resources=1000, max_bytes=10**9))
    brought = []
    cost = steps(store, lambda: brought.append(export(store, t, since=since)))
    assert len(brought[0].values) == 5
    assert cost < whole / 100


def test_l7_planning_reads_no_body_and_holds_no_list(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "CHUNK", 50)
    store.write([resource(f"Patient/{number}", size=number % 90) for number in range(400)])
    t = store.snapshot("job")
    small = [plan.bounds["to"] for plan in store.partitions(ExportRequest(), t, 3_000)]
    monkeypatch.setattr(walks, "CHUNK", 100_000)
    assert [plan.bounds["to"] for plan in store.partitions(ExportRequest(), t, 3_000)] == small
