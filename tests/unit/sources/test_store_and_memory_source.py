"""What the sources add to the protocol: opening late, checking, failing on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirferry.model.errors import SourceConnectionError, StoreBusy
from fhirferry.model.request import ExportRequest
from fhirferry.sources.memory import MemorySource
from fhirferry.sources.store import StoreSource
from fhirferry.testing.source_suite import Ticking, export


def test_s51_a_store_source_opens_when_it_is_used(tmp_path: Path) -> None:
    source = StoreSource(str(tmp_path / "missing.sqlite"), Ticking())
    source.close()
    with pytest.raises(SourceConnectionError, match="fhirferry import"):
        source.snapshot("job")


def test_a_memory_source_fails_as_often_as_told_and_then_goes_on() -> None:
    source = MemorySource(clock=Ticking())
    source.put(b'{"resourceType":"Patient","id":"a","value":1}')
    t = source.snapshot("job")
    source.fail_next(StoreBusy("first"), StoreBusy("second"))
    (plan,) = source.partitions(ExportRequest(), t, 1000)
    for message in ("first", "second"):
        with pytest.raises(StoreBusy, match=message):
            source.read(plan.bounds, None, 10, 1000)
    assert export(source, t).values == {"Patient/a": 1}
