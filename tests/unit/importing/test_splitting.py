"""A Bundle cut through a window gives what it gives as a whole, in memory that does not grow with it."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.importing import ahead, reading, splitting
from fhirferry.importing.bundle import unpack, unpack_file
from fhirferry.importing.splitting import Splitter
from tests.unit.importing.conftest import Run, basic
from tests.unit.importing.test_bundle import UUID, bundle, patient, save

ENTRIES = [
    patient(1, link=[{"other": {"reference": f"{UUID}2"}}]),
    {},
    7,
    {"fullUrl": f"{UUID}2", "resource": {"resourceType": "Basic", "x": [1.5, "]},{", 'é\\"'], "n": 12345}},
    {"request": {"method": "DELETE", "url": "Patient/p9"}},
]
PROGRAM = """
import re, sys
from pathlib import Path
from fhirferry.importing.inputs import Input, Role
from fhirferry.importing.reading import read_items
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
start = peak()
print(sum(1 for item in read_items(Input(Path(sys.argv[1]), Role.DETECT))))
print(peak() - start)
"""


@pytest.fixture(params=[1, 3, 1000])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(splitting, "WINDOW", request.param)
    return int(request.param)


def cut(data: bytes) -> object:
    items = unpack_file(io.BytesIO(b"--" + data), 2)
    return None if items is None else list(items)


def whole(data: bytes) -> object:
    items = unpack(data, 0)
    return None if items is None else list(items)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("entries", [ENTRIES, []], ids=["entries", "empty"])
@pytest.mark.parametrize("order", [1, -1])
def test_cut_it_gives_what_it_gives_as_a_whole(
    window: int, indent: int | None, entries: list[object], order: int
) -> None:
    content = dict(list((bundle("batch", *entries) | {"total": 12}).items())[::order])
    data = json.dumps(content, indent=indent, ensure_ascii=False).encode() + b"\n"
    assert whole(data) is not None
    assert cut(data) == whole(data)


@pytest.mark.parametrize("size", range(1, 80))
def test_a_bundle_that_is_cut_off_anywhere_gives_nothing(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    data = b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"id":"a"}},7]}   '
    monkeypatch.setattr(splitting, "WINDOW", 5)
    assert cut(data[:-3][:size]) == whole(data[:-3][:size])


@pytest.mark.parametrize(
    "data",
    [
        b'{"resourceType":"Bundle","type":"document","entry":[]}',
        b'{"resourceType":"Basic","type":"batch","entry":[]}',
        b'{"type":"batch","entry":[]}',
        b'{"resourceType":"Bundle","type":"batch","entry":[],"entry":[]}',
        b'{"resourceType":"Bundle","type":"batch","entry":[]} 1',
        b'{"resourceType":"Bundle","type":"batch","entry":[{},]}',
        b'{"resourceType":"Bundle","type":"batch","entry":[{} {}]}',
        b'{"resourceType":"Bundle","type":"batch","entry":[{"x":}]}',
        b'{"resourceType":"Bundle","type":"batch","entry":[%s]}' % (b"[" * 99_999),
        b'{"resourceType":"Bundle","type":"batch","entry":{}}',
        b'{"resourceType":"Bundle" "type":"batch","entry":[]}',
        b'{"resourceType":"Bundle","type":7,"entry":[]}',
        b"{1:2}",
        b"[]",
        b"",
    ],
)
def test_all_else_is_left_to_who_looks_at_it_as_a_whole(window: int, data: bytes) -> None:
    assert cut(data) is None


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    ),
    st.sampled_from([None, 1]),
)
def test_values_are_cut_where_they_end(values: list[object], indent: int | None) -> None:
    split = Splitter(io.BytesIO(json.dumps(values, indent=indent).encode()), 0)
    assert split.take(b"[")
    assert [json.loads(value) for value in split.elements()] == values
    assert split.ended()


def test_a_decoder_that_says_it_otherwise_costs_memory_and_no_data(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WHOLE", 0)
    path = save(tmp_path, bundle("batch", patient(1), patient(2)))
    for pattern in (r"never", r"trailing characters \(byte (\d)"):
        monkeypatch.setattr(splitting, "_follows", splitting.re.compile(pattern).search)
        assert run(path).ids == ["Patient/p1", "Patient/p2"]


def test_all_51_bundles_are_cut_as_well(synthea: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "AHEAD_FROM", 10**12)  # another process would not know what is changed here
    whole = run(synthea)
    monkeypatch.setattr(reading, "WHOLE", 0)
    monkeypatch.setattr(reading.Document, "map", None)
    done = run(synthea)
    assert (done.items, done.totals) == (whole.items, whole.totals)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_promise4_memory_does_not_grow_with_the_bundle(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    entry = b'{"resource":%s},\n' % basic(1, ',"s":"' + "x" * 50_000 + '"')
    document = b'{"resourceType":"Bundle",\n"type":"batch","entry":[%s{"resource":%s}]}' % (entry * 1000, basic(2))
    (tmp_path / "a.json").write_bytes(pack(document))
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "a.json")], capture_output=True, check=True)
    count, grown = done.stdout.split()
    assert int(count) == 1001
    assert int(grown) < 16_000, "kB; it is 50 MB"
