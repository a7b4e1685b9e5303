"""Azure Key Vault, as far as the SDK sees it: an azure-core transport that answers like the service (REST API 7.x)."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import HttpRequest, HttpTransport
from azure.core.rest._requests_basic import RestRequestsTransportResponse
from requests import Response
from requests.structures import CaseInsensitiveDict

URL = "https://ferry.vault.azure.net"


class Credential:
    """Gives a token for any scope."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("a-token", int(time.time()) + 3600)


class Service(HttpTransport):  # type: ignore[type-arg]
    """secrets: name -> value. asked: (method, name) of every request that came with a token. answers: what the next such
    requests get instead of the truth: (status, headers, body), or an exception."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.answers: list[tuple[int, dict[str, str], Any] | Exception] = []

    def send(self, request: Any, **_: Any) -> Any:
        name = urlsplit(request.url).path.strip("/").split("/")[1]
        if "Authorization" not in request.headers:
            challenge = 'Bearer authorization="https://login.windows.net/t", resource="https://vault.azure.net"'
            return _response(request, 401, {"WWW-Authenticate": challenge}, _error("Unauthorized", "no token"))
        self.asked.append((request.method, name))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return _response(request, *answer)
        if request.method == "PUT":
            content = request.content if hasattr(request, "content") else request.data
            self.secrets[name] = json.loads(content)["value"]
        elif name not in self.secrets:
            return _response(request, 404, {}, _error("SecretNotFound", "A secret with (name/id) was not found"))
        value = self.secrets[name] if request.method != "DELETE" else self.secrets.pop(name)
        shown = {"id": f"{URL}/secrets/{name}/1", "attributes": {"enabled": True}}
        if request.method == "DELETE":
            shown |= {"recoveryId": f"{URL}/deletedsecrets/{name}", "deletedDate": 1, "scheduledPurgeDate": 2}
        else:
            shown["value"] = value
        return _response(request, 200, {}, shown)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _response(request: HttpRequest, status: int, headers: dict[str, str], body: Any) -> Any:
    answer = Response()
    answer.status_code = status
    answer.reason = "because"
    answer.headers = CaseInsensitiveDict({"Content-Type": "application/json", **headers})
    answer._content = json.dumps(body).encode()
    answer._content_consumed = True  # type: ignore[attr-defined]
    return RestRequestsTransportResponse(request=request, internal_response=answer)
