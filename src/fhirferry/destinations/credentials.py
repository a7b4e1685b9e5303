"""Credentials for buckets, from a mapping of the names that each vendor's own tools read: the environment, or what a
vault holds. Of several kinds the first that is there counts, and nothing of the others is mixed in.

Azure: AZURE_STORAGE_CONNECTION_STRING (keys AccountName, AccountKey, SharedAccessSignature, BlobEndpoint, EndpointSuffix,
DefaultEndpointsProtocol, UseDevelopmentStorage); AZURE_STORAGE_KEY (or AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_ACCESS_KEY);
AZURE_STORAGE_SAS_TOKEN; AZURE_CLIENT_ID, AZURE_TENANT_ID with AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE;
AZURE_USE_AZURE_CLI; else the machine's managed identity. AZURE_STORAGE_ENDPOINT for other clouds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirferry.model.errors import DestinationConnectionError

_EMULATOR = {
    "AccountName": "devstoreaccount1",
    # The well-known key of Azure's emulator, the same everywhere.
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}
_KEYS = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")
_SIGNATURES = ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
ACCOUNTS = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")


def azure_account(given: Mapping[str, str]) -> str:
    """The account that the settings name; empty where they name none. DestinationConnectionError."""
    return _first(given, ACCOUNTS) or _connection(given).get("AccountName", "")


def azure_config(account: str, given: Mapping[str, str]) -> dict[str, Any]:
    """For `AzureStore`, with the kind of credential named, so that nothing else in the environment is taken instead.
    DestinationConnectionError."""
    connection = _connection(given)
    if connection.get("AccountName", account) != account:
        raise DestinationConnectionError(
            f"the connection string is for the account {connection['AccountName']}, the address is in {account}"
        )
    key = connection.get("AccountKey", "") if connection else _first(given, _KEYS)
    signature = connection.get("SharedAccessSignature", "") if connection else _first(given, _SIGNATURES)
    config: dict[str, Any] = {
        "account_name": account,
        "endpoint": _endpoint(account, connection, given),
        "use_emulator": False,
        "skip_signature": False,
    }
    if key:
        return {**config, "account_key": key, "credential_type": "access_key"}
    if signature:
        return {**config, "sas_key": signature.lstrip("?"), "credential_type": "sas_token"}
    if connection:
        raise DestinationConnectionError("the connection string has neither AccountKey nor SharedAccessSignature")
    identity = {
        name: given[variable]
        for name, variable in (
            ("client_id", "AZURE_CLIENT_ID"),
            ("tenant_id", "AZURE_TENANT_ID"),
            ("authority_host", "AZURE_AUTHORITY_HOST"),
        )
        if given.get(variable)
    }
    if len(identity) >= 2 and given.get("AZURE_CLIENT_SECRET"):
        secret = given["AZURE_CLIENT_SECRET"]
        return {**config, **identity, "client_secret": secret, "credential_type": "client_secret"}
    if len(identity) >= 2 and given.get("AZURE_FEDERATED_TOKEN_FILE"):
        token = given["AZURE_FEDERATED_TOKEN_FILE"]
        return {**config, **identity, "federated_token_file": token, "credential_type": "workload_identity"}
    if given.get("AZURE_USE_AZURE_CLI", "").lower() in ("1", "true", "yes"):
        return {**config, "use_azure_cli": True, "credential_type": "azure_cli"}
    identity.pop("tenant_id", None)
    return {**config, **identity, "credential_type": "managed_identity"}


def _connection(given: Mapping[str, str]) -> dict[str, str]:
    """The connection string's parts; empty where there is none. Its text is never quoted."""
    text = given.get("AZURE_STORAGE_CONNECTION_STRING", "").strip()
    parts = dict[str, str]()
    for part in filter(None, (each.strip() for each in text.split(";"))):
        key, separator, value = part.partition("=")
        if not separator:
            raise DestinationConnectionError(
                "the connection string cannot be read: it is made of KEY=VALUE with ; between them, like "
                "AccountName=...;AccountKey=..."
            )
        parts[key.strip()] = value.strip()
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        return _EMULATOR
    if parts and "AccountName" not in parts and "BlobEndpoint" in parts:
        host = parts["BlobEndpoint"].partition("://")[2]
        parts["AccountName"] = host.split(".")[0] if ".blob." in host else host.strip("/").rpartition("/")[2]
    if parts and not parts.get("AccountName"):
        raise DestinationConnectionError("the connection string has no AccountName")
    return parts


def _endpoint(account: str, connection: Mapping[str, str], given: Mapping[str, str]) -> str:
    if connection.get("BlobEndpoint"):
        return connection["BlobEndpoint"].rstrip("/")
    if connection:
        protocol = connection.get("DefaultEndpointsProtocol", "https")
        return f"{protocol}://{account}.blob.{connection.get('EndpointSuffix', 'core.windows.net')}"
    return given.get("AZURE_STORAGE_ENDPOINT", "").rstrip("/") or f"https://{account}.blob.core.windows.net"


def _first(given: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((given[name] for name in names if given.get(name)), "")


def s3_config(bucket: str, given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str] | None]:
    """For `S3Store`, and keys for it where there are some: else the machine's or the pod's role is asked.

    AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), else the keys of the profile AWS_PROFILE in the
    files that AWS's tools read, else AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, a container's or a machine's role.
    AWS_REGION; AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL with path style for compatible stores (AWS_S3_PATH_STYLE=false for
    the other); AWS_SERVER_SIDE_ENCRYPTION and AWS_SSE_KMS_KEY_ID.
    """
    profile = _profile(given)
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or profile.get("region") or "us-east-1"
    endpoint = _first(given, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")) or profile.get("endpoint_url", "")
    by_path = given.get("AWS_S3_PATH_STYLE", "true" if endpoint else "false").lower() in ("1", "true", "yes")
    if not endpoint:
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        by_path = by_path or "." in bucket  # else no certificate fits
        endpoint = f"https://s3.{region}.{suffix}" if by_path else f"https://{bucket}.s3.{region}.{suffix}"
    config: dict[str, Any] = {
        "region": region,
        "endpoint": endpoint.rstrip("/"),
        "virtual_hosted_style_request": not by_path,
        "skip_signature": False,
        "checksum_algorithm": "SHA256",  # the store compares what arrives with what was sent, part by part
    }
    for name, variable in (
        ("server_side_encryption", "AWS_SERVER_SIDE_ENCRYPTION"),
        ("sse_kms_key_id", "AWS_SSE_KMS_KEY_ID"),
        ("web_identity_token_file", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("role_arn", "AWS_ROLE_ARN"),
        ("role_session_name", "AWS_ROLE_SESSION_NAME"),
        ("container_credentials_relative_uri", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        ("container_credentials_full_uri", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ("container_authorization_token_file", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    ):
        if given.get(variable):
            config[name] = given[variable]
    own = given if given.get("AWS_ACCESS_KEY_ID") else {name.upper(): text for name, text in profile.items()}
    keys = {
        name: own[variable]
        for name, variable in (
            ("access_key_id", "AWS_ACCESS_KEY_ID"),
            ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
            ("token", "AWS_SESSION_TOKEN"),
        )
        if own.get(variable)
    }
    if "access_key_id" in keys and "secret_access_key" not in keys:
        raise DestinationConnectionError("there is an AWS access key, but no secret that goes with it")
    return config, keys if "access_key_id" in keys else None


def _profile(given: Mapping[str, str]) -> dict[str, str]:
    """What the files of AWS's tools say under AWS_PROFILE (default: `default`). Looked for only where a home is given, so
    that a vault's mapping means itself alone."""
    home, name = given.get("HOME", ""), given.get("AWS_PROFILE") or "default"
    found = dict[str, str]()
    if not home and not given.get("AWS_SHARED_CREDENTIALS_FILE"):
        return found
    from configparser import ConfigParser, Error

    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = given.get(variable) or f"{home}/.aws/{file}"
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (Error, UnicodeDecodeError):
            raise DestinationConnectionError(f"{path} cannot be read as a file of AWS profiles") from None
        if parser.has_section(section):
            found.update(parser[section])
    if given.get("AWS_PROFILE") and not found:
        raise DestinationConnectionError(f"there is no AWS profile {name!r} in the files of this user")
    return found


def gcs_config(given: Mapping[str, str]) -> dict[str, Any]:
    """For `GCSStore`: GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT name a file, GOOGLE_SERVICE_ACCOUNT_KEY holds
    its text; else gcloud's default credentials or the machine's identity."""
    if given.get("GOOGLE_SERVICE_ACCOUNT_KEY"):
        return {"service_account_key": given["GOOGLE_SERVICE_ACCOUNT_KEY"], "skip_signature": False}
    path = _first(given, ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"))
    if not path:
        return {"skip_signature": False}
    return {"application_credentials": path, "skip_signature": False}
