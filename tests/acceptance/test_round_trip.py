"""There and back: what goes in comes out byte for byte, whatever it was packed in; and wrong input is told kindly."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
import zstandard

from fhirferry.clock import system_clock
from fhirferry.exporter import Exporter
from fhirferry.model.request import ExportRequest
from tests.acceptance.ferrying import deleted, exported, ferry, manifest, stored

DECIMALS = ("1.50", "1.0E+2", "100000000000000000000.1", "0.000", "-0", "1e-7", "3.141592653589793238462643383")
STAMP = '"meta":{"versionId":"9","lastUpdated":"2020-02-29T12:00:00.000+01:00"}'


def observation(number: int, more: str) -> str:
    return f'{{"resourceType":"Observation","id":"o{number}",{STAMP},{more}}}'


def bodies() -> list[str]:
    """Compact JSON with what a careless reader would rewrite."""
    found = [observation(n, f'"valueQuantity":{{"value":{text}}}') for n, text in enumerate(DECIMALS)]
    found += [
        observation(50, '"b":1,"a":{"z":1,"y":[1.0,1.00]}'),
        observation(51, r'"note":[{"text":"\u00fc\/ü \u2028 \ud83d\ude00 😀"}]'),
        observation(52, '"note":[{"text":"two\\nlines, a \\"quote\\" and \\\\"}],"empty":"","none":null'),
        '{"id":"last","meta":{"lastUpdated":"2021-01-01T00:00:00Z"},"resourceType":"Patient"}',
    ]
    return found


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_bytes_survive_import_export_import_export() -> None:
    """1.50 stays 1.50, members stay in order, escapes stay escapes."""
    given = bodies()
    Path("in.ndjson").write_text("\n".join(given) + "\n", encoding="utf-8")
    assert ferry("import", "in.ndjson").code == 0
    assert ferry("export", "--to", "one").code == 0
    assert ferry("import", "one", "--store", "copy.db").code == 0
    assert ferry("export", "--from", "copy.db", "--to", "two").code == 0
    wanted = {body.encode() for body in given}
    assert set(exported(Path("one")).values()) == wanted
    assert set(exported(Path("two")).values()) == wanted
    for name in ("Observation-1.ndjson", "Patient-1.ndjson"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_packed_and_plain_inputs_give_the_same_store() -> None:
    """NDJSON plain, .gz, .zst, also in several frames, and with Windows line ends."""
    lines = [f"{body}\n".encode() for body in bodies()]
    data = b"".join(lines)
    Path("plain.ndjson").write_bytes(data)
    Path("windows.ndjson").write_bytes(data.replace(b"\n", b"\r\n"))
    Path("one.ndjson.gz").write_bytes(gzip.compress(data))
    Path("many.ndjson.gz").write_bytes(b"".join(map(gzip.compress, lines)))
    compress = zstandard.ZstdCompressor().compress
    Path("one.ndjson.zst").write_bytes(compress(data))
    Path("many.ndjson.zst").write_bytes(b"".join(map(compress, lines)))
    stores = []
    for number, name in enumerate(sorted(str(path) for path in Path().glob("*.ndjson*"))):
        done = ferry("import", name, "--store", f"{number}.db", "--json")
        assert (done.code, done.lines[-1]["new"]) == (0, len(lines)), name
        stores.append(stored(Path(f"{number}.db")))
    assert len(stores) == 6
    assert all(store == stores[0] for store in stores)


def test_an_export_with_deletions_goes_round() -> None:
    Path("in.ndjson").write_text("\n".join(bodies()))
    assert ferry("import", "in.ndjson").code == 0
    assert ferry("export", "--to", "full").code == 0
    assert ferry("import", "full", "--store", "copy.db").code == 0
    assert ferry("store", "delete", "Observation/o1", "Patient/last").code == 0
    Path("new.ndjson").write_text('{"resourceType":"Patient","id":"new"}\n')
    assert ferry("import", "new.ndjson").code == 0
    since = manifest(Path("full"))["transactionTime"]
    assert ferry("export", "--to", "changes", "--since", since, "--compress", "gzip").code == 0
    assert deleted(Path("changes")) == {"Observation/o1", "Patient/last"}
    assert exported(Path("changes")).keys() == {"Patient/new"}
    assert ferry("verify", "changes", "--against", "fhirferry-data/store.db").code == 0
    done = ferry("import", "changes", "--store", "copy.db", "--json")
    assert (done.code, done.lines[-1]["deleted"], done.lines[-1]["new"]) == (0, 2, 1)
    assert stored(Path("copy.db")) == stored(Path("fhirferry-data/store.db"))
    again = ferry("import", "changes", "--store", "copy.db", "--json")
    assert (again.code, again.lines[-1]["absent"], again.lines[-1]["equal"]) == (0, 2, 1)


def test_a_store_with_nothing_in_it_is_exported_as_nothing() -> None:
    Path("in.ndjson").write_text('{"resourceType":"Patient","id":"a"}\n')
    assert ferry("import", "in.ndjson").code == 0
    assert ferry("store", "delete", "Patient/a").code == 0
    done = ferry("export", "--to", "out", "--json")
    assert done.code == 0, done.err
    assert (done.lines[-1]["status"], done.lines[-1]["resources"], done.lines[-1]["files"]) == ("completed", 0, 0)
    assert manifest(Path("out"))["output"] == []
    assert sorted(os.listdir("out")) == [".fhirferry", "SHA256SUMS", "manifest.json"]
    assert ferry("verify", "out", "--against", "fhirferry-data/store.db").code == 0
    changes = ferry("export", "--to", "changes", "--since", "2020-01-01T00:00:00Z")
    assert changes.code == 0, changes.err
    assert deleted(Path("changes")) == {"Patient/a"}
    assert manifest(Path("changes"))["output"] == []


def test_a_store_that_never_held_anything() -> None:
    Path("empty.ndjson").write_text("\n\n")
    assert ferry("import", "empty.ndjson").code == 0
    done = ferry("export", "--to", "out")
    assert done.code == 0, done.err
    assert manifest(Path("out"))["output"] == []
    assert ferry("verify", "out", "--against", "fhirferry-data/store.db").code == 0


# Wrong input


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of one Patient, and its export `out`."""
    at = tmp_path_factory.mktemp("filled")
    (at / "in.ndjson").write_text('{"resourceType":"Patient","id":"a"}\n')
    assert ferry("import", "in.ndjson", at=at).code == 0
    assert ferry("export", "--to", "out", at=at).code == 0
    return at


EXPORT = ("export", "--to", "new")
WRONG = {
    "an unknown type": ((*EXPORT, "--type", "Patiant"), "no such resource type; did you mean 'Patient'"),
    "a type in small letters": ((*EXPORT, "--type", "patient"), "'patient' is not a resource type"),
    "no type": ((*EXPORT, "--type", ","), "list of types"),
    "no element": ((*EXPORT, "--elements", ","), "list of elements"),
    "no types to bring along": ((*EXPORT, "--include-referenced", ","), "list of include referenced"),
    "no associated data": ((*EXPORT, "--include-associated-data", ","), "list of include associated data"),
    "no patient": ((*EXPORT, "--patient", ","), "--patient"),
    "no instant": ((*EXPORT, "--since", "yesterday"), "yesterday"),
    "an instant without a zone": ((*EXPORT, "--since", "2026-01-01T00:00:00"), "write it like 2026-11-22T08:30:00Z"),
    "a range without content": (
        (*EXPORT, "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"),
        "_since must be earlier than _until",
    ),
    "files of no size": ((*EXPORT, "--max-file-size", "0"), "0"),
    "files of negative size": ((*EXPORT, "--max-file-size=-1"), "-1"),
    "no processes": ((*EXPORT, "--executor", "processes:0"), "processes:N"),
    "no such compression": ((*EXPORT, "--compress", "zip"), "'none', 'gzip'"),
    "an unknown source": ((*EXPORT, "--from", "mongodb://host/db"), "mongodb: is not offered here"),
    "an unknown destination": (("export", "--to", "ftp://host/x"), "ftp: is not offered here"),
    "a destination with a password": (("export", "--to", "https://me:secret@host/x"), "password"),
    "no destination": (("export",), "--to"),
    "a folder with another export": (("export", "--to", "out"), "out holds the export"),
    "the store as ledger": ((*EXPORT, "--ledger", "fhirferry-data/store.db"), "must be two files"),
    "the folder of the store": (("export", "--to", "fhirferry-data"), "folder of its own to the export"),
    "the folder of the store, with another ledger": (
        ("export", "--to", "fhirferry-data/", "--ledger", "other.db"),
        "folder of its own to the export",
    ),
    "the store as folder": (("export", "--to", "fhirferry-data/store.db"), "is a store or ledger"),
    "no such store": ((*EXPORT, "--from", "nowhere.db"), "there is no store at"),
    "an export as store": ((*EXPORT, "--from", "out/manifest.json"), "is not a fhirferry store"),
    "no manifest": (("verify", "fhirferry-data"), "there is no manifest.json"),
    "a file of the export instead of all": (("verify", "out/Patient-1.ndjson"), "is no manifest"),
    "nothing to verify": (("verify", "nowhere"), "there is no"),
    "no store to compare with": (("verify", "out", "--against", "nowhere.db"), "there is no store at"),
    "no such job": (("jobs", "show", "zzz"), "no job 'zzz' in this ledger"),
    "nothing to import": (("import",), "Missing argument"),
    "no such file": (("import", "nowhere.json"), "does not exist"),
    "no such command": (("exprot",), "fhirferry --help"),
    "no such option": ((*EXPORT, "--tpye", "Patient"), "--type"),
}


@pytest.mark.xdist_group("wrong input")
@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_ends_with_2_says_what_is_right_and_makes_nothing(filled: Path, what: str) -> None:
    arguments, said = WRONG[what]
    before = files(filled)
    done = ferry(*arguments, at=filled)
    assert done.code == 2, done.err
    assert said in done.err
    assert "secret" not in done.err
    assert files(filled) == before


def files(at: Path) -> list[Path]:
    """All but the databases' passing ones."""
    return sorted(path for path in at.rglob("*") if path.suffix not in (".db-wal", ".db-shm"))


@pytest.mark.xdist_group("wrong input")
def test_the_beginning_of_two_ids_is_refused_and_both_are_named(filled: Path) -> None:
    ids = []
    exporter = Exporter(ledger=f"sqlite://{filled}/fhirferry-data/ledger.db", clock=system_clock)
    store = f"sqlite://{filled}/fhirferry-data/store.db"
    for number in range(20):  # 20 ids of 16 first letters: two of them begin alike
        made = exporter.start(ExportRequest(), source=store, destination=f"file://{filled}/{number}")
        ids.append(made.id)
    exporter.close()
    alike = next(first for first in "0123456789abcdef" if sum(i.startswith(first) for i in ids) > 1)
    refused = ferry("jobs", "show", alike, at=filled)
    assert refused.code == 2
    assert "is the beginning of" in refused.err
    assert [i for i in ids if i.startswith(alike) and i in refused.err]
    assert json.loads(ferry("jobs", "show", ids[0], "--json", at=filled).out.splitlines()[0])["id"] == ids[0]
