"""A prefix in a bucket as destination: Azure Blob Storage, S3, Google Cloud Storage, over obstore.

Nothing is renamed and nothing overwritten: a run writes `<Type>-<n>-<token>-<job>.ndjson`, whole or not at all, and a
run that happened twice leaves an orphan that `sweep` knows by the job at its end. `.fhirferry/job` says whose prefix it
is (see `destinations.bucket_mark`). Stores have no locks, so two promises of a folder are weaker here:

- `put` and `forget` look whose place it is before and after, and act under a condition; who is stopped between the look
  and the deed for as long as the clean-up of one job and the whole of the next take can remove the other's `manifest.json`
  and mark. No store offers more than a condition on one object.
- where a store ignores conditions altogether, two jobs that claim one prefix in the same moment may both get it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from fhirferry.destinations.addresses import BucketAddress
from fhirferry.destinations.bucket_errors import AGAIN, NoSuchBucket, is_missing, sorted_errors
from fhirferry.destinations.bucket_mark import BucketMark, Mark, version_of
from fhirferry.destinations.bucket_reading import read_object
from fhirferry.destinations.names import (
    HIDDEN,
    check_job_id,
    check_name,
    check_range,
    check_visible,
    is_any_part,
    is_name,
    is_visible_part,
    refuse_foreign,
    visible_part,
)
from fhirferry.destinations.protocol import FileWriter, StoredFile
from fhirferry.destinations.upload import Upload, headers_of
from fhirferry.faultpoints import reach
from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, PermanentError, RequestError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

AT_ONCE = 1000
"""Objects that are removed by one request."""
ATTEMPTS = 3
"""Times that a change under a condition is tried when others change the same."""


class ObjectStoreDestination:
    """Objects below the prefix of `address`. Opening it does no I/O. Safe for several threads.

    store: for the work. asked: the same store with short time-outs, for what somebody waits for.
    """

    renames = False

    def __init__(self, store: ObjectStore, address: BucketAddress, asked: ObjectStore | None = None) -> None:
        self.address = address
        self._store = store
        self._asked = asked or store
        self._mark = BucketMark(store, address)

    def prepare(self, job_id: str) -> None:
        check_job_id(job_id)
        asked = BucketMark(self._asked, self.address)
        for _ in range(ATTEMPTS):
            mark = asked.read()
            self._refuse_foreign(mark, job_id)
            if mark is None:
                asked.claim(job_id)
            elif mark.admits(job_id) or asked.change(mark, closed=False):
                return
            # Who was faster, also where conditions are ignored: what stands is what is read now.
        raise DestinationUnavailable(
            f"{self.address.url}: another export was claimed or removed there just now; the job will be tried again"
        )

    def check(self, job_id: str | None = None) -> None:
        try:
            self._refuse_foreign(BucketMark(self._asked, self.address).read(), job_id)
        except DestinationUnavailable as error:  # there is no job yet
            raise DestinationUnavailable(error.message.removesuffix(AGAIN)) from None

    def part_name(self, job_id: str, stem: str, suffix: str = ".ndjson") -> str:
        return visible_part(job_id, stem, suffix)

    def create(self, name: str) -> FileWriter:
        check_name(name)
        if not is_any_part(name, hidden=False):
            raise RequestError(f"{name!r} is not the name of a part; `part_name` gives one")
        job_id = self._job_of(name)
        if self.stat(name) is not None:
            raise DestinationConnectionError(f"{self._at(name)} is there already; a run's part name is used once")
        return Upload(self._store, self.address, name, headers_of(name), lambda size: self._settle(name, job_id, size))

    def publish(self, part: str, name: str) -> None:
        """A part has its final name already: this looks whether it is there."""
        check_name(part)
        check_visible(name)
        if self.stat(part) is None:
            raise PermanentError(f"{self._at(name)} is lost: its part {part} is not there")
        if part != name:
            raise RequestError("an object store cannot rename: a part is published under its own name")

    def sync(self) -> None:
        """What is committed is durable."""

    def put(self, job_id: str, name: str, data: bytes) -> None:
        """Under the condition that the object is as it was before we saw that the place is ours."""
        check_job_id(job_id)
        check_visible(name)
        for _ in range(ATTEMPTS):
            before = self._head(name)
            self._refuse_late(name, job_id)
            with sorted_errors(self.address, name):
                try:
                    written = obstore.put(
                        self._store,
                        self.address.key(name),
                        data,
                        mode="create" if before is None else version_of(before),
                        attributes=headers_of(name),
                        use_multipart=False,
                    )
                except (AlreadyExistsError, PreconditionError):
                    continue
            after = self._head(name)
            if not self._admits(job_id):
                if after is not None and after["e_tag"] == written["e_tag"]:
                    self.delete([name])
                self._refuse_late(name, job_id)
            if after is not None and after["size"] == len(data):
                return
        raise DestinationUnavailable(f"{self._at(name)} is written by others, too; the job will be tried again")

    def stat(self, name: str) -> StoredFile | None:
        check_name(name)
        found = self._head(name)
        return None if found is None else _stored(name, found)

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Objects whose names are none of a destination's are passed over."""
        yield from sorted(self._walk(prefix), key=lambda stored: stored.name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Also while somebody removes the file: then it ends with an error, never with another file's bytes."""
        check_name(name)
        check_range(name, offset, length)
        found = self._head(name)
        if found is None:
            raise RequestError(f"{self._at(name)} does not exist", status_code=404)
        end = found["size"] if length is None else min(found["size"], offset + length)
        yield from read_object(self._store, self.address, name, found, offset, end)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            check_name(name)
        for start in range(0, len(names), AT_ONCE):
            keys = [self.address.key(name) for name in names[start : start + AT_ONCE]]
            if self._removed(keys):
                continue
            for key in keys:  # one of them was gone, and the others' fate is not told
                self._removed([key])

    def sweep(self, job_id: str, keep: frozenset[str]) -> Sequence[str]:
        """Closes the place to late runs first, where nothing is kept. A bucket that is gone has nothing left."""
        check_job_id(job_id)
        try:
            if not keep:
                self._close_to(job_id)
            parts = [stored.name for stored in self.list() if is_visible_part(stored.name, job_id)]
            removed = [name for name in parts if name not in keep]
            self.delete(removed)
            if keep and len(removed) == len(parts):
                self._close_to(job_id)
        except NoSuchBucket:
            return []
        return removed

    def forget(self, job_id: str, names: Sequence[str] = ()) -> None:
        check_job_id(job_id)
        for name in names:
            check_visible(name)
        try:
            if self._close_to(job_id):
                reach("cleanup-holding")
                self.delete(names)
                left = self._mark.read()
                if left is not None and left.job == job_id:
                    self._mark.remove()
        except NoSuchBucket:
            return

    def url_for(self, name: str, seconds: float) -> str:
        """Signed; made without a request where a key is at hand. With a signature as credential there is none."""
        check_name(name)
        try:
            return obstore.sign(self._store, "GET", self.address.key(name), timedelta(seconds=seconds))  # type: ignore[call-overload, no-any-return]
        except Exception:  # the driver's reasons have URLs in them
            raise RequestError(
                f"{self.address.url} gives no URLs that expire: they need an account key, an access key or a service "
                "account's key as credential"
            ) from None

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        """Connections are given back by themselves."""

    def _at(self, name: str) -> str:
        return f"{self.address.url}/{name}"

    def _head(self, name: str) -> ObjectMeta | None:
        with sorted_errors(self.address, name):
            try:
                return obstore.head(self._store, self.address.key(name))
            except FileNotFoundError as error:
                if is_missing(error):
                    return None
                raise

    def _removed(self, keys: Sequence[str]) -> bool:
        """False: one was not there."""
        with sorted_errors(self.address):
            try:
                obstore.delete(self._store, keys)
            except FileNotFoundError as error:
                if not is_missing(error):
                    raise
                return len(keys) == 1
        return True

    def _walk(self, prefix: str) -> Iterator[StoredFile]:
        folder = prefix.rpartition("/")[0]
        root = self.address.key(folder) if folder else self.address.prefix
        cut = len(self.address.key("x")) - 1
        with sorted_errors(self.address):
            for batch in obstore.list(self._store, root or None):
                for found in batch:
                    name = found["path"][cut:]
                    hidden = name.startswith(f"{HIDDEN}/") and not prefix.startswith(HIDDEN)
                    if name.startswith(prefix) and not hidden and is_name(name):
                        yield _stored(name, found)

    def _refuse_foreign(self, mark: Mark | None, job_id: str | None) -> None:
        if mark is not None:
            return refuse_foreign(self.address.url, mark.job, job_id, ())
        cut = len(self.address.key("x")) - 1
        with sorted_errors(self.address):
            here = obstore.list_with_delimiter(self._asked, self.address.prefix or None)["objects"]
        return refuse_foreign(self.address.url, None, job_id, sorted(found["path"][cut:] for found in here))

    def _admits(self, job_id: str) -> bool:
        mark = self._mark.read()
        return mark is not None and mark.admits(job_id)

    def _refuse_late(self, name: str, job_id: str) -> None:
        if not self._admits(job_id):
            raise DestinationConnectionError(f"{self._at(name)} cannot be written: its job was removed meanwhile")

    def _job_of(self, name: str) -> str:
        """Of a part of the job that has the place."""
        mark = self._mark.read()
        if mark is None or mark.closed or not is_visible_part(name, mark.job):
            raise DestinationConnectionError(
                f"{self._at(name)} cannot be written: its job is not prepared here, or is gone"
            )
        return mark.job

    def _settle(self, name: str, job_id: str, size: int) -> None:
        """After the upload: as long as it was made, and of a job that still has the place. Else it goes again."""
        try:
            stored = self.stat(name)
            if stored is None or stored.bytes != size:
                found = "nothing" if stored is None else f"{stored.bytes} bytes"
                raise DestinationUnavailable(f"{self._at(name)}: {found} where {size} bytes were written")
            self._refuse_late(name, job_id)
        except BaseException:
            self.delete([name])
            raise

    def _close_to(self, job_id: str) -> bool:
        """True: the place is this job's, and takes nothing from its runs any more."""
        for _ in range(ATTEMPTS):
            mark = self._mark.read()
            if mark is None or mark.job != job_id:
                return False
            if mark.closed or self._mark.change(mark, closed=True):
                return True
        raise DestinationUnavailable(f"{self.address.url}: others change whose it is; it will be tried again")


def _stored(name: str, found: ObjectMeta) -> StoredFile:
    return StoredFile(name=name, bytes=found["size"], modified=int(found["last_modified"].timestamp() * 1_000_000))
