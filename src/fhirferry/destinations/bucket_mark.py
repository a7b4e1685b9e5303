"""Whose prefix it is: the object `.fhirferry/job`, which holds the job's id, and `closed` when its runs shall end.

Claimed by a conditional create, changed and given up under the condition that it is still the version that was read. A
store that ignores conditions (rclone's S3, some compatible ones) is served without: of two jobs that claim one prefix
within the same round trip, both may then believe that it is theirs; their files have different names all the same, and
the later manifest stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from fhirferry.destinations.addresses import BucketAddress
from fhirferry.destinations.bucket_errors import is_missing, sorted_errors
from fhirferry.destinations.names import HIDDEN, MARK

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, UpdateVersion
    from obstore.store import ObjectStore

_NAME = f"{HIDDEN}/{MARK}"
_CLOSED = "closed"


class Mark(NamedTuple):
    """As it was read. version: the object's."""

    job: str
    closed: bool
    version: UpdateVersion

    def admits(self, job_id: str) -> bool:
        """The place is this job's, and its runs may write."""
        return self.job == job_id and not self.closed


class BucketMark:
    """The mark of one address."""

    def __init__(self, store: ObjectStore, address: BucketAddress) -> None:
        self._store = store
        self._address = address
        self._key = address.key(_NAME)

    def read(self) -> Mark | None:
        """None without a mark; NoSuchBucket."""
        with sorted_errors(self._address):
            try:
                found = obstore.get(self._store, self._key)
            except FileNotFoundError as error:
                if is_missing(error):
                    return None
                raise
            words = bytes(found.bytes())[:1024].decode("ascii", "replace").split()
            version = version_of(found.meta)
        return Mark(words[0] if words else "", _CLOSED in words[1:], version)

    def claim(self, job_id: str) -> bool:
        """False: somebody was faster."""
        return self._put(job_id, "create")

    def change(self, mark: Mark, *, closed: bool) -> bool:
        """False: it is not as it was read any more."""
        return self._put(f"{mark.job} {_CLOSED}" if closed else mark.job, mark.version)

    def remove(self) -> None:
        """Whatever it says: stores have no conditional removal that we could use."""
        with sorted_errors(self._address):
            try:
                obstore.delete(self._store, self._key)
            except FileNotFoundError as error:
                if not is_missing(error):
                    raise

    def _put(self, content: str, mode: PutMode) -> bool:
        with sorted_errors(self._address):
            try:
                obstore.put(
                    self._store,
                    self._key,
                    f"{content}\n".encode(),
                    mode=mode,
                    attributes={"Content-Type": "text/plain"},
                )
            except (AlreadyExistsError, PreconditionError):
                return False
        return True


def version_of(found: ObjectMeta) -> UpdateVersion:
    """What a condition compares."""
    version: UpdateVersion = {}
    if found["e_tag"] is not None:
        version["e_tag"] = found["e_tag"]
    if found["version"] is not None:
        version["version"] = found["version"]
    return version
