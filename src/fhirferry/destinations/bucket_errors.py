"""What object stores say, sorted by what the reader does next, in words of our own.

Their own texts hold request URLs, signatures and headers; of them only a status and an error code of plain letters go
on. Nothing of the rest is kept, not even as the cause: tracebacks are logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from fhirferry.destinations.addresses import BucketAddress
from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, FerryError

AGAIN = "; the job will be tried again"
THROTTLED = 5.0
"""Seconds to wait where a store says that we are too fast; how long it wants is not handed on to us."""

_STATUS = re.compile(r"status code: (\d{3})|status: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_ABSENT = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "FilesystemNotFound"}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
_SKEWED_TEXT = re.compile(r"date header|x-ms-date|clock|Signed expiry time|not valid yet|too old", re.IGNORECASE)
_REFUSED = {
    "AuthenticationFailed",
    "AuthorizationFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidToken",
    "NoAuthenticationInformation",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_PASSING = {"InternalError", "OperationTimedOut", "RequestTimeout", "ServerBusy", "SlowDown", "ServiceUnavailable"}
_IDENTITY = ("169.254.169.254", "169.254.170.", "metadata.google", "MSI", "Credential", "credential", "OAuth", "oauth")


class NoSuchBucket(DestinationConnectionError):
    """The bucket or container itself is not there, so nothing of a job is either."""

    status_code = 404


@contextmanager
def sorted_errors(address: BucketAddress, name: str = "") -> Iterator[None]:
    """An error of obstore inside becomes one of ours."""
    try:
        yield
    except FerryError:
        raise
    except (BaseError, OSError, ValueError) as error:
        raise sort_error(error, address, name) from None


def is_missing(error: Exception) -> bool:
    """An object that is not there, in a bucket that is."""
    return isinstance(error, FileNotFoundError) and _found(_CODE, str(error)) not in _ABSENT


def sort_error(error: Exception, address: BucketAddress, name: str = "") -> FerryError:
    """Passing (S26, tried again) or final (S16, S33, S61), with what the user can do."""
    text = str(error)
    code, status = _found(_CODE, text), _found(_STATUS, text)
    number = int(status or 0)
    where = f"{address.url}{'/' * bool(name)}{name}"
    said = f" ({' '.join(filter(None, (status, code)))})" if status or code else ""
    if code in _ABSENT:
        return NoSuchBucket(f"there is no {address.holder}{said}; make it, or give another address")
    if code in _SKEWED or (number in (400, 401, 403) and _SKEWED_TEXT.search(text)):
        return DestinationConnectionError(
            f"{where} refuses the time of the request{said}: set this machine's clock, or renew a signature that has expired"
        )
    if isinstance(error, UnauthenticatedError) or code in _REFUSED or number == 401:
        return DestinationConnectionError(
            f"{where} refuses the credentials{said}: check the key, signature or identity in the environment",
            status_code=400,
        )
    if isinstance(error, PermissionDeniedError) or number == 403:
        return DestinationConnectionError(
            f"{where} does not allow this{said}: the credentials need the rights to read, write, list and delete there, and "
            "the store's firewall must let this machine in"
        )
    if isinstance(error, AlreadyExistsError | PreconditionError):
        return DestinationConnectionError(f"{where} was written by somebody else meanwhile{said}")
    if isinstance(error, NotSupportedError):
        return DestinationConnectionError(f"{where} cannot do this{said}")
    if isinstance(error, FileNotFoundError) or number == 404:
        return DestinationConnectionError(
            f"{where} is not there{said}; check the address, the account and the endpoint"
        )
    if number == 429 or code in ("SlowDown", "ServerBusy"):
        return DestinationUnavailable(f"{where} says that requests come too fast{said}{AGAIN}", retry_after=THROTTLED)
    if number >= 500 or number == 408 or code in _PASSING:
        return DestinationUnavailable(f"{where} has trouble of its own{said}{AGAIN}")
    if number >= 400:
        return DestinationConnectionError(f"{where} refuses the request{said}; check the address and the endpoint")
    if "path segment" in text:  # object_store's word for it; it refuses to list such keys
        return DestinationConnectionError(
            f"{where} holds an object with two slashes in a row in its key, which keeps us from listing; move it away, or give "
            "another prefix"
        )
    if "certificate" in text:
        return DestinationConnectionError(
            f"{where} shows a certificate that this machine does not trust; check the endpoint"
        )
    if any(word in text for word in _IDENTITY):
        return DestinationConnectionError(
            f"there are no credentials for {where}: none in the environment, and no identity of this machine answers "
            "(docs/buckets.md)"
        )
    if isinstance(error, ValueError) or "uilder" in text or "URL" in text.split("\n")[0]:
        return DestinationConnectionError(
            f"the settings for {where} cannot be used; see docs/buckets.md for what they look like"
        )
    return DestinationUnavailable(f"{where} cannot be reached; check the address, the endpoint and the network{AGAIN}")


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return next(filter(None, match.groups()), "") if match else ""
