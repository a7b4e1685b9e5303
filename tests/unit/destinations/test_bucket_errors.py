"""What object stores say, as passing or final, in our own words (S16, S33, S61; L21), and soon (issue's item 2)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("obstore")

from fhirferry.destinations.bucket_opening import open_object_store
from fhirferry.destinations.object_store import ObjectStoreDestination
from fhirferry.model.errors import DestinationConnectionError, DestinationUnavailable, FerryError

CANARY = "Q2FuYXJ5LWluLWEta2V5LW9mLWF6dXJl"
FINAL, PASSING = DestinationConnectionError, DestinationUnavailable


@contextmanager
def answering(status: int, code: str, message: str = "") -> Iterator[str]:
    """A server that says the same to everything. Its URL."""

    class Answer(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = (
                f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message} {CANARY}</Message></Error>".encode()
            )
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 - http.server calls them so

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def azure(endpoint: str) -> ObjectStoreDestination:
    text = f"AccountName=acme;AccountKey={CANARY};BlobEndpoint={endpoint}"
    return open_object_store("az://exports@acme/x", {"AZURE_STORAGE_CONNECTION_STRING": text})


def s3(endpoint: str) -> ObjectStoreDestination:
    return open_object_store(
        "s3://exports/x", {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": CANARY}
    )


def told(place: ObjectStoreDestination) -> FerryError:
    """What preparing it raises, within ten seconds."""
    start = time.monotonic()
    with pytest.raises(FerryError) as caught:
        place.prepare("0b6c5e1a")
    assert time.monotonic() - start < 10
    said = "".join(str(getattr(caught.value, each)) for each in ("message", "details", "__cause__"))
    assert CANARY not in said
    assert "<" not in said
    assert place.address.url in said or place.address.holder in said
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "words"),
    [
        (404, "ContainerNotFound", "", FINAL, "there is no container exports in account acme"),
        (
            403,
            "AuthenticationFailed",
            "Make sure the value of Authorization header is right",
            FINAL,
            "refuses the credentials",
        ),
        (403, "AuthenticationFailed", "Request date header too old: Mon", FINAL, "clock"),
        (403, "AuthorizationPermissionMismatch", "", FINAL, "does not allow this"),
        (400, "InvalidQueryParameterValue", "", FINAL, "refuses the request"),
        (503, "ServerBusy", "", PASSING, "too fast"),
        (500, "InternalError", "", PASSING, "trouble of its own"),
        (429, "TooManyRequests", "", PASSING, "too fast"),
    ],
)
def test_s16_s33_s61_azure(status: int, code: str, message: str, kind: type[FerryError], words: str) -> None:
    with answering(status, code, message) as endpoint:
        error = told(azure(endpoint))
    assert isinstance(error, kind), error
    assert words in error.message


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (404, "NoSuchBucket", FINAL, "there is no bucket exports"),
        (403, "SignatureDoesNotMatch", FINAL, "refuses the credentials"),
        (403, "InvalidAccessKeyId", FINAL, "refuses the credentials"),
        (400, "ExpiredToken", FINAL, "refuses the credentials"),
        (403, "RequestTimeTooSkewed", FINAL, "clock"),
        (403, "AccessDenied", FINAL, "does not allow this"),
        (503, "SlowDown", PASSING, "too fast"),
        (500, "InternalError", PASSING, "trouble of its own"),
    ],
)
def test_s16_s33_s61_s3(status: int, code: str, kind: type[FerryError], words: str) -> None:
    with answering(status, code) as endpoint:
        error = told(s3(endpoint))
    assert isinstance(error, kind), error
    assert words in error.message


def test_who_is_told_to_slow_down_is_told_for_how_long() -> None:
    with answering(503, "SlowDown") as endpoint:
        error = told(s3(endpoint))
    assert isinstance(error, DestinationUnavailable)
    assert error.retry_after


@pytest.mark.parametrize("place", [azure, s3])
def test_a_wrong_host_is_told_within_ten_seconds(place: object) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        error = told(place(f"http://127.0.0.1:{nobody.getsockname()[1]}"))  # type: ignore[operator]
    assert isinstance(error, DestinationUnavailable)
    assert "cannot be reached" in error.message


def test_a_host_that_never_answers_is_told_within_ten_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = told(s3(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert isinstance(error, DestinationUnavailable)


def test_errors_cross_process_borders() -> None:
    import pickle

    with answering(404, "NoSuchBucket") as endpoint:
        error = pickle.loads(pickle.dumps(told(s3(endpoint))))
    assert (error.status_code, type(error).__name__) == (404, "NoSuchBucket")
