"""The Destination suite against object stores, and what only they promise (issue's item 1; S7, S9, S15, L15)."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import count

import pytest

pytest.register_assert_rewrite("fhirferry.testing.destination_suite")
pytest.importorskip("obstore")

from fhirferry.destinations.bucket_opening import open_object_store  # noqa: E402
from fhirferry.destinations.object_store import ObjectStoreDestination  # noqa: E402
from fhirferry.destinations.protocol import Destination  # noqa: E402
from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, FolderInUse, RequestError  # noqa: E402
from fhirferry.testing.destination_suite import DATA, JOB, OTHER, DestinationSuite  # noqa: E402
from tests.object_stores import ACCOUNT, BUCKET, KEY, ObjectServer, azurite, moto, rclone  # noqa: E402

MIB = 2**20
_numbers = count()


@pytest.fixture(scope="module")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with moto(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(scope="module")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with rclone(tmp_path_factory.mktemp("rclone")) as running:
        yield running


def opened(server: ObjectServer) -> ObjectStoreDestination:
    """A prefix of its own."""
    return open_object_store(f"{server.root}/run/{next(_numbers)}", server.settings)


class BucketSuite(DestinationSuite):
    """With a fixture `server`."""

    conditions = True
    bulk = 24 * MIB

    @pytest.fixture
    def destination(self, server: ObjectServer) -> Destination:
        return opened(server)

    @pytest.fixture
    def bucket(self, server: ObjectServer) -> ObjectStoreDestination:
        return opened(server)

    def again(self, destination: Destination) -> Destination:
        assert isinstance(destination, ObjectStoreDestination)
        return ObjectStoreDestination(destination._store, destination.address)

    def test_s7_a_file_of_several_parts_is_whole(self, bucket: ObjectStoreDestination) -> None:
        bucket.prepare(JOB)
        part = bucket.part_name(JOB, "Patient-1-0123")
        writer = bucket.create(part)
        piece = bytes(range(256)) * 4096
        for number in range(self.bulk // MIB):
            writer.write(number.to_bytes(4, "big") + piece[4:])
        assert self.names(bucket) == []
        writer.commit()
        body = b"".join(bucket.read(part))
        assert len(body) == self.bulk
        assert [body[at : at + 4] for at in range(0, self.bulk, MIB)] == [
            number.to_bytes(4, "big") for number in range(self.bulk // MIB)
        ]

    def test_an_aborted_file_of_several_parts_leaves_nothing(self, bucket: ObjectStoreDestination) -> None:
        bucket.prepare(JOB)
        writer = bucket.create(bucket.part_name(JOB, "Patient-1-0123"))
        writer.write(bytes(self.bulk))
        writer.abort()
        assert self.names(bucket) == []
        assert list(bucket.sweep(JOB, frozenset())) == []

    def test_neighbours_beside_and_below_the_prefix_stay(self, server: ObjectServer) -> None:
        bucket = opened(server)
        prefix = bucket.address.prefix
        beside = open_object_store(f"{server.root}/{prefix}-beside", server.settings)
        below = open_object_store(f"{server.root}/{prefix}/below", server.settings)
        for place, job in ((beside, OTHER), (below, "ccdd0011"), (bucket, JOB)):
            place.prepare(job)
            place.put(job, "manifest.json", DATA)
            self.write(place, "Patient-1-aa", job=job)
        assert bucket.sweep(JOB, frozenset())
        bucket.forget(JOB, ["manifest.json", "SHA256SUMS"])
        for place, job in ((beside, OTHER), (below, "ccdd0011")):
            assert self.names(place) == [f"Patient-1-aa-{job}.ndjson", "manifest.json"]
            place.check(job)

    def test_headers_say_what_it_is(self, bucket: ObjectStoreDestination) -> None:
        import obstore

        bucket.prepare(JOB)
        for suffix, encoding in ((".ndjson", None), (".ndjson.gz", "gzip")):
            part = bucket.part_name(JOB, "Patient-1-0123", suffix)
            writer = bucket.create(part)
            writer.write(DATA)
            writer.commit()
            found = obstore.get(bucket._store, bucket.address.key(part)).attributes
            assert found.get("Content-Type") == "application/fhir+ndjson"
            assert found.get("Content-Encoding") == encoding

    def test_two_jobs_cannot_claim_one_prefix(self, bucket: ObjectStoreDestination) -> None:
        """Both have looked, and found nobody."""
        if not self.conditions:
            pytest.skip("this store ignores conditions")
        assert bucket._mark.claim(JOB)
        assert not bucket._mark.claim(OTHER)
        with pytest.raises(FolderInUse, match=JOB):
            bucket.prepare(OTHER)
        before = bucket._mark.read()
        assert before is not None
        assert bucket._mark.change(before, closed=True)
        assert not bucket._mark.change(before, closed=False)

    def test_a_part_that_is_committed_late_goes_again(self, bucket: ObjectStoreDestination) -> None:
        bucket.prepare(JOB)
        writer = bucket.create(bucket.part_name(JOB, "Patient-1-0123"))
        writer.write(DATA)
        bucket.sweep(JOB, frozenset())
        with pytest.raises(DestinationConnectionError, match="removed meanwhile"):
            writer.commit()
        assert self.names(bucket) == []

    def test_l15_two_writers_of_one_name_do_not_mix(self, bucket: ObjectStoreDestination) -> None:
        if not self.conditions:
            pytest.skip("this store ignores conditions")
        bucket.prepare(JOB)
        part = bucket.part_name(JOB, "Patient-1-0123")
        writers = [bucket.create(part), bucket.create(part)]
        for number, writer in enumerate(writers):
            writer.write(b"%d\n" % number)
        writers[0].commit()
        with pytest.raises(DestinationConnectionError, match="used once"):
            writers[1].commit()
        assert self.body(bucket, part) == b"0\n"

    def test_l15_a_put_that_was_stopped_between_look_and_deed_leaves_the_next_jobs_manifest(
        self, bucket: ObjectStoreDestination, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not self.conditions:
            pytest.skip("this store ignores conditions")
        bucket.prepare(JOB)
        looked = bucket._refuse_late

        def stopped(name: str, job_id: str) -> None:
            looked(name, job_id)
            monkeypatch.undo()
            other = self.again(bucket)
            other.forget(JOB)
            other.prepare(OTHER)
            other.put(OTHER, name, b"the next job's")

        monkeypatch.setattr(bucket, "_refuse_late", stopped)
        with pytest.raises(DestinationConnectionError, match="removed meanwhile"):
            bucket.put(JOB, "manifest.json", DATA)
        assert self.body(bucket, "manifest.json") == b"the next job's"

    def test_a_put_that_lands_in_the_next_jobs_place_goes_again(
        self, bucket: ObjectStoreDestination, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket.prepare(JOB)
        looked = bucket._refuse_late

        def stopped(name: str, job_id: str) -> None:
            looked(name, job_id)
            monkeypatch.undo()
            other = self.again(bucket)
            other.forget(JOB)
            other.prepare(OTHER)

        monkeypatch.setattr(bucket, "_refuse_late", stopped)
        with pytest.raises(DestinationConnectionError, match="removed meanwhile"):
            bucket.put(JOB, "manifest.json", DATA)
        assert self.names(bucket) == []
        bucket.check(OTHER)

    def test_what_arrives_shorter_than_it_was_sent_is_tried_again_and_does_not_stay(
        self, bucket: ObjectStoreDestination
    ) -> None:
        bucket.prepare(JOB)
        part = self.write(bucket, "Patient-1-0123")
        with pytest.raises(DestinationUnavailable, match=f"{len(DATA)} bytes where {len(DATA) + 1}"):
            bucket._settle(part, JOB, len(DATA) + 1)
        assert self.names(bucket) == []


def answer(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=20) as got:
            return got.status, got.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


class SignedUrls:
    """For servers that check signatures."""

    def test_s76_a_signed_url_is_read_by_anybody_and_a_forged_one_by_nobody(
        self, bucket: ObjectStoreDestination
    ) -> None:
        bucket.prepare(JOB)
        bucket.put(JOB, "manifest.json", DATA)
        url = bucket.url_for("manifest.json", 60)
        assert answer(url) == (200, DATA)
        assert answer(url.replace("manifest.json", "manifest.jsoN"))[0] in (403, 404)
        assert answer(url.partition("?")[0])[0] in (400, 401, 403, 404)


class TestMemory(BucketSuite):
    @pytest.fixture
    def server(self) -> ObjectServer:
        return ObjectServer(f"memory://{next(_numbers)}", {}, "")

    def test_memory_has_no_urls(self, bucket: ObjectStoreDestination) -> None:
        with pytest.raises(RequestError):
            bucket.url_for("manifest.json", 60)


@pytest.mark.xdist_group("azurite")
class TestAzurite(BucketSuite, SignedUrls):
    @pytest.fixture
    def server(self, azurite_server: ObjectServer) -> ObjectServer:
        return azurite_server


@pytest.mark.xdist_group("azurite")
def test_a_signature_is_enough_to_export_but_signs_nothing(azurite_server: ObjectServer) -> None:
    from datetime import UTC, datetime, timedelta

    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    signature = generate_container_sas(
        ACCOUNT, BUCKET, account_key=KEY, permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(hours=1), protocol="https,http",
    )  # fmt: skip
    text = f"BlobEndpoint={azurite_server.endpoint};SharedAccessSignature={signature}"
    place = open_object_store(f"{azurite_server.root}/signed", {"AZURE_STORAGE_CONNECTION_STRING": text})
    place.prepare(JOB)
    place.put(JOB, "manifest.json", DATA)
    writer = place.create(place.part_name(JOB, "Patient-1-0123"))
    writer.write(DATA * 400_000)
    writer.commit()
    assert b"".join(place.read("manifest.json")) == DATA
    with pytest.raises(RequestError, match="expire"):
        place.url_for("manifest.json", 60)
    assert len(place.sweep(JOB, frozenset())) == 1
    place.forget(JOB, ["manifest.json"])
    assert list(place.list()) == []


@pytest.mark.xdist_group("azurite")
def test_keys_that_are_no_names_of_ours_are_passed_over_or_told(azurite_server: ObjectServer) -> None:
    from azure.storage.blob import BlobServiceClient

    place = opened(azurite_server)
    place.prepare(JOB)
    text = azurite_server.settings["AZURE_STORAGE_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(text) as service:
        container = service.get_container_client(BUCKET)
        for key in ("a b", "ä.txt", "%2e%2e"):
            container.upload_blob(f"{place.address.prefix}/{key}", b"theirs")
        assert list(place.list()) == []
        assert list(place.sweep(JOB, frozenset())) == []
        container.upload_blob(f"{place.address.prefix}/x//y", b"theirs")
        with pytest.raises(DestinationConnectionError, match="two slashes"):
            place.sweep(JOB, frozenset())
        assert len(list(container.list_blob_names(name_starts_with=f"{place.address.prefix}/"))) == 5


@pytest.mark.xdist_group("azurite")
def test_of_a_container_that_is_gone_there_is_nothing_left_to_remove(azurite_server: ObjectServer) -> None:
    gone = f"az://none@{ACCOUNT}/x"
    place = open_object_store(gone, azurite_server.settings)
    assert list(place.sweep(JOB, frozenset())) == []
    place.forget(JOB, ["manifest.json"])
    with pytest.raises(DestinationConnectionError, match="no container none in account"):
        place.check()


@pytest.mark.xdist_group("moto")
class TestMoto(BucketSuite):
    @pytest.fixture
    def server(self, moto_server: ObjectServer) -> ObjectServer:
        return moto_server

    def test_an_aborted_file_takes_its_parts_back(self, server: ObjectServer, bucket: ObjectStoreDestination) -> None:
        bucket.prepare(JOB)
        writer = bucket.create(bucket.part_name(JOB, "Patient-1-0123"))
        writer.write(bytes(self.bulk))
        writer.abort()
        _, uploads = answer(f"{server.endpoint}/exports?uploads")
        assert b"<Upload>" not in uploads


@pytest.mark.xdist_group("rclone")
class TestRclone(BucketSuite, SignedUrls):
    conditions = False

    @pytest.fixture
    def server(self, rclone_server: ObjectServer) -> ObjectServer:
        return rclone_server
