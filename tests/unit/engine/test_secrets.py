"""A job that names a secret: read when it runs, never written, deleted with it (S9, S14, S29, S36-S39, S58, S78)."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from fhirferry.engine import access
from fhirferry.engine.access import CHANGED, Access
from fhirferry.engine.cleanup import LEASE, clean
from fhirferry.engine.connections import Connections
from fhirferry.engine.unit import UnitOrder
from fhirferry.jobs import documents
from fhirferry.model.errors import FerryError, SecretStoreError, SecretStoreRefused
from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
from fhirferry.model.partition import Partition, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.vaults.memory import MemorySecretStore
from fhirferry.vaults.secret import DestinationSecret, Secret, connection_hash
from tests.unit.engine.house import House

CONNECTION = "AccountName=a;AccountKey=kanarievogel=="
URI = "memory://d"


def text(connection: str = CONNECTION) -> Secret:
    return Secret(
        msgspec.json.encode({"destinationType": "in-memory", "destinationConnectionString": connection}).decode()
    )


class Vaulted(House):
    """opened_by: (uri, kind, connection string, job id) of every destination that a secret opened."""

    def __init__(self) -> None:
        super().__init__()
        self.vault = MemorySecretStore()
        self.opened_by: list[tuple[str, str, str, str]] = []
        self.connections = Connections(
            self._open_source, self._open_destination, lambda: nullcontext(self.vault), self._open_by_secret
        )

    def _open_by_secret(self, uri: str, secret: DestinationSecret, job_id: str) -> Any:
        self.opened_by.append((uri, secret.kind, secret.connection.reveal(), job_id))
        return self._open_destination(uri or "memory://of-the-secret")

    def secret_job(self, *, uri: str = "", secret: Secret | None = None, **more: Any) -> ExportJobRecord:
        """job0, with a secret of its own."""
        self.vault.set("job-secret", secret or text())
        self.vault.calls.clear()
        request = ExportRequest()
        record = ExportJobRecord(
            id="job0",
            request=request,
            requestor="",
            hash=request.hash(""),
            source_uri="memory://s",
            destination_uri=uri,
            secret_name="job-secret",
            connection_hash="" if uri else connection_hash(Secret(CONNECTION)),
            settings=JobSettings(page_resources=1, pages_per_commit=1, failure_threshold=2),
            queued_time=self.clock(),
        )
        return self.jobs.create(msgspec.structs.replace(record, **more))

    def clean_up(self) -> None:
        for record in self.jobs.acquire_cleanup(9, lease=LEASE):
            clean(record, self.jobs, self.connections, self.log.append)


@pytest.fixture
def house() -> Vaulted:
    return Vaulted()


@pytest.mark.parametrize("executor", ["inline", "threads:2"])
def test_S9_S14_the_secret_is_read_by_its_name_when_the_job_runs_and_not_again_once_connected(
    house: Vaulted, executor: str
) -> None:
    house.fill(4)
    house.secret_job(uri=URI)
    assert house.vault.calls == []
    assert house.run(executor=executor).status is JobStatus.COMPLETED
    assert house.vault.calls == [("get", "job-secret")]
    assert len(house.opened_by) > 2
    assert set(house.opened_by) == {(URI, "in-memory", CONNECTION, "job0")}


def test_what_was_read_is_forgotten_when_the_run_ends_and_a_later_run_reads_anew(house: Vaulted) -> None:
    house.fill(2)
    house.secret_job(uri=URI)
    house.vault.fail_next("get", SecretStoreError("down", status_code=503))
    assert house.run().status is JobStatus.RETRIABLE
    house.clock.advance(600)
    assert house.run().status is JobStatus.COMPLETED
    assert house.vault.calls == [("get", "job-secret")] * 2
    assert not access._kept


def test_S39_nothing_of_it_is_in_the_record_the_files_or_what_goes_to_other_processes(house: Vaulted) -> None:
    house.fill(2)
    record = house.secret_job()
    house.run()
    written = documents.write_record(house.jobs.get("job0")) + repr(house.jobs.get("job0"))
    written += repr([b"".join(place.read(name)) for place in house.places.values() for name in place._files])
    order = UnitOrder(
        connections=Connections(len, len),  # type: ignore[arg-type]
        request=record.request,
        source_uri="",
        destination_uri="",
        access=Access.of(record),
        settings=record.settings,
        partitions=(Partition(job_id="job0", number=0, plan=PartitionPlan(resource_type="Patient", bounds={})),),
        transaction_time=1,
    )
    assert pickle.loads(pickle.dumps(order)) == order
    written += repr(pickle.dumps(order)) + repr(order) + "".join(house.log)
    assert "kanarie" not in written
    assert "job-secret" in written


def test_S37_S38_without_a_uri_a_changed_connection_string_fails_the_job_400_with_the_fixed_text(
    house: Vaulted,
) -> None:
    house.fill(2)
    house.secret_job(secret=text(CONNECTION + "x"))
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert record.failure is not None
    assert record.failure.reason == "Storage account connection string was updated during an export job." == CHANGED
    assert record.failure.status_code == 400
    assert house.opened_by == []


@pytest.mark.parametrize("now", [CONNECTION.upper(), CONNECTION + " ", CONNECTION + ";", ""])
def test_S38_the_comparison_is_exact(house: Vaulted, now: str) -> None:
    house.secret_job(secret=text(now))
    assert house.run().status is JobStatus.FAILED


@pytest.mark.parametrize(("now", "status"), [("", JobStatus.COMPLETED), ("x", JobStatus.FAILED)])
def test_S38_no_connection_string_is_one_like_any_other(house: Vaulted, now: str, status: JobStatus) -> None:
    house.secret_job(secret=text(now), connection_hash="")
    assert house.run().status is status


def test_S36_with_a_uri_the_string_may_change_and_the_files_go_where_the_record_says(house: Vaulted) -> None:
    house.fill(2)
    house.secret_job(uri=URI, secret=text("AccountName=a;AccountKey=rotated"))
    assert house.run().status is JobStatus.COMPLETED
    assert "manifest.json" in house.names(URI)


def test_S11_a_store_that_fails_counts_and_the_job_comes_back_until_the_threshold(house: Vaulted) -> None:
    house.secret_job()
    for _ in range(2):
        house.vault.fail_next("get", SecretStoreError("its own reason"))
    record = house.run()
    assert (record.status, record.failure_count) == (JobStatus.RETRIABLE, 1)
    assert record.failure is not None
    assert (record.failure.reason, record.failure.status_code) == ("its own reason", 500)
    house.clock.advance(600)
    record = house.run()
    assert (record.status, record.failure_count) == (JobStatus.FAILED, 2)


@pytest.mark.parametrize("code", [401, 403])
def test_S78_401_and_403_are_passed_on_to_the_jobs_failure(house: Vaulted, code: int) -> None:
    house.secret_job()
    house.vault.fail_next("get", SecretStoreRefused("no", status_code=code))
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert record.failure is not None
    assert record.failure.status_code == code


def test_S76_a_missing_secret_fails_the_job_and_says_what_to_do(house: Vaulted) -> None:
    house.secret_job()
    house.vault.delete("job-secret")
    record = house.run()
    assert record.status is JobStatus.FAILED
    assert record.failure is not None
    assert "no secret 'job-secret'" in record.failure.reason
    assert "set it anew" in record.failure.reason


def test_a_secret_of_another_form_fails_the_job_400(house: Vaulted) -> None:
    house.secret_job(secret=Secret(CONNECTION))
    record = house.run()
    assert record.failure is not None
    assert (record.status, record.failure.status_code) == (JobStatus.FAILED, 400)
    assert "kanarie" not in repr(record)


def test_where_there_is_no_store_of_secrets_the_job_waits_for_a_worker_that_has_one(house: Vaulted) -> None:
    house.secret_job()
    house.connections = house.connections._replace(open_vault=None)
    assert house.run().status is JobStatus.RETRIABLE


@pytest.mark.parametrize("end", ["completed", "failed", "canceled", "deleted"])
def test_S29_the_secret_goes_with_its_job_however_that_ends(house: Vaulted, end: str) -> None:
    house.fill(2)
    house.secret_job(secret=text("other") if end == "failed" else None)
    if end in ("completed", "failed"):
        assert house.run().status == end
    elif end == "canceled":
        house.jobs.cancel("job0")
    else:
        house.jobs.delete("job0")
    assert "job-secret" in house.vault._secrets
    house.clean_up()
    assert house.vault._secrets == {}


def test_S29_it_stays_until_the_last_sweep_which_needs_it(house: Vaulted) -> None:
    house.fill(3)
    house.secret_job(uri=URI)

    def die(reads: int) -> None:
        if reads == 2:
            raise SystemExit

    house.source.before_read = die
    with pytest.raises(SystemExit):
        house.run()
    house.jobs.cancel("job0")
    house.clean_up()
    assert house.names(URI) == []
    assert "job-secret" in house.vault._secrets
    house.clock.advance(200)
    house.clean_up()
    assert house.vault._secrets == {}
    assert house.jobs.get("job0").cleanup_due is None


@pytest.mark.parametrize("error", [SecretStoreRefused("no right", status_code=403), ValueError("kanarie")])
def test_S58_one_that_cannot_be_deleted_is_a_warning_and_the_job_stays_completed(
    house: Vaulted, error: Exception
) -> None:
    house.secret_job()
    house.run()
    house.vault.fail_next("delete", error)
    house.clean_up()
    record = house.jobs.get("job0")
    assert (record.status, record.failure, record.cleanup_due) == (JobStatus.COMPLETED, None, None)
    (line,) = [line for line in house.log if "warning" in line]
    assert "'job-secret' could not be deleted, so do it by hand" in line
    assert ("no right" in line) is isinstance(error, FerryError)
    assert "kanarie" not in line


def test_S29_a_store_that_is_only_read_is_not_asked(house: Vaulted) -> None:
    house.secret_job()
    house.run()
    house.vault.read_only = True  # type: ignore[misc]
    house.clean_up()
    assert ("delete", "job-secret") not in house.vault.calls
    assert not any("warning" in line for line in house.log)


@pytest.mark.parametrize("end", ["completed", "canceled", "deleted"])
def test_S29_the_secret_of_a_named_destination_is_the_operators_and_stays(house: Vaulted, end: str) -> None:
    house.secret_job(uri=URI, destination_name="archive")
    if end == "completed":
        house.run()
    elif end == "canceled":
        house.jobs.cancel("job0")
    else:
        house.jobs.delete("job0")
    house.clean_up()
    assert "job-secret" in house.vault._secrets


def test_a_canceled_job_whose_secret_is_gone_keeps_asking_for_it(house: Vaulted) -> None:
    house.fill(2)
    house.secret_job(uri=URI)
    house.run()
    house.clean_up()
    house.jobs.delete("job0")
    (record,) = house.jobs.acquire_cleanup(9, lease=LEASE)
    problem = clean(record, house.jobs, house.connections)
    assert problem is not None
    assert "no secret 'job-secret'" in problem
    assert "manifest.json" in house.names(URI)
    house.vault.set("job-secret", text())
    house.clock.advance(LEASE + 1)
    house.clean_up()
    assert house.names(URI) == []
    assert house.vault._secrets == {}
