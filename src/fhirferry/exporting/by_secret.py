"""What a job's secret opens (S9, S15, S69): which kinds of destination, and what their connection strings say.

    in-memory             anything; for tests
    folder                the folder, as a path or `file:` URL
    azure-blob            a storage account's connection string
    s3                    AWS_ACCESS_KEY_ID=…;AWS_SECRET_ACCESS_KEY=…, by the names of `destinations.credentials`
    google-cloud-storage  the same; or a JSON object of such names, in which a service account's JSON has its place

Where the record has no URL, the job has a place of its own, named by its id: a folder below the folder, a container of the
account, a prefix below what the name `Url` gives for s3 and google-cloud-storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fhirferry.model.errors import FerryError, PermanentError, RequestError

if TYPE_CHECKING:
    from fhirferry.destinations.protocol import Destination
    from fhirferry.vaults.secret import DestinationSecret, Secret

URL = "Url"
FORM = "NAME=VALUE;NAME=VALUE, or a JSON object of texts"


class Hidden(Mapping[str, str]):
    """Credentials by name that show themselves only to who asks for one by its name."""

    def __init__(self, values: Mapping[str, str]) -> None:
        from fhirferry.vaults.secret import Secret

        self._values = {name: Secret(value) for name, value in values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name].reveal()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class Kind(NamedTuple):
    """schemes: of the URLs that it is for. open: of a URL (may be empty), connection string and job id."""

    schemes: tuple[str, ...]
    open: Callable[[str, Secret, str], Destination]


def open_with(uri: str, secret: DestinationSecret, job_id: str) -> Destination:
    """The destination at `uri`, or the job's own where that is empty. PermanentError (400): an unknown kind (S15, S74), one
    for other addresses, or a connection string that cannot be read; none is quoted. And what opening it raises."""
    kind = KINDS.get(secret.kind)
    if kind is None:  # not quoted: type and connection string may have changed places
        raise PermanentError(
            f"the secret names a destinationType that is not offered; it is one of: {', '.join(KINDS)}", status_code=400
        )
    scheme = uri.partition("://")[0]
    if uri and scheme not in kind.schemes:
        raise PermanentError(f"the secret is for {secret.kind}, the job's destination is {scheme}://", status_code=400)
    try:
        return kind.open(uri, secret.connection, job_id)
    except FerryError as error:
        failed = error.with_traceback(None)
    failed.__cause__ = failed.__context__ = None
    raise failed  # without the frames in which the connection string was taken apart


def _in_memory(uri: str, _: Secret, job_id: str) -> Destination:
    from fhirferry.destinations.bucket_opening import open_object_store

    return open_object_store(uri or f"memory://{job_id}", {})


def _folder(uri: str, connection: Secret, job_id: str) -> Destination:
    from fhirferry.destinations.folder import FolderDestination
    from fhirferry.settings import destination_url, path_of

    if uri:
        return FolderDestination(path_of(uri))
    try:
        return FolderDestination(path_of(destination_url(connection.reveal())) / job_id)
    except RequestError:
        raise PermanentError(
            "the secret's connection string is no folder's path or file: URL", status_code=400
        ) from None


def _azure(uri: str, connection: Secret, job_id: str) -> Destination:
    from fhirferry.destinations.bucket_opening import open_object_store

    return open_object_store(uri or f"az://{job_id}", Hidden({"AZURE_STORAGE_CONNECTION_STRING": connection.reveal()}))


def _bucket(uri: str, connection: Secret, job_id: str) -> Destination:
    from fhirferry.destinations.bucket_opening import open_object_store

    given = _named_values(connection)
    if not uri and not given.get(URL):
        raise PermanentError(
            f"the job has no URL, and the secret's connection string no {URL}=; write one", status_code=400
        )
    return open_object_store(uri or f"{given[URL].rstrip('/')}/{job_id}", given)


def _named_values(connection: Secret) -> Hidden:
    try:
        if connection.reveal().lstrip().startswith("{"):
            return Hidden(msgspec.json.decode(connection.reveal(), type=dict[str, str]))
        pairs = [part.partition("=") for part in connection.reveal().split(";") if part.strip()]
    except (msgspec.DecodeError, UnicodeError):
        pairs = [("", "", "")]
    if not all(separator for _, separator, _ in pairs):
        raise PermanentError(f"the secret's connection string cannot be read; write {FORM}", status_code=400)
    return Hidden({name.strip(): value.strip() for name, _, value in pairs})


KINDS: Mapping[str, Kind] = {
    "in-memory": Kind(("memory",), _in_memory),
    "folder": Kind(("file",), _folder),
    "azure-blob": Kind(("az",), _azure),
    "s3": Kind(("s3",), _bucket),
    "google-cloud-storage": Kind(("gs",), _bucket),
}
