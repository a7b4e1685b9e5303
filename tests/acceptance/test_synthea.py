"""Done when: the 51 Synthea bundles import, export and verify with zero differences, there and back again."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from fhirferry.fhir.resource import read_resource
from tests.acceptance.ferrying import exported, ferry, manifest, name_of, stored

pytestmark = pytest.mark.xdist_group("synthea")  # one import for all of them


@pytest.fixture(scope="module")
def ferried(synthea: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles' `store.db` and its export `out`."""
    at = tmp_path_factory.mktemp("ferried")
    imported = ferry("import", synthea, "--store", at / "store.db", "--json")
    assert imported.code == 0, imported.err
    assert imported.lines[-1]["bad"] == 0
    done = ferry("export", "--from", at / "store.db", "--to", at / "out", "--ledger", at / "ledger.db")
    assert done.code == 0, done.err
    return at


def in_bundles(folder: Path) -> Counter[str]:
    """Resources by type, counted with the standard library alone."""
    found: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for path in folder.glob("*.json"):
        for entry in json.loads(path.read_bytes())["entry"]:
            resource = entry["resource"]
            key = resource["resourceType"], resource["id"]
            found[key[0]] += key not in seen
            seen.add(key)
    return found


def test_every_resource_of_the_bundles_is_exported_and_nothing_differs(ferried: Path, synthea: Path) -> None:
    lines = exported(ferried / "out")
    assert Counter(name.partition("/")[0] for name in lines) == in_bundles(synthea)
    assert sum(item["count"] for item in manifest(ferried / "out")["output"]) == len(lines)
    assert lines == stored(ferried / "store.db")
    verified = ferry("verify", ferried / "out", "--against", ferried / "store.db", "--json")
    assert verified.code == 0, verified.out
    assert verified.lines[-1]["outcome"] == "holds"


def test_references_between_entries_lead_to_resources_that_are_there(ferried: Path) -> None:
    lines = exported(ferried / "out")
    assert not [name for name, line in lines.items() if b'"reference":"urn:uuid:' in line]
    checked = 0
    for line in lines.values():
        for part in line.split(b'"reference":"')[1:]:
            target = part[: part.index(b'"')].decode()
            if target.count("/") == 1 and "?" not in target:
                assert target in lines
                checked += 1
    assert checked > 10_000


def test_what_was_given_comes_out_token_by_token(ferried: Path, synthea: Path) -> None:
    """An exported line is its entry without insignificant white space; addresses and `meta` apart, which are ours.

    The bundles tell of 93 organizations more than once, each time otherwise: the last one counts.
    """
    given: dict[str, bytes] = {}
    for path in sorted(synthea.glob("*.json")):
        entries = msgspec.json.decode(path.read_bytes(), type=_Bundle).entry
        address = {e.fullUrl.encode(): name_of(e.resource).encode() for e in entries}
        for entry in entries:
            body = msgspec.json.format(entry.resource, indent=-1)
            body = _URN.sub(lambda match, address=address: b'"%s"' % address.get(match[1], match[1]), body)  # type: ignore[misc]
            given[name_of(body)] = body
    lines = exported(ferried / "out")
    assert lines.keys() == given.keys()
    assert [n for n, line in lines.items() if read_resource(line).digest != read_resource(given[n]).digest] == []


_URN = re.compile(rb'(?<!"value":)"(urn:uuid:[^"]+)"')


class _Entry(msgspec.Struct):
    fullUrl: str  # noqa: N815
    resource: msgspec.Raw


class _Bundle(msgspec.Struct):
    entry: list[_Entry]


def test_importing_the_same_again_changes_nothing(ferried: Path, synthea: Path, tmp_path: Path) -> None:
    """But for the 93 organizations that the bundles themselves tell otherwise each time: they end as they were."""
    store = shutil.copy(ferried / "store.db", tmp_path)
    before = stored(store)
    again = ferry("import", synthea, "--store", store, "--json")
    assert again.code == 0
    end = again.lines[-1]
    assert (end["new"], end["older"], end["bad"]) == (0, 0, 0)
    assert {kind for kind, totals in end["by_type"].items() if totals["changed"]} == {"Organization"}
    after = stored(store)
    assert {n for n in before if before[n] != after[n]} == {n for n in before if n.startswith("Organization/")} & {
        n for n in before if before[n] != after[n]
    }
    assert [n for n in before if read_resource(before[n]).digest != read_resource(after[n]).digest] == []
    assert ferry("verify", ferried / "out", "--against", store).code == 0


@pytest.mark.parametrize("executor", ["inline", "threads:2", "processes:2"])
def test_a_gzip_export_gives_another_store_the_same_bytes(ferried: Path, tmp_path: Path, executor: str) -> None:
    store, out = ferried / "store.db", tmp_path / "out"
    more = ("--compress", "gzip", "--executor", executor, "--max-file-size", "3MB")
    done = ferry("export", "--from", store, "--to", out, "--ledger", tmp_path / "ledger.db", *more)
    assert done.code == 0, done.err
    names = [path.name for path in out.glob("*.ndjson.gz")]
    assert sorted(names) == sorted(item["url"] for item in manifest(out)["output"])
    assert gzip.decompress((out / names[0]).read_bytes()).startswith(b'{"')
    assert ferry("verify", out, "--against", store).code == 0
    assert ferry("import", out, "--store", tmp_path / "copy.db").code == 0
    assert stored(tmp_path / "copy.db") == stored(store)
