"""Addresses of buckets: how they may be typed, and the one form in which they are recorded.

    az://container@account/prefix     Azure Blob Storage; typed also as az://container/prefix with the account elsewhere,
                                      abfss://container@account.dfs.core.windows.net/prefix and
                                      https://account.blob.core.windows.net/container/prefix
    s3://bucket/prefix                S3, and what speaks like it
    gs://bucket/prefix                Google Cloud Storage
    memory://name/prefix              in this process, for tests

No address holds a credential: they end in records, logs and process lists. What is not one of these is a folder's.
"""

from __future__ import annotations

import re

import msgspec

from fhirferry.destinations.names import check_visible
from fhirferry.model.errors import RequestError

SCHEMES = ("az", "s3", "gs", "memory")
"""Those of recorded addresses."""

_TYPED = {"az": "az", "azure": "az", "abfs": "az", "abfss": "az", "s3": "s3", "gs": "gs", "memory": "memory"}
_HOST = re.compile(r"([a-z0-9]{3,24})\.(?:blob|dfs)\.core\.windows\.net")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_BUCKET = {
    "az": re.compile(r"\$root|\$web|[a-z0-9](?:[a-z0-9]|-(?!-)){1,61}[a-z0-9]"),
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "memory": re.compile(r"[A-Za-z0-9._-]{1,200}"),
}
_PREFIX = 500  # of the 1,024 bytes that stores take; the rest is for the names of an export


class BucketAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where in which bucket. bucket: Azure's container. account: Azure's; empty where it is still to be said. prefix: what
    names begin with, without a / at either end; may be empty."""

    scheme: str
    bucket: str
    prefix: str = ""
    account: str = ""

    @property
    def url(self) -> str:
        """As it is recorded."""
        account = f"@{self.account}" * bool(self.account)
        return f"{self.scheme}://{self.bucket}{account}{'/' * bool(self.prefix)}{self.prefix}"

    @property
    def holder(self) -> str:
        """What must be there before the first byte, in words."""
        if self.scheme == "az":
            return f"container {self.bucket} in account {self.account}"
        return f"bucket {self.bucket}"

    def key(self, name: str) -> str:
        """The object's key, of a checked name."""
        return f"{self.prefix}/{name}" if self.prefix else name


def destination_url(text: str) -> str:
    """The recorded form of any destination, a bucket's or a folder's. RequestError; it never quotes what may be secret."""
    address = parse_bucket(text)
    if address is not None:
        return address.url
    from fhirferry.settings import destination_url as folder_url

    return folder_url(text)


def with_account(url: str, account: str | None, otherwise: str = "") -> str:
    """A recorded destination, of Azure with the account named; one that the address names already must be the same.
    otherwise: counts where nothing else names one. RequestError when there is none, or for an account where none belongs."""
    address = parse_bucket(url)
    if address is None or address.scheme != "az":
        if account:
            raise RequestError("--account is Azure's; give it with an address like az://container/prefix")
        return url
    named = account or address.account or otherwise
    if not named:
        raise RequestError(
            f"{url} does not say in which storage account; write az://{address.bucket}@ACCOUNT/..., or give --account or "
            "AZURE_STORAGE_ACCOUNT"
        )
    if address.account not in ("", named):
        raise RequestError(f"{url} names the account {address.account}, and --account another; leave one out")
    return _checked(msgspec.structs.replace(address, account=named)).url


def parse_bucket(text: str) -> BucketAddress | None:
    """None for what is no bucket's address. RequestError for one that is wrong."""
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in (*_TYPED, "https", "http"):
        return None
    _refuse_secrets(scheme, rest)
    where, _, path = rest.partition("/")
    if scheme in ("https", "http"):
        found = _HOST.fullmatch(where)
        if found is None or scheme == "http":
            raise RequestError(
                f"{scheme}: is offered only as https://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX; for another "
                "endpoint write az://CONTAINER@ACCOUNT/PREFIX or s3://BUCKET/PREFIX and name it with "
                "AZURE_STORAGE_ENDPOINT or AWS_ENDPOINT_URL"
            )
        bucket, _, path = path.partition("/")
        return _checked(BucketAddress(scheme="az", bucket=bucket, prefix=_prefix(path), account=found[1]))
    bucket, at, account = where.partition("@")
    if at and _TYPED[scheme] != "az":
        raise RequestError(
            f"the {scheme}: address names an account before its bucket; addresses must hold no credentials"
        )
    if scheme.startswith("abfs") and at:
        found = _HOST.fullmatch(account)
        if found is None:
            raise RequestError(f"{scheme}: is offered as {scheme}://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH")
        account = found[1]
    return _checked(BucketAddress(scheme=_TYPED[scheme], bucket=bucket, prefix=_prefix(path), account=account))


def _refuse_secrets(scheme: str, rest: str) -> None:
    # Never quoted back: what is typed here ends in logs, process lists and job records.
    if "?" in rest or "#" in rest:
        raise RequestError(
            f"the {scheme}: address has something behind a ? or #, like a signature; addresses are recorded, so they must "
            "hold no credentials: give those by the environment (docs/buckets.md)"
        )
    before, at, _ = rest.partition("@")
    if at and (":" in before or "/" in before or scheme in ("https", "http")):
        raise RequestError(
            f"the {scheme}: address has a password in it; addresses are recorded, so it must hold none: give credentials by "
            "the environment (docs/buckets.md)"
        )


def _prefix(path: str) -> str:
    return path.strip("/")


def _checked(address: BucketAddress) -> BucketAddress:
    what = "container" if address.scheme == "az" else "bucket"
    if not _BUCKET[address.scheme].fullmatch(address.bucket):
        raise RequestError(
            f"{address.bucket[:80]!r} is no name of a {what}; write {address.scheme}://{what.upper()}/PREFIX"
        )
    if address.account and not _ACCOUNT.fullmatch(address.account):
        raise RequestError(
            f"{address.account[:80]!r} is no storage account; they have 3 to 24 small letters and digits"
        )
    if len(address.prefix) > _PREFIX:
        raise RequestError(f"the prefix in {address.scheme}://{address.bucket} is longer than {_PREFIX} characters")
    if address.prefix:
        check_visible(address.prefix)
    return address
