"""No secret in any output, log, traceback, progress line, record, manifest or process list: canaries, and a search."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fhirferry.vaults.secret import Secret

pytest.importorskip("cryptography")

CANARY = f"kanarie{os.urandom(8).hex()}"  # of this run: an editor may have this file on its command line
CONNECTION = (
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={CANARY}1==;SharedAccessSignature=sv=1&sig={CANARY}2"
)
TEXT = json.dumps({"destinationType": "folder", "destinationConnectionString": CONNECTION})
VAULTS = ("environment", "files", "ledger")


class Ferry:
    """A home with a store, and a configuration with a destination `archive` that the secret `archive-key` opens. seen: all
    that any command printed, and every command line of this machine while one ran."""

    def __init__(self, folder: Path) -> None:
        from cryptography.fernet import Fernet

        self.folder = folder
        self.seen = b""
        self.key = Fernet.generate_key().decode()
        self.environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("FHIRFERRY_")},
            "FHIRFERRY_HOME": str(folder / "home"),
            "FHIRFERRY_VAULT_KEY": self.key,
        }
        folder.joinpath("patients.ndjson").write_text(
            "".join(f'{{"resourceType":"Patient","id":"{n}"}}\n' for n in range(300))
        )
        folder.joinpath("fhirferry.toml").write_text(
            '[destinations.archive]\nurl = "out"\nsecret = "archive-key"\n[destinations.plain]\nurl = "plain"\n'
        )
        folder.joinpath("secrets").mkdir()
        assert self.run("import", "patients.ndjson") == 0

    def plant(self, vault: str, text: str, key: str | None = None) -> str:
        """Put the secret where that vault finds it; the vault's address."""
        if vault == "environment":
            self.environment["FHIRFERRY_SECRET_ARCHIVE_KEY"] = text
        elif vault == "files":
            self.folder.joinpath("secrets", "archive-key").write_text(text)
        else:
            from fhirferry.vaults.ledger import LedgerSecretStore

            if not self.folder.joinpath("home", "ledger.db").exists():
                assert self.run("export", "--to", "plain") == 0
            with closing(LedgerSecretStore(self.folder / "home" / "ledger.db", [Secret(key or self.key)])) as store:
                store.set("archive-key", Secret(text))
        return f"files:{self.folder}/secrets" if vault == "files" else vault

    def run(self, *words: str) -> int:
        command = [sys.executable, "-m", "fhirferry.cli.main", *words, "--debug"]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as ran:
            while True:
                self.seen += b"".join(_command_lines())
                try:
                    printed, _ = ran.communicate(timeout=0.02)
                except subprocess.TimeoutExpired:
                    continue
                self.seen += printed
                return ran.returncode

    def written(self) -> bytes:
        """Every byte below the folder, but for what the operator put there."""
        own = (self.folder / "secrets" / "archive-key", self.folder / "fhirferry.toml")
        return b"".join(p.read_bytes() for p in self.folder.rglob("*") if p.is_file() and p not in own)


def _command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes()
        except OSError:  # it has ended
            continue


@pytest.fixture
def ferry(tmp_path: Path) -> Ferry:
    return Ferry(tmp_path)


@pytest.mark.parametrize("vault", VAULTS)
def test_no_secret_is_seen_or_written_where_the_export_goes_well(ferry: Ferry, vault: str) -> None:
    address = ferry.plant(vault, TEXT)
    assert ferry.run("export", "--to", "archive", "--json", "--vault", address, "--executor", "processes:1") == 0
    assert ferry.folder.joinpath("out", "manifest.json").exists()
    for words in (("jobs", "list"), ("jobs", "list", "--json"), ("verify", "out")):
        assert ferry.run(*words) == 0
    assert b"archive-key" in ferry.written()
    assert b"--vault" in ferry.seen or not Path("/proc").exists()  # the search would find it
    assert CANARY.encode() not in ferry.seen
    assert CANARY.encode() not in ferry.written()


@pytest.mark.parametrize(
    "text",
    [
        CONNECTION,
        json.dumps({"destinationType": CONNECTION, "destinationConnectionString": CONNECTION}),
        json.dumps({"destinationType": "s3", "destinationConnectionString": CONNECTION}),
        json.dumps({CANARY: "folder", "destinationConnectionString": [CONNECTION]}),
        TEXT[:-2],
    ],
    ids=["pasted", "type is secret too", "for another kind", "other keys", "cut off"],
)
def test_no_secret_is_in_errors_and_tracebacks(ferry: Ferry, text: str) -> None:
    address = ferry.plant("environment", TEXT)
    assert ferry.run("export", "--to", "archive", "--vault", address, "--detach") == 0
    ferry.plant("environment", text)
    assert ferry.run("worker", "--until-idle", "--vault", address) == 1  # the job fails
    assert ferry.run("export", "--to", "archive", "--vault", address, "--new") == 2  # refused at the kick-off
    assert b"Traceback" in ferry.seen
    assert CANARY.encode() not in ferry.seen
    assert CANARY.encode() not in ferry.written()


def test_a_secret_of_another_key_says_so_and_shows_nothing(ferry: Ferry) -> None:
    from cryptography.fernet import Fernet

    address = ferry.plant("ledger", TEXT, Fernet.generate_key().decode())
    assert ferry.run("export", "--to", "archive", "--vault", address) != 0
    assert b"encrypted with another key" in ferry.seen
    assert CANARY.encode() not in ferry.seen + ferry.written()
    assert ferry.key.encode() not in ferry.seen + ferry.written()


def test_a_secret_that_is_typed_where_a_name_or_an_address_belongs_is_not_repeated(ferry: Ferry) -> None:
    ferry.plant("environment", TEXT)
    outputs = []
    for words in (("--vault", f"{CANARY}://x"), ("--vault", f"files{CANARY}")):
        ran = subprocess.run(
            [sys.executable, "-m", "fhirferry.cli.main", "export", "--to", "archive", "--debug", *words],
            cwd=ferry.folder,
            env=ferry.environment,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 2
        outputs.append(ran.stdout + ran.stderr)
    assert all(CANARY not in output and "write one of: environment" in output for output in outputs)


def test_a_name_of_a_destination_resumes_by_that_name_and_a_folder_of_that_name_is_typed_with_a_dot(
    ferry: Ferry,
) -> None:
    address = ferry.plant("environment", TEXT)
    assert ferry.run("export", "--to", "archive", "--vault", address, "--detach", "--json") == 0
    assert ferry.run("export", "--to", "archive", "--vault", address) == 0  # the same job
    assert b"Found" in ferry.seen or b"unfinished" in ferry.seen or b"queued" in ferry.seen
    assert len(list(ferry.folder.glob("out/manifest.json"))) == 1
    assert ferry.run("export", "--to", "./archive", "--new") == 0
    assert ferry.folder.joinpath("archive", "manifest.json").exists()
