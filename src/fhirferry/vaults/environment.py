"""Secrets that whoever starts the process gives it: variables, and files that are mounted into it. Both are only read."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fhirferry.model.errors import SecretNotFound, SecretStoreError, SecretStoreRefused
from fhirferry.vaults.protocol import check_name, refuse_writing
from fhirferry.vaults.secret import Secret

PREFIX = "FHIRFERRY_SECRET_"
LARGEST = 1_000_000
"""Bytes of a file that is taken for a secret; what is larger is something else."""


class EnvironmentSecretStore:
    """`FHIRFERRY_SECRET_<NAME>`: the name in capitals, with `_` for each hyphen. environment: the process's own."""

    read_only = True

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    def get(self, name: str) -> Secret:
        variable = variable_of(name)
        if variable not in self._environment:
            raise SecretNotFound(f"there is no secret {name!r}: the variable {variable} is not set")
        return Secret(self._environment[variable])

    def set(self, name: str, secret: Secret) -> None:  # noqa: ARG002 - the protocol's
        raise refuse_writing(name, "the environment")

    def delete(self, name: str) -> None:
        raise refuse_writing(name, "the environment")

    def close(self) -> None:
        """Nothing to give back."""


def variable_of(name: str) -> str:
    """RequestError for what is no name."""
    return PREFIX + check_name(name).upper().replace("-", "_")


class FileSecretStore:
    """A folder with one file for each secret, as Docker and Kubernetes mount them. Read anew each time, for they may be
    changed under a running process. One line end at the end of a file is the editor's, not the secret's."""

    read_only = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.fspath(folder)

    def get(self, name: str) -> Secret:
        path = os.path.join(self._folder, check_name(name))  # noqa: PTH118 - see settings
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                return _read(file.read(LARGEST + 1), path)
        except FileNotFoundError:
            raise SecretNotFound(f"there is no secret {name!r}: no file {path}") from None
        except PermissionError:
            raise SecretStoreRefused(f"the secret {name!r} may not be read: {path}", status_code=403) from None
        except OSError as error:
            raise SecretStoreError(f"the secret {name!r} cannot be read: {path}: {error.strerror}") from None

    def set(self, name: str, secret: Secret) -> None:  # noqa: ARG002 - the protocol's
        raise refuse_writing(name, f"the folder {self._folder}")

    def delete(self, name: str) -> None:
        raise refuse_writing(name, f"the folder {self._folder}")

    def close(self) -> None:
        """Nothing to give back."""


def _read(data: bytes, path: str) -> Secret:
    if len(data) > LARGEST:
        del data  # a traceback that shows locals shows this one's
        raise SecretStoreError(f"{path} is larger than {LARGEST} bytes; that is no secret")
    try:
        return Secret(data.removesuffix(b"\n").removesuffix(b"\r").decode())
    except UnicodeDecodeError:
        del data
        raise SecretStoreError(f"{path} is not text in UTF-8") from None
