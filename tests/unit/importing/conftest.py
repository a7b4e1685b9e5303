"""A store that only remembers, and an import with nothing to say twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from fhirferry.fhir.resource import Deletion, Resource
from fhirferry.importing.importer import ImportTotals, import_paths


class Remembered(msgspec.Struct):
    """What an import handed to the store, batch by batch, and what it reported. Resources as parsed JSON."""

    batches: list[list[Resource | Deletion]] = []
    bad: list[tuple[str, int, str]] = []
    progress: list[int] = []
    totals: ImportTotals | None = None

    def write_behind(
        self, items: Sequence[Resource | Deletion], *, force: bool
    ) -> tuple[list[str], Callable[[], None]]:
        assert items, "an empty batch costs a transaction"
        self.batches.append(list(items))
        return ["new" if isinstance(item, Resource) else "absent" for item in items], lambda: None

    @property
    def items(self) -> list[Resource | Deletion]:
        return [item for batch in self.batches for item in batch]

    @property
    def ids(self) -> list[str]:
        return [
            f"{item.type}/{item.id}" if isinstance(item, Resource) else f"-{item.type}/{item.id}" for item in self.items
        ]

    @property
    def bodies(self) -> list[object]:
        return [json.loads(item.body) for item in self.items if isinstance(item, Resource)]


Run = Callable[..., Remembered]


@pytest.fixture
def run() -> Run:
    def imported(*paths: Path, strict: bool = False, clock: Callable[[], int] = lambda: 0) -> Remembered:
        store = Remembered()
        store.totals = import_paths(
            store,  # type: ignore[arg-type]
            paths,
            strict=strict,
            force=False,
            on_bad=lambda path, line, reason: store.bad.append((path.name, line, reason)),
            on_progress=lambda totals: store.progress.append(totals.resources),
            clock=clock,
        )
        return store

    return imported


def basic(ident: object, more: str = "") -> bytes:
    return f'{{"resourceType":"Basic","id":"{ident}"{more}}}'.encode()
