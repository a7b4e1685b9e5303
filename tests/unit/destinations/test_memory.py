"""What the destination in memory has beyond the suite: failures on demand (S26)."""

from __future__ import annotations

import pytest

from fhirferry.destinations.memory import MemoryDestination
from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable


def test_s26_failures_come_once_each_in_order_and_change_nothing() -> None:
    destination = MemoryDestination(clock=lambda: 42)
    first, second = DestinationUnavailable("full"), DestinationConnectionError("refused")
    destination.fail_next("commit", first)
    destination.fail_next("commit", second)
    destination.fail_next("put", first)
    destination.prepare("job-1")
    writer = destination.create(destination.part_name("job-1", "a"))
    writer.write(b"{}\n")
    for expected in (first, second):
        with pytest.raises(type(expected)) as caught:
            writer.commit()
        assert caught.value is expected
        assert destination.stat(".fhirferry/job-1/a.part") is None
    writer.commit()
    stored = destination.stat(".fhirferry/job-1/a.part")
    assert stored is not None
    assert stored.modified == 42
    with pytest.raises(DestinationUnavailable):
        destination.put("job-1", "manifest.json", b"{}")
    assert list(destination.list()) == []
    destination.put("job-1", "manifest.json", b"{}")


@pytest.mark.parametrize(
    "operation",
    ["prepare", "check", "create", "write", "publish", "sync", "stat", "list", "read", "delete", "sweep", "forget"],
)
def test_every_operation_can_be_made_to_fail(operation: str) -> None:
    destination = MemoryDestination()
    destination.prepare("job-1")
    part = destination.part_name("job-1", "a")
    writer = destination.create(part)
    destination.fail_next(operation, DestinationUnavailable("full"))
    calls = {
        "prepare": lambda: destination.prepare("job-1"),
        "check": lambda: destination.check("job-1"),
        "create": lambda: destination.create(part),
        "write": lambda: writer.write(b""),
        "publish": lambda: destination.publish(part, "a.ndjson"),
        "sync": destination.sync,
        "stat": lambda: destination.stat("a"),
        "list": lambda: list(destination.list()),
        "read": lambda: list(destination.read("a")),
        "delete": lambda: destination.delete(["a"]),
        "sweep": lambda: destination.sweep("job-1", frozenset()),
        "forget": lambda: destination.forget("job-1"),
    }
    with pytest.raises(DestinationUnavailable):
        calls[operation]()
