"""Jobs with a secret, or for a destination by name, through the front door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fhirferry.clock import system_clock
from fhirferry.exporter import Exporter
from fhirferry.exporting.by_secret import KINDS, Hidden, open_with
from fhirferry.exporting.named import Destinations, NamedDestination
from fhirferry.exporting.vaults import VaultAddress
from fhirferry.fhir.resource import read_resource
from fhirferry.model.errors import FerryError, PermanentError, RequestError, SecretNotFound, SecretStoreError
from fhirferry.model.job import JobStatus
from fhirferry.model.request import ExportRequest
from fhirferry.store.sqlite import SqliteStore
from fhirferry.vaults.memory import MemorySecretStore
from fhirferry.vaults.secret import DestinationSecret, Secret, connection_hash

ALL = ExportRequest()
CANARY = "kanarievogel"


def secret(kind: str, connection: str) -> Secret:
    return Secret(msgspec.json.encode({"destinationType": kind, "destinationConnectionString": connection}).decode())


class Place:
    """A store with a Patient and a ledger in `folder`, and secrets in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = f"sqlite://{folder}/store.db"
        self.vault = MemorySecretStore()
        with closing(SqliteStore(str(folder / "store.db"), clock=system_clock, create=True)) as store:
            store.write([read_resource(b'{"resourceType":"Patient","id":"1"}')])

    def exporter(self, destinations: Destinations | None = None, **more: Any) -> closing[Exporter]:
        more = {"vault": self.vault, "executor": "inline", **more}
        return closing(Exporter(ledger=f"sqlite://{self.folder}/ledger.db", destinations=destinations, **more))

    def named(self, folder: str, secret: str | None = "key") -> Destinations:
        return Destinations(named={"archive": NamedDestination(url=f"file://{self.folder}/{folder}", secret=secret)})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_S37_S69_without_a_url_the_record_has_a_hash_and_the_job_a_place_of_its_own(place: Place) -> None:
    place.vault.set("mine", secret("folder", f"{place.folder}/out"))
    with place.exporter() as exporter:
        job = exporter.start(ALL, source=place.source, secret="mine")
        record = job.status()
        assert (record.secret_name, record.destination_uri, record.destination_root) == ("mine", "", "")
        assert record.connection_hash == connection_hash(Secret(f"{place.folder}/out"))
        done = exporter.worker().run_job(job.id)
    assert done.status is JobStatus.COMPLETED
    assert (place.folder / "out" / job.id / "manifest.json").exists()
    assert place.vault._secrets == {}  # clean-up was part of it


def test_S38_the_string_changes_while_the_job_waits(place: Place) -> None:
    place.vault.set("mine", secret("folder", f"{place.folder}/out"))
    with place.exporter() as exporter:
        job = exporter.start(ALL, source=place.source, secret="mine")
        place.vault.set("mine", secret("folder", f"{place.folder}/elsewhere"))
        record = exporter.worker().run_job(job.id)
    assert record.failure is not None
    assert record.failure.reason == "Storage account connection string was updated during an export job."
    assert (record.status, record.failure.status_code) == (JobStatus.FAILED, 400)
    assert not (place.folder / "elsewhere").exists()


@pytest.mark.parametrize("changed", ["elsewhere", None])
def test_S36_S84_S85_the_recorded_url_wins_over_a_configuration_that_changed_meanwhile(
    place: Place, changed: str | None
) -> None:
    place.vault.set("key", secret("folder", "one"))
    with place.exporter(place.named("out")) as exporter:
        job = exporter.start(ALL, source=place.source, destination="archive")
        record = job.status()
    assert record.destination_uri == f"file://{place.folder}/out"
    assert (record.destination_name, record.secret_name, record.connection_hash) == ("archive", "key", "")
    place.vault.set("key", secret("folder", "rotated"))
    with place.exporter(place.named(changed, "other") if changed else None) as exporter:
        done = exporter.worker().run_job(job.id)
    assert done.status is JobStatus.COMPLETED
    assert (done.destination_uri, done.secret_name) == (record.destination_uri, "key")
    assert (place.folder / "out" / "manifest.json").exists()
    assert not (place.folder / "elsewhere").exists()
    assert set(place.vault._secrets) == {"key"}  # S29: the operator's


def test_a_named_destination_without_a_secret_is_opened_by_the_environment_like_any_address(place: Place) -> None:
    with place.exporter(place.named("out", None)) as exporter:
        job = exporter.start(ALL, source=place.source, destination="archive")
        assert exporter.worker().run_job(job.id).status is JobStatus.COMPLETED
    assert place.vault.calls == []


def test_two_kick_offs_of_the_same_name_are_one_job_and_of_other_secrets_are_not(place: Place) -> None:
    for name in ("one", "two"):
        place.vault.set(name, secret("folder", f"{place.folder}/out"))
    with place.exporter(place.named("out", None)) as exporter:
        way: Any = {"source": place.source, "destination": "archive"}
        first = exporter.find_or_start(ALL, **way)[0]
        assert exporter.find_or_start(ALL, **way)[0].id == first.id
        by_secret = [
            exporter.find_or_start(ALL, source=place.source, secret=name)[0].id for name in ("one", "two", "one")
        ]
    assert by_secret[0] == by_secret[2] != by_secret[1]


def test_processes_read_the_secret_by_its_name_themselves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRFERRY_SECRET_MINE", secret("folder", f"{place.folder}/out").reveal())
    with place.exporter(vault=None, executor="processes:1") as exporter:
        job = exporter.start(ALL, source=place.source, secret="mine")
        assert exporter.worker().run_job(job.id).status is JobStatus.COMPLETED
    assert (place.folder / "out" / job.id / "Patient-1.ndjson").exists()


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ({}, "needs a destination"),
        ({"secret": "none"}, "no secret 'none'"),
        ({"secret": "bad name"}, "not the name of a secret"),
        ({"secret": "mine", "destination": "archive"}, "as it was configured"),
        ({"secret": "mine", "layout": "<timestamp>"}, "place of its own"),
        ({"secret": "strange"}, "destinationType that is not offered"),
        ({"secret": "pasted"}, "not JSON of the form"),
        ({"secret": "mine", "destination": "s3://a/b"}, "the secret is for folder, the job's destination is s3://"),
    ],
)
def test_what_cannot_work_is_refused_at_the_kick_off_and_makes_no_job(place: Place, way: Any, says: str) -> None:
    place.vault.set("mine", secret("folder", f"{place.folder}/out"))
    place.vault.set("strange", secret(CANARY, CANARY))
    place.vault.set("pasted", Secret(CANARY))
    with place.exporter(place.named("out")) as exporter:
        with pytest.raises(RequestError, match=says) as caught:
            exporter.start(ALL, source=place.source, **way)
        assert exporter.jobs() == ()
    assert CANARY not in caught.value.message


def test_S15_S74_an_unknown_type_fails_the_job_400_with_the_reason(place: Place) -> None:
    place.vault.set("mine", secret("folder", CANARY))
    with place.exporter() as exporter:
        job = exporter.start(ALL, source=place.source, destination=f"file://{place.folder}/out", secret="mine")
        place.vault.set("mine", secret("ftp", CANARY))
        record = exporter.worker().run_job(job.id)
    assert record.failure is not None
    assert (record.status, record.failure.status_code) == (JobStatus.FAILED, 400)
    assert (
        "is not offered; it is one of: in-memory, folder, azure-blob, s3, google-cloud-storage" in record.failure.reason
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_for_other_addresses_is_refused(kind: str) -> None:
    with pytest.raises(PermanentError, match=f"is for {kind}, .* is sqlite://") as caught:
        open_with("sqlite:///x", DestinationSecret(kind, Secret(CANARY)), "0123456789ab")
    assert caught.value.status_code == 400


GOOD = {
    "in-memory": "",
    "azure-blob": f"AccountName=account;AccountKey={'A' * 86}==",
    "s3": "AWS_ACCESS_KEY_ID=a;AWS_SECRET_ACCESS_KEY=b=c;Url=s3://bucket/below/",
    "google-cloud-storage": '{"Url": "gs://bucket", "GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}',
}


@pytest.mark.parametrize(("kind", "given", "url"), [
    ("in-memory", {}, "memory://0123456789ab"),
    ("azure-blob", {"AZURE_STORAGE_CONNECTION_STRING": GOOD["azure-blob"]}, "az://0123456789ab"),
    ("s3", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b=c", "Url": "s3://bucket/below/"},
     "s3://bucket/below/0123456789ab"),
    ("google-cloud-storage", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{}", "Url": "gs://bucket"}, "gs://bucket/0123456789ab"),
])  # fmt: skip
def test_S69_what_each_kind_of_bucket_is_opened_with(
    monkeypatch: pytest.MonkeyPatch, kind: str, given: dict[str, str], url: str
) -> None:
    opening = pytest.importorskip("fhirferry.destinations.bucket_opening")
    asked: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(opening, "open_object_store", lambda url, credentials: asked.append((url, dict(credentials))))
    open_with("", DestinationSecret(kind, Secret(GOOD[kind])), "0123456789ab")
    open_with(f"{KINDS[kind].schemes[0]}://there", DestinationSecret(kind, Secret(GOOD[kind])), "0123456789ab")
    assert asked == [(url, given), (f"{KINDS[kind].schemes[0]}://there", given)]


@pytest.mark.parametrize(
    ("kind", "connection"),
    [
        ("folder", f"https://host/{CANARY}?sig={CANARY}"),
        ("azure-blob", CANARY),
        ("azure-blob", f"AccountKey={CANARY}"),
        ("azure-blob", f"AccountName=account;Other={CANARY}"),
        ("s3", CANARY),
        ("s3", f"AWS_ACCESS_KEY_ID={CANARY}"),
        ("s3", f"AWS_ACCESS_KEY_ID={CANARY};Url=s3://bucket"),
        ("google-cloud-storage", f'{{"Url": "gs://bucket", "{CANARY}": 1}}'),
        ("google-cloud-storage", f'{{"Url": "gs://bucket", "GOOGLE_SERVICE_ACCOUNT_KEY": "{CANARY}"}}'),
    ],
)
def test_a_connection_string_that_cannot_be_read_is_quoted_in_no_message_and_no_frame(
    kind: str, connection: str
) -> None:
    if kind != "folder":
        pytest.importorskip("fhirferry.destinations.bucket_opening")
        pytest.importorskip("obstore")
    from traceback import TracebackException

    hidden = DestinationSecret(kind, Secret(connection))
    with pytest.raises(FerryError) as caught:
        open_with("", hidden, "0123456789ab")
    trace = caught.value.__traceback__
    assert trace is not None
    shown = TracebackException(type(caught.value), caught.value, trace.tb_next, capture_locals=True)
    assert CANARY not in "".join(shown.format()) + caught.value.message + repr(caught.value.__context__)


def test_credentials_show_themselves_only_by_their_name() -> None:
    given = Hidden({"a": CANARY})
    assert (given["a"], list(given), len(given)) == (CANARY, ["a"], 1)
    assert CANARY not in repr(given) + str(given) + repr(given.values()) + repr(given.items())


@pytest.fixture
def _keyed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fernet = pytest.importorskip("cryptography.fernet")
    monkeypatch.setenv("FHIRFERRY_VAULT_KEY", fernet.Fernet.generate_key().decode())
    return


@pytest.mark.usefixtures("_keyed")
def test_the_address_of_a_vault_opens_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.exporter():
        pass  # makes the ledger
    ledger = str(place.folder / "ledger.db")
    monkeypatch.setenv("FHIRFERRY_SECRET_A", "of the environment")
    place.folder.joinpath("a").write_text("of the file")
    with VaultAddress("ledger", ledger)() as vault:
        vault.set("a", Secret("of the ledger"))
    for address in ("environment", f"files:{place.folder}", "ledger"):
        with VaultAddress(address, ledger)() as vault:
            assert vault.get("a").reveal().split()[-1] in address
            with pytest.raises(SecretNotFound):
                vault.get("b")


@pytest.mark.parametrize(
    "address", ["", "file:/x", "files", "files:", "ledger:x", "http://a", f"https{CANARY}", CANARY]
)
def test_what_is_no_address_of_a_vault_is_refused_and_not_quoted(address: str) -> None:
    with (
        pytest.raises(RequestError, match="write one of: environment, files:FOLDER") as caught,
        VaultAddress(address, "")(),
    ):
        pass
    assert CANARY not in caught.value.message


def test_a_ledger_in_memory_keeps_no_secrets() -> None:
    with pytest.raises(RequestError, match="no file"), VaultAddress("ledger", "")():
        pass


def test_S78_a_vault_of_an_address_is_asked_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    from fhirferry.exporting import vaults
    from fhirferry.vaults import retrying

    inner = MemorySecretStore()
    for _ in range(3):
        inner.fail_next("get", SecretStoreError("busy", status_code=429))
    monkeypatch.setattr(vaults, "VAULTS", {"environment": lambda _: inner})
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.0)
    with pytest.raises(SecretStoreError, match="busy"), VaultAddress("environment", "")() as vault:
        vault.get("a")
    assert inner.calls == [("get", "a")] * 3
