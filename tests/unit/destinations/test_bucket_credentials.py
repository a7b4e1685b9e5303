"""Credentials for buckets from the names that the vendors' own tools read (issue's item 2); one kind, nothing mixed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirferry.destinations.credentials import azure_account, azure_config, gcs_config, s3_config
from fhirferry.model.errors import DestinationConnectionError

SECRET = "hunter2secret=="


def connection(*parts: str) -> dict[str, str]:
    return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(parts)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (connection("AccountName=acme", f"AccountKey={SECRET}"),
         {"account_key": SECRET, "endpoint": "https://acme.blob.core.windows.net", "credential_type": "access_key"}),
        (connection("DefaultEndpointsProtocol=http", "AccountName=acme", f"AccountKey={SECRET}", "EndpointSuffix=a.local", ""),
         {"endpoint": "http://acme.blob.a.local"}),
        (connection("BlobEndpoint=https://acme.blob.core.windows.net/", f"SharedAccessSignature=?sv=1&sig={SECRET}"),
         {"sas_key": f"sv=1&sig={SECRET}", "endpoint": "https://acme.blob.core.windows.net", "credential_type": "sas_token"}),
        (connection("BlobEndpoint=http://127.0.0.1:10000/acme", f"AccountKey={SECRET}"),
         {"endpoint": "http://127.0.0.1:10000/acme", "account_key": SECRET}),
        ({"AZURE_STORAGE_KEY": SECRET, "AZURE_STORAGE_SAS_TOKEN": "x"}, {"account_key": SECRET, "credential_type": "access_key"}),
        ({"AZURE_STORAGE_SAS_TOKEN": "?sv=1"}, {"sas_key": "sv=1", "credential_type": "sas_token"}),
        ({"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": SECRET},
         {"client_secret": SECRET, "client_id": "c", "tenant_id": "t", "credential_type": "client_secret"}),
        ({"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/f"},
         {"federated_token_file": "/f", "credential_type": "workload_identity"}),
        ({"AZURE_USE_AZURE_CLI": "true"}, {"use_azure_cli": True, "credential_type": "azure_cli"}),
        ({}, {"credential_type": "managed_identity"}),
        ({"AZURE_CLIENT_ID": "c"}, {"client_id": "c", "credential_type": "managed_identity"}),
        ({"AZURE_STORAGE_ENDPOINT": "https://acme.blob.core.usgovcloudapi.net/"}, {"endpoint": "https://acme.blob.core.usgovcloudapi.net"}),
    ],
)  # fmt: skip
def test_azure(given: dict[str, str], expected: dict[str, object]) -> None:
    config = azure_config("acme", given)
    assert expected.items() <= config.items()
    assert (config["use_emulator"], config["skip_signature"]) == (False, False)
    secrets = {"account_key", "sas_key", "client_secret", "federated_token_file", "use_azure_cli"}
    assert len(secrets & config.keys()) <= 1


def test_azures_emulator_has_its_own_account() -> None:
    given = connection("UseDevelopmentStorage=true")
    assert azure_account(given) == "devstoreaccount1"
    assert azure_config("devstoreaccount1", given)["endpoint"] == "http://127.0.0.1:10000/devstoreaccount1"


@pytest.mark.parametrize(
    "given",
    [
        connection(SECRET), connection(f"AccountKey={SECRET}"), connection("AccountName=other", f"AccountKey={SECRET}"),
        connection("AccountName=acme"),
    ],
)  # fmt: skip
def test_s33_a_connection_string_that_cannot_be_right_is_final_and_never_quoted(given: dict[str, str]) -> None:
    given = {key: text.replace("==", "") for key, text in given.items()}
    with pytest.raises(DestinationConnectionError) as caught:
        azure_config("acme", given)
    assert SECRET.strip("=") not in str(caught.value)


def test_s3_of_the_environment() -> None:
    given = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "AWS_REGION": "eu-west-1",
    }
    config, keys = s3_config("bucket", given)
    assert keys == {"access_key_id": "a", "secret_access_key": "b", "token": "c"}
    assert (config["endpoint"], config["virtual_hosted_style_request"]) == (
        "https://bucket.s3.eu-west-1.amazonaws.com",
        True,
    )
    config, keys = s3_config("dotted.bucket", {"AWS_REGION": "cn-north-1"})
    assert keys is None
    assert (config["endpoint"], config["virtual_hosted_style_request"]) == (
        "https://s3.cn-north-1.amazonaws.com.cn",
        False,
    )


def test_s3_of_a_compatible_store_and_with_a_key_of_kms() -> None:
    given = {
        "AWS_ENDPOINT_URL": "http://minio:9000/",
        "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
        "AWS_SSE_KMS_KEY_ID": "arn:x",
    }
    config, _ = s3_config("bucket", given)
    assert (config["endpoint"], config["virtual_hosted_style_request"]) == ("http://minio:9000", False)
    assert (config["server_side_encryption"], config["sse_kms_key_id"]) == ("aws:kms", "arn:x")
    config, _ = s3_config("bucket", {**given, "AWS_S3_PATH_STYLE": "false"})
    assert config["virtual_hosted_style_request"] is True


def test_s3_of_a_profile(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[work]\naws_access_key_id=a\naws_secret_access_key=b%c\n")
    (tmp_path / ".aws" / "config").write_text("[profile work]\nregion=eu-north-1\n")
    config, keys = s3_config("bucket", {"HOME": str(tmp_path), "AWS_PROFILE": "work"})
    assert (config["region"], keys) == ("eu-north-1", {"access_key_id": "a", "secret_access_key": "b%c"})
    given = {"HOME": str(tmp_path), "AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    assert s3_config("bucket", given)[1] == {"access_key_id": "x", "secret_access_key": "y"}
    with pytest.raises(DestinationConnectionError, match="none"):
        s3_config("bucket", {"HOME": str(tmp_path), "AWS_PROFILE": "none"})
    with pytest.raises(DestinationConnectionError, match="secret"):
        s3_config("bucket", {"AWS_ACCESS_KEY_ID": "x"})


def test_google() -> None:
    assert gcs_config({"GOOGLE_APPLICATION_CREDENTIALS": "/k.json"})["application_credentials"] == "/k.json"
    assert gcs_config({"GOOGLE_SERVICE_ACCOUNT_KEY": "{}"})["service_account_key"] == "{}"
    assert gcs_config({}) == {"skip_signature": False}
