"""Object stores for tests: real servers on loopback, on free ports, ended by their ids. `make servers` brings them; a test
whose server is not there is skipped with the reason."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError

import pytest

from scripts.install_servers import AZURITE, HOME, MOTO, RCLONE
from tests.conftest import end

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
BUCKET = "exports"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "AKFERRY", "AWS_SECRET_ACCESS_KEY": "quite-secret-indeed", "AWS_REGION": "eu-central-1"}


class ObjectServer(NamedTuple):
    """A running server. root: address of a bucket that is there and empty at first. settings: what the environment of who
    opens it must hold. endpoint: its own URL."""

    root: str
    settings: dict[str, str]
    endpoint: str


@contextmanager
def azurite(folder: Path) -> Iterator[ObjectServer]:
    """Azure Blob Storage: signatures and conditions."""
    node = shutil.which("node")
    program = _there(f"azurite-{AZURITE}") / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if node is None:
        pytest.skip("no node to run Azurite with")
    port = _free_port()
    command = [node, str(program), "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", str(folder),
               "--blobHost", "127.0.0.1", "--blobPort", str(port)]  # fmt: skip
    with _running(command, port, folder):
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(text) as client:
            client.create_container(BUCKET)
        yield ObjectServer(f"az://{BUCKET}@{ACCOUNT}", {"AZURE_STORAGE_CONNECTION_STRING": text}, endpoint)


@contextmanager
def moto(folder: Path) -> Iterator[ObjectServer]:
    """S3: conditions, no signatures."""
    program = _there(f"moto-{MOTO}") / "venv" / "bin" / "python"
    port = _free_port()
    with _running([str(program), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, folder):
        endpoint = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT"), timeout=20).close()
        yield ObjectServer(f"s3://{BUCKET}", {**S3_KEYS, "AWS_ENDPOINT_URL": endpoint}, endpoint)


@contextmanager
def rclone(folder: Path) -> Iterator[ObjectServer]:
    """S3: signatures, no conditions."""
    program = _there(f"rclone-{RCLONE}") / "rclone"
    port = _free_port()
    (folder / "files" / BUCKET).mkdir(parents=True)
    keys = f"{S3_KEYS['AWS_ACCESS_KEY_ID']},{S3_KEYS['AWS_SECRET_ACCESS_KEY']}"
    command = [str(program), "serve", "s3", "--config", str(folder / "none"), "--addr", f"127.0.0.1:{port}",
               "--auth-key", keys, str(folder / "files")]  # fmt: skip
    with _running(command, port, folder):
        endpoint = f"http://127.0.0.1:{port}"
        yield ObjectServer(f"s3://{BUCKET}", {**S3_KEYS, "AWS_ENDPOINT_URL": endpoint}, endpoint)


def _there(name: str) -> Path:
    pytest.importorskip("obstore")
    if not (HOME / name).is_dir():
        pytest.skip(f"{name} is not in .cache/servers; `make servers` brings it, or says why not")
    return HOME / name


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    with (folder / "said.log").open("wb") as said:
        child = subprocess.Popen(command, start_new_session=True, cwd=folder, stdout=said, stderr=said)
        try:
            _await(child, port, folder)
            yield
        finally:
            end(child)


def _await(child: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).close()
        except HTTPError as answer:
            answer.close()
            return
        except (URLError, OSError):
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"{command_name(child)} did not start: {(folder / 'said.log').read_text('utf-8', 'replace')[-500:]}")


def command_name(child: subprocess.Popen[bytes]) -> str:
    """The program's name, for messages."""
    return Path(str(child.args[0] if isinstance(child.args, list) else child.args)).name
