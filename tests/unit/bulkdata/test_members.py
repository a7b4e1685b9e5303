"""gzip as exports have it: every reader of gzip takes it, and wherever it is cut off that is seen."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

from fhirferry.bulkdata import members
from fhirferry.bulkdata.members import END, HEAD, CompressionDamaged, gunzip
from fhirferry.engine import packer
from fhirferry.engine.packer import Packer
from fhirferry.fhir.resource import Resource
from fhirferry.importing.bundle import Bad
from fhirferry.importing.inputs import Input, Role
from fhirferry.importing.reading import read_items

LINES = [b'{"resourceType":"Patient","id":"%d","text":"%s"}\n' % (n, b"%d " % n**20 * 5) for n in range(40)]
RAW = b"".join(LINES)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Pages of 4 lines in members of some 8."""
    monkeypatch.setattr(packer, "MEMBER", len(RAW) // 6)
    pages = Packer()
    return b"".join(pages.compress(b"".join(LINES[n : n + 4])) for n in range(0, 40, 4)) + pages.flush()


def starts(data: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(HEAD, at)]


def whole(data: bytes) -> int:
    """Lines that can be read, by the standard library's zlib, member by member."""
    found = b""
    while data:
        member = zlib.decompressobj(31)
        found += member.decompress(data)
        data = member.unused_data
    return found.count(b"\n")


def test_each_member_is_a_file_of_whole_lines_and_the_last_is_empty(packed: bytes) -> None:
    cuts = [*starts(packed), len(packed)]
    assert len(cuts) > 5
    parts = [gzip.decompress(packed[a:b]) for a, b in pairwise(cuts)]
    assert b"".join(parts) == RAW
    assert all(part.endswith(b"\n") for part in parts[:-1])
    assert (parts[-1], packed[-len(END) :]) == (b"", END)


def test_readers_of_gzip_take_it(packed: bytes, tmp_path: Path) -> None:
    igzip = pytest.importorskip("isal.igzip")
    assert gzip.decompress(packed) == igzip.decompress(packed) == RAW
    (tmp_path / "a.gz").write_bytes(packed)
    if shutil.which("gzip"):
        subprocess.run(["gzip", "-t", tmp_path / "a.gz"], check=True)
        assert subprocess.run(["gzip", "-dc", tmp_path / "a.gz"], check=True, capture_output=True).stdout == RAW


@pytest.mark.parametrize("with_isal", [True, False])
def test_wherever_it_is_cut_off_that_is_seen_and_what_is_whole_is_read(
    packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_isal: bool
) -> None:
    if not with_isal:
        monkeypatch.setattr(members, "deflate", lambda: zlib)
    path = tmp_path / "a.ndjson.gz"
    cuts = {at + near for at in [*starts(packed), len(packed)] for near in (-9, -8, -1, 0, 1, 9, 10, 15, 16, 17, 20)}
    for cut in sorted(cuts | set(range(1, len(packed), 397))):
        if not 2 <= cut < len(packed):
            continue
        found = b""
        with pytest.raises(CompressionDamaged, match="cut off"):  # noqa: PT012 - what came before counts
            for piece in gunzip(packed[:cut][at : at + 500] for at in range(0, cut, 500)):
                found += piece
        assert found.count(b"\n") == whole(packed[:cut])
        path.write_bytes(packed[:cut])
        *read, bad = read_items(Input(path, Role.OUTPUT))
        assert len(read) == found.count(b"\n")
        assert all(isinstance(item, Resource) for item in read)
        assert isinstance(bad, Bad)
        assert "cut off" in bad.reason


def test_gzip_of_others_needs_no_empty_member_and_may_be_padded() -> None:
    assert b"".join(gunzip([gzip.compress(RAW[:100]) + gzip.compress(RAW[100:]) + bytes(20), bytes(9)])) == RAW
    assert b"".join(gunzip([gzip.compress(RAW) + END])) == RAW


def test_what_is_no_gzip_behind_a_member_is_damage(packed: bytes) -> None:
    with pytest.raises(CompressionDamaged, match="damaged"):
        list(gunzip([packed + b"more than a header"]))
