"""From an address and credentials to a destination."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from fhirferry.destinations.addresses import BucketAddress, parse_bucket, with_account
from fhirferry.model.errors import DestinationConnectionError, RequestError

if TYPE_CHECKING:
    from obstore.store import AzureConfig, GCSConfig, ObjectStore, S3Config

    from fhirferry.destinations.object_store import ObjectStoreDestination

_WORK: dict[str, Any] = {
    # A unit's own retries and the job's come on top; ten tries over three minutes, the default, would only hide trouble.
    "retry_config": {"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
    "client_options": {"connect_timeout": "4s", "timeout": "60s"},
}
_ASKED: dict[str, Any] = {
    "retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=4)},
    "client_options": {"connect_timeout": "3s", "timeout": "4s"},
}
"""A wrong address is told within ten seconds."""

_memory: dict[str, Any] = {}
_lock = threading.Lock()


def open_object_store(url: str, credentials: Mapping[str, str] | None = None) -> ObjectStoreDestination:
    """The prefix of a bucket (see `destinations.addresses`). No request is made.

    credentials: by the names that the vendors' tools read (see `destinations.credentials`); None is the environment.
    RequestError for the address, DestinationConnectionError for credentials that cannot be right.
    """
    given = os.environ if credentials is None else credentials
    address = parse_bucket(url)
    if address is None:
        raise RequestError(f"{url!r} is no bucket's address; write az://, s3:// or gs://")
    try:
        from fhirferry.destinations.object_store import ObjectStoreDestination
    except ImportError:
        raise RequestError("buckets need obstore, which is not installed: pip install 'fhirferry[buckets]'") from None
    if address.scheme == "az" and not address.account:
        from fhirferry.destinations.credentials import azure_account

        address = parse_bucket(with_account(url, None, azure_account(given))) or address
    from obstore.exceptions import BaseError

    try:
        return ObjectStoreDestination(_store(address, given, _WORK), address, _store(address, given, _ASKED))
    except (BaseError, ValueError, TypeError) as error:
        from fhirferry.destinations.bucket_errors import sort_error

        raise DestinationConnectionError(sort_error(ValueError(), address).message) from (None if error else error)


def _store(address: BucketAddress, given: Mapping[str, str], patience: dict[str, Any]) -> ObjectStore:
    from fhirferry.destinations import credentials

    if address.scheme == "memory":
        from obstore.store import MemoryStore

        with _lock:
            return _memory.setdefault(address.bucket, MemoryStore())  # type: ignore[no-any-return]
    if address.scheme == "az":
        from obstore.store import AzureStore

        azure = cast("AzureConfig", credentials.azure_config(address.account, given))
        return AzureStore(container_name=address.bucket, config=azure, **_reaching(azure["endpoint"], patience))
    if address.scheme == "s3":
        from obstore.store import S3Store

        config, keys = credentials.s3_config(address.bucket, given)
        more = _reaching(config["endpoint"], patience)
        if keys is not None:  # handed over by a function: so nothing of the environment is mixed in
            more["credential_provider"] = lambda: {**keys, "expires_at": None}
        return S3Store(address.bucket, config=cast("S3Config", config), **more)
    from obstore.store import GCSStore

    google = cast("GCSConfig", credentials.gcs_config(given))
    return GCSStore(address.bucket, config=google, **_reaching("", patience))


def _reaching(endpoint: str, patience: dict[str, Any]) -> dict[str, Any]:
    """http is spoken only where the operator wrote it."""
    return {**patience, "client_options": {**patience["client_options"], "allow_http": endpoint.startswith("http:")}}
