"""Bringing equal keys together in bounded memory (S32: never a set of everything)."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.engine import spill as spill_module
from fhirferry.engine.spill import Entry, Spill
from fhirferry.model.errors import TransientError

ENTRIES = st.lists(
    st.builds(
        Entry,
        key=st.sampled_from([f"Patient/{n}" for n in range(40)]) | st.text(max_size=4),
        side=st.integers(0, 4),
        file=st.integers(-1, 3),
        line=st.integers(0, 2**40),
        digest=st.binary(max_size=2),
    ),
    max_size=60,
)


@given(batches=st.lists(ENTRIES, max_size=3), memory=st.sampled_from([2, 7, 10_000]))
def test_every_entry_comes_back_with_all_others_of_its_key_in_order(batches: list[list[Entry]], memory: int) -> None:
    naive: dict[str, list[Entry]] = defaultdict(list)
    for batch in batches:
        for entry in batch:
            naive[entry.key].append(entry)
    grouped: dict[str, list[Entry]] = {}
    with tempfile.TemporaryDirectory() as folder:
        with Spill(memory=memory, folder=Path(folder)) as spill:
            for batch in batches:
                spill.add(batch)
            for bucket in spill.buckets():
                here: dict[str, list[Entry]] = defaultdict(list)
                for entry in bucket:
                    here[entry.key].append(entry)
                assert len(here) <= memory
                assert not grouped.keys() & here.keys()
                grouped.update(here)
        assert grouped == naive
        assert list(Path(folder).iterdir()) == []


def test_few_entries_touch_no_disk(tmp_path: Path) -> None:
    with Spill(memory=10, folder=tmp_path / "not there") as spill:
        spill.add([Entry("Patient/1", 0, 0, 1)])
        assert [list(bucket) for bucket in spill.buckets()] == [[Entry("Patient/1", 0, 0, 1)]]


def test_files_go_bucket_by_bucket_and_all_when_given_up(tmp_path: Path) -> None:
    with Spill(memory=50, folder=tmp_path) as spill:
        spill.add([Entry(f"Patient/{n}", 0, 0, n) for n in range(1000)])
        (own,) = tmp_path.iterdir()
        assert own.stat().st_mode & 0o077 == 0
        full = len(list(own.iterdir()))
        buckets = spill.buckets()
        for _ in range(3):
            list(next(buckets))
        assert len(list(own.iterdir())) == full - 2
    assert list(tmp_path.iterdir()) == []


def test_one_key_repeated_without_end_is_streamed(tmp_path: Path) -> None:
    with Spill(memory=10, folder=tmp_path) as spill:
        for line in range(500):
            spill.add([Entry("Patient/1", 0, 0, line)])
        seen = [(type(bucket), [entry.line for entry in bucket]) for bucket in spill.buckets()]
    assert [lines for _, lines in seen] == [list(range(500))]
    assert seen[0][0] is not list


def test_a_temporary_folder_that_takes_nothing_is_passing_trouble(tmp_path: Path) -> None:
    with Spill(memory=1, folder=tmp_path / "not there") as spill, pytest.raises(TransientError, match="TMPDIR"):
        spill.add([Entry("Patient/1", 0, 0, 1)])


def test_the_hash_has_bits_for_every_level() -> None:
    assert spill_module._BITS * spill_module._LEVELS <= 32
