"""One object being written: in one request while it is small, in parts that overlap with their making when it grows.

Until `commit` nothing is visible, and `abort` also takes the parts back that were sent. Only a process that dies in the
middle leaves parts behind: Azure and Google forget them after a week, S3 wants a lifecycle rule (docs/buckets.md).
Memory: PART_BYTES times one more than PARTS_AT_ONCE, and a little.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError

from fhirferry.destinations.addresses import BucketAddress
from fhirferry.destinations.bucket_errors import sort_error, sorted_errors
from fhirferry.faultpoints import reach
from fhirferry.model.errors import DestinationConnectionError, PermanentError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_BYTES = 8 * 2**20
"""Of 10,000 parts, which is what S3 takes: files up to 80 GB."""
PARTS_AT_ONCE = 4


class _Aborted(Exception):
    """Ends an upload from within, so that the library takes its parts back."""


class Upload:
    """A new object. settled: called when it is whole, with what it may raise; then it is removed again. Belongs to one
    thread at a time."""

    def __init__(
        self,
        store: ObjectStore,
        address: BucketAddress,
        name: str,
        attributes: dict[str, str],
        settled: Callable[[int], None],
    ) -> None:
        self._store = store
        self._address = address
        self._name = name
        self._attributes = attributes
        self._settled = settled
        self._size = 0
        self._waiting = bytearray()
        self._open = True
        self._parts: SimpleQueue[bytes | None] = SimpleQueue()
        self._room = threading.Semaphore(1)
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._cancelled = False

    def write(self, data: bytes | memoryview) -> None:
        self._check_open()
        self._waiting += data
        self._size += len(memoryview(data).cast("B"))
        while len(self._waiting) > PART_BYTES:
            self._send(bytes(memoryview(self._waiting)[:PART_BYTES]))
            del self._waiting[:PART_BYTES]

    def commit(self) -> None:
        self._check_open()
        try:
            reach("file-before-sync")
            if self._thread is None:
                self._put_whole()
            else:
                self._send(bytes(self._waiting))
                self._parts.put(None)
                self._thread.join()
                if self._error is not None:
                    raise sort_error(self._error, self._address, self._name) from None
        except BaseException:
            self.abort()
            raise
        self._close()
        self._settled(self._size)
        reach("file-synced")

    def abort(self) -> None:
        if self._open:
            self._close()
            if self._thread is not None:
                self._cancelled = True
                self._parts.put(None)
                self._thread.join()

    def _put_whole(self) -> None:
        with sorted_errors(self._address, self._name):
            try:
                obstore.put(
                    self._store,
                    self._address.key(self._name),
                    bytes(self._waiting),
                    attributes=self._attributes,
                    mode="create",
                    use_multipart=False,
                )
            except AlreadyExistsError:
                raise DestinationConnectionError(
                    f"{self._address.url}/{self._name} is there already; a run's part name is used once"
                ) from None

    def _send(self, part: bytes) -> None:
        """Hand a part over; waits while another waits already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._carry, name=f"upload {self._name}", daemon=True)
            self._thread.start()
        while not self._room.acquire(timeout=0.2):
            if self._ended.is_set():
                break
        if self._error is not None:
            raise sort_error(self._error, self._address, self._name) from None
        self._parts.put(part)

    def _carry(self) -> None:
        try:
            obstore.put(
                self._store,
                self._address.key(self._name),
                self._made(),
                attributes=self._attributes,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except Exception as error:
            self._error = error
        finally:
            self._ended.set()

    def _made(self) -> Iterator[bytes]:
        while (part := self._parts.get()) is not None:
            self._room.release()
            yield part
        if self._cancelled:
            raise _Aborted

    def _check_open(self) -> None:
        if not self._open:
            raise PermanentError(f"{self._address.url}/{self._name} is closed already")

    def _close(self) -> None:
        self._open = False
        self._waiting = bytearray()


def headers_of(name: str) -> dict[str, str]:
    """https://hl7.org/fhir/uv/bulkdata/STU2/export.html: NDJSON has a type of its own."""
    kind = (
        "application/fhir+ndjson"
        if ".ndjson" in name
        else "application/json"
        if name.endswith(".json")
        else "text/plain"
    )
    return {"Content-Type": kind, **({"Content-Encoding": "gzip"} if name.endswith(".gz") else {})}
