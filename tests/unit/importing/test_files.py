"""Design section 8, importing: what is read, whatever it is wrapped in; what cannot be read is said."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from fhirferry.importing import reading
from fhirferry.model.errors import RequestError
from tests.unit.importing.conftest import Run, basic

LINES = b"\n".join(basic(n) for n in range(3)) + b"\n"
IDS = ["Basic/0", "Basic/1", "Basic/2"]
HALF = len(LINES) // 2
COMPRESSED = {
    "plain": LINES,
    "gzip": gzip.compress(LINES),
    "gzip members": gzip.compress(LINES[:HALF]) + gzip.compress(LINES[HALF:]),
    "zstd": zstandard.compress(LINES),
    "zstd frames": zstandard.compress(LINES[:HALF]) + zstandard.compress(LINES[HALF:]),
    "byte order mark, CRLF, blank lines": b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n  \r\n"),
    "no end of line": LINES.rstrip(),
}


@pytest.mark.parametrize("data", COMPRESSED.values(), ids=COMPRESSED.keys())
@pytest.mark.parametrize("name", ["a.ndjson", "a.json", "a.ndjson.gz", "noname"])
def test_lines_are_read_whatever_wraps_them_and_whatever_they_are_called(
    tmp_path: Path, run: Run, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    done = run(tmp_path / name)
    assert (done.ids, done.bad) == (IDS, [])


@pytest.mark.parametrize("without_isal", [False, True])
@pytest.mark.parametrize(("kind", "word"), [("gzip", "cut off"), ("zstd", "cut off")])
@pytest.mark.parametrize("size", [20_000, 20])
def test_a_compressed_file_that_is_cut_off_is_never_taken_for_a_whole_one(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, word: str, size: int, without_isal: bool
) -> None:
    if without_isal:
        monkeypatch.setitem(sys.modules, "isal", None)
    lines = b"".join(basic(n) + b"\n" for n in range(size))
    data = gzip.compress(lines) if kind == "gzip" else zstandard.compress(lines)
    (tmp_path / "a.ndjson").write_bytes(data[:-3])
    done = run(tmp_path / "a.ndjson")
    ((_, line, reason),) = done.bad
    assert word in reason
    assert line in (0, len(done.ids) + 1)
    assert run(tmp_path / "a.ndjson", strict=True).ids == []


@pytest.mark.parametrize("data", [gzip.compress(LINES * 99), zstandard.compress(LINES * 99)], ids=["gzip", "zstd"])
def test_damaged_compression_is_reported_and_other_files_go_on(tmp_path: Path, run: Run, data: bytes) -> None:
    (tmp_path / "a.ndjson").write_bytes(data[:30] + b"\xff" * 20 + data[50:])
    (tmp_path / "b.ndjson").write_bytes(LINES)
    done = run(tmp_path)
    assert done.ids[-3:] == IDS
    assert "damaged" in done.bad[-1][2]


def test_zstandard_missing_names_the_extra(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "a.ndjson.zst").write_bytes(COMPRESSED["zstd"])
    assert "fhirferry[zstd]" in run(tmp_path).bad[0][2]


def test_a_bad_line_is_reported_with_its_number_and_the_rest_goes_in(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"\n".join([basic(0), b"", b'{"secret', basic(1), b'{"resourceType":"Basic"}']))
    done = run(tmp_path / "a.ndjson")
    assert done.ids == ["Basic/0", "Basic/1"]
    assert [(name, line) for name, line, _ in done.bad] == [("a.ndjson", 3), ("a.ndjson", 5)]
    assert "secret" not in str(done.bad)
    assert done.totals is not None
    assert (done.totals.bad, done.totals.files, done.totals.types["Basic"].new) == (2, 1, 2)


def test_strict_takes_nothing_of_a_bad_file_and_all_of_the_others(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.ndjson").write_bytes(LINES + b"[]")
    (tmp_path / "b.ndjson").write_bytes(LINES)
    for room in (8_000_000, 600):  # a file of one batch; a file that is read twice
        monkeypatch.setattr("fhirferry.importing.importer.BATCH_BYTES", room)
        done = run(tmp_path, strict=True)
        assert done.ids == IDS
        assert [(name, line) for name, line, _ in done.bad] == [("a.ndjson", 4)]


def test_a_line_beyond_the_limit_is_reported_and_does_not_take_the_memory(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 2_000_000
    monkeypatch.setattr(reading.read_items, "__kwdefaults__", {"line_limit": limit})
    exact = basic("x", ',"s":"%s"')
    exact = exact.replace(b"%s", b"y" * (limit - len(exact) + 2))
    assert len(exact) == limit
    (tmp_path / "a.ndjson").write_bytes(b"\n".join([basic(0), b" " * 4_000_000 + exact, exact, b"", basic(1)]))
    (tmp_path / "b.json").write_bytes(exact + b" ")
    done = run(tmp_path)
    assert done.ids == ["Basic/0", "Basic/x", "Basic/1"]
    assert [bad[:2] for bad in done.bad] == [("a.ndjson", 2), ("b.json", 0)]
    assert "larger than 2 MB" in done.bad[1][2]


def test_a_folder_is_read_in_order_and_says_what_it_skipped(tmp_path: Path, run: Run) -> None:
    for name in ("b/2.jsonl", "b/.hidden.ndjson", ".git/x.ndjson", "a.NDJSON", "c.json", "readme.md", "d.ndjson.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(basic(name.replace("/", "-")))
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    done = run(tmp_path)
    assert done.ids == ["Basic/a.NDJSON", "Basic/b-2.jsonl", "Basic/c.json"]
    assert done.totals is not None
    assert (done.totals.skipped, done.totals.files, len(done.batches)) == (2, 3, 1)
    assert run(tmp_path / "readme.md").ids == ["Basic/readme.md"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_pretty_printed_document_may_open_with_a_byte_order_mark(
    tmp_path: Path, run: Run, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "a.json").write_bytes(pack(b"\xef\xbb\xbf\r\n" + basic(1).replace(b",", b",\r\n  ")))
    done = run(tmp_path)
    assert (done.ids, done.bad) == (["Basic/1"], [])


def test_a_path_that_is_not_there_is_a_mistake_of_the_caller(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RequestError, match="no such file"):
        run(tmp_path / "none.ndjson")


@pytest.mark.parametrize("size", [0, 1])
def test_files_without_content(tmp_path: Path, run: Run, size: int) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"\n" * size)
    (tmp_path / "a.json").write_bytes(b"\n" * size)
    done = run(tmp_path)
    assert done.ids == []
    assert [bad[:2] for bad in done.bad] == [("a.json", 0)]


def test_batches_end_by_count_bytes_and_time(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n) + b"\n" for n in range(41_000)))
    done = run(tmp_path)
    assert [len(batch) for batch in done.batches] == [2500, 5000, 10_000, 20_000, 3500]
    assert done.progress == [2500, 7500, 17_500, 37_500, 41_000]
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n) + b"\n" for n in range(1000)))

    ticks = iter(range(0, 10**9, 600_000))  # 0.6 s between two looks at the clock
    assert {len(batch) for batch in run(tmp_path, clock=lambda: next(ticks)).batches[:-1]} == {128}

    large = ',"s":"' + "x" * 3_000_000 + '"'
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n, large) + b"\n" for n in range(21)))
    assert [len(batch) for batch in run(tmp_path).batches] == [10, 10, 1]

    large = ',"s":"' + "x" * 25_000_000 + '"'  # two of them are never in memory at once
    (tmp_path / "a.ndjson").write_bytes(b"".join(basic(n, large) + b"\n" for n in range(2)))
    assert [len(batch) for batch in run(tmp_path).batches] == [1, 1]


MANIFEST = {"transactionTime": "2026-01-01T00:00:00Z", "request": "", "requiresAccessToken": False, "error": []}


def export(folder: Path, **files: list[str]) -> None:
    listed = {kind: [{"type": "Basic", "url": url} for url in urls] for kind, urls in files.items()}
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | listed))


def test_an_export_is_read_as_its_manifest_says_deletions_last(tmp_path: Path, run: Run) -> None:
    bundle = b'{"resourceType":"Bundle","id":"kept","type":"collection","entry":[{"resource":%s}]}' % basic("inside")
    gone = b'{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Basic/9"}}]}'
    (tmp_path / "z.ndjson").write_bytes(bundle + b"\n" + basic(1))
    (tmp_path / "a b.ndjson.gz").write_bytes(gzip.compress(basic(2)))
    (tmp_path / "deleted").mkdir()
    (tmp_path / "deleted" / "d.ndjson").write_bytes(gone + b"\n" + basic(3) + b"\n" + bundle)
    (tmp_path / "errors.ndjson").write_bytes(basic("error"))
    (tmp_path / "orphan.ndjson").write_bytes(basic("orphan"))
    export(
        tmp_path,
        output=["z.ndjson", "https://example.org/files/job/a%20b.ndjson.gz?token=1", "gone.ndjson"],
        deleted=["deleted/d.ndjson"],
        error=["errors.ndjson"],
    )
    for path in (tmp_path, tmp_path / "manifest.json"):
        done = run(path)
        assert done.ids == ["Bundle/kept", "Basic/1", "Basic/2", "-Basic/9"]
        assert done.bad == [
            ("gone.ndjson", 0, "No such file or directory"),
            ("d.ndjson", 2, "not a Bundle of deletions"),
            ("d.ndjson", 3, "not a Bundle of deletions"),
        ]


def test_promise5_a_manifest_reaches_nothing_outside_its_folder(tmp_path: Path, run: Run) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "secret.ndjson").write_bytes(basic("secret"))
    export(inside, output=["../secret.ndjson", str(tmp_path / "secret.ndjson"), f"file://{tmp_path}/secret.ndjson"])
    done = run(inside)
    assert done.ids == []
    assert len(done.bad) == 3


def test_a_manifest_that_goes_on_elsewhere_is_refused_rather_than_read_in_part(tmp_path: Path, run: Run) -> None:
    export(tmp_path, output=[])
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text[:-1] + ',"link":[{"relation":"next","url":"x"}]}')
    with pytest.raises(RequestError, match="further manifest"):
        run(tmp_path)


def test_a_manifest_json_of_another_kind_is_a_file_like_any(tmp_path: Path, run: Run) -> None:
    (tmp_path / "manifest.json").write_text('{"name":"app"}')
    (tmp_path / "a.ndjson").write_bytes(LINES)
    done = run(tmp_path)
    assert done.ids == IDS
    assert done.bad[0][:2] == ("manifest.json", 0)
