"""Done when: `fhirferry export --to az://…`, read back by the vendor's own SDK, equals the store (S30); a process that dies
in the middle costs nothing there either (S3, L15)."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from tests.acceptance.ferrying import FAULTY, SCRIPT, State, ferry, name_of, stored
from tests.object_stores import ACCOUNT, BUCKET, ObjectServer, azurite, moto

CUT = ["--max-file-size", "100kB", "--page-size", "50"]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with moto(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("generated")
    assert ferry("generate", "--patients", "30", "--to", at / "made").code == 0
    assert ferry("import", at / "made", "--store", at / "store.db").code == 0
    return at / "store.db"


def azure_files(server: ObjectServer, prefix: str) -> dict[str, bytes]:
    """Name -> bytes of everything below the prefix, by the vendor's SDK."""
    from azure.storage.blob import BlobServiceClient

    text = server.settings["AZURE_STORAGE_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(text) as service:
        container = service.get_container_client(BUCKET)
        return {
            name.removeprefix(f"{prefix}/"): container.download_blob(name, decompress=False).readall()
            for name in container.list_blob_names(name_starts_with=f"{prefix}/")
        }


def resources(files: dict[str, bytes]) -> State:
    """Type/id -> line of the files that the manifest lists: they alone are there, with the sums that it tells."""
    manifest = json.loads(files["manifest.json"])
    listed = [item["url"] for kind in ("output", "deleted", "error") for item in manifest.get(kind, [])]
    assert sorted([*listed, "manifest.json", "SHA256SUMS", ".fhirferry/job"]) == sorted(files)
    for line in files["SHA256SUMS"].decode().splitlines():
        sum_, name = line.split("  ")
        assert hashlib.sha256(files[name]).hexdigest() == sum_
    found: State = {}
    for item in manifest["output"]:
        data = files[item["url"]]
        lines = (gzip.decompress(data) if item["url"].endswith(".gz") else data).splitlines()
        assert len(lines) == item["count"]
        for line in lines:
            assert name_of(line) not in found
            found[name_of(line)] = line
    return found


@pytest.mark.xdist_group("azurite")
@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_s30_an_export_to_azure_read_back_by_the_vendors_sdk_equals_the_store(
    azure: ObjectServer, store: Path, tmp_path: Path, compress: str
) -> None:
    ledger = ["--ledger", tmp_path / "l.db"]
    address = f"az://{BUCKET}/a/{compress}"
    out = ferry("export", "--from", store, "--to", address, "--account", ACCOUNT, "--compress", compress, *CUT, *ledger,
                **azure.settings)  # fmt: skip
    assert out.code == 0, out.err
    assert resources(azure_files(azure, f"a/{compress}")) == stored(store)
    for target in (
        address,
        f"{address}/manifest.json",
        f"abfss://{BUCKET}@{ACCOUNT}.dfs.core.windows.net/a/{compress}",
    ):
        verified = ferry("verify", target, "--against", store, *ledger, "--json", **azure.settings)
        assert verified.code == 0, verified.err + verified.out
    job = ferry("jobs", "list", "--json", *ledger).lines[0]
    assert job["destination"] == f"az://{BUCKET}@{ACCOUNT}/a/{compress}"
    again = ferry("export", "--from", store, "--to", address, *ledger, **azure.settings)
    assert again.code == 2
    assert job["id"] in again.err
    gone = ferry("jobs", "delete", job["id"], "--yes", *ledger, **azure.settings)
    assert gone.code == 0, gone.err
    assert azure_files(azure, f"a/{compress}") == {}


@pytest.mark.xdist_group("azurite")
def test_the_51_bundles_reach_azure_and_equal_the_store(azure: ObjectServer, synthea: Path, tmp_path: Path) -> None:
    ledger = ["--ledger", tmp_path / "l.db"]
    imported = ferry("import", synthea, "--store", tmp_path / "store.db", "--json")
    assert imported.code == 0, imported.err
    address = f"https://{ACCOUNT}.blob.core.windows.net/{BUCKET}/synthea"
    out = ferry("export", "--from", tmp_path / "store.db", "--to", address, *ledger, **azure.settings)
    assert out.code == 0, out.err
    assert resources(azure_files(azure, "synthea")) == stored(tmp_path / "store.db")


@pytest.mark.xdist_group("azurite")
@pytest.mark.parametrize(
    ("point", "executor"),
    [
        ("page-written:7", "threads:2"),
        ("file-synced:3", "threads:2"),
        ("commit-after:2", "processes:2"),
        ("sums-written:1", "threads:2"),
    ],
)
def test_s3_a_killed_export_to_azure_is_resumed_and_equals_the_store(
    azure: ObjectServer, store: Path, tmp_path: Path, point: str, executor: str
) -> None:
    prefix = f"killed/{point.partition(':')[0]}/{executor[0]}"
    command = ["export", "--from", str(store), "--to", f"az://{BUCKET}@{ACCOUNT}/{prefix}", *CUT,
               "--ledger", str(tmp_path / "l.db"), "--executor", executor]  # fmt: skip
    died = subprocess.run([*FAULTY, *command], env={**os.environ, **azure.settings, "FHIRFERRY_FAULT": f"{point}:kill"},
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert died.returncode == -9, died.stderr
    assert "manifest.json" not in azure_files(azure, prefix)
    done = ferry(*command, **azure.settings)
    assert done.code == 0, done.err
    assert resources(azure_files(azure, prefix)) == stored(store)


@pytest.mark.xdist_group("moto")
def test_an_export_to_s3_is_verified_there_and_taken_away_again(s3: ObjectServer, store: Path, tmp_path: Path) -> None:
    ledger = ["--ledger", tmp_path / "l.db"]
    address = f"{s3.root}/daily"
    out = ferry("export", "--from", store, "--to", address, *CUT, *ledger, **s3.settings)
    assert out.code == 0, out.err
    verified = ferry("verify", address, "--against", store, *ledger, **s3.settings)
    assert verified.code == 0, verified.err
    job = ferry("jobs", "list", "--json", *ledger).lines[0]["id"]
    assert ferry("jobs", "delete", job, "--yes", *ledger, **s3.settings).code == 0
    assert ferry("verify", address, **s3.settings).code != 0


def test_l21_no_credential_in_anything_that_is_said_or_kept(store: Path, tmp_path: Path) -> None:
    canary = "Q2FuYXJ5LWluLWEta2V5LW9mLWF6dXJl"
    settings = {
        "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=acme;AccountKey={canary};BlobEndpoint=http://127.0.0.1:9"
    }
    command = ["export", "--from", str(store), "--to", "az://exports/x", "--ledger", str(tmp_path / "l.db")]
    out = subprocess.run([SCRIPT, "--debug", *command, "--json"], env={**os.environ, **settings}, capture_output=True,
                         text=True, timeout=60)  # fmt: skip
    assert out.returncode != 0
    assert canary not in out.stdout + out.stderr
    assert "az://exports@acme/x cannot be reached" in out.stderr
    assert "Traceback" in out.stderr
    for path in tmp_path.rglob("*"):
        assert canary.encode() not in path.read_bytes()


def test_an_address_of_azure_without_an_account_is_refused(store: Path, tmp_path: Path) -> None:
    out = ferry("export", "--from", store, "--to", "az://exports/x", "--ledger", tmp_path / "l.db")
    assert out.code == 2
    assert "AZURE_STORAGE_ACCOUNT" in out.err
