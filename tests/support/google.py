"""Requests to the fake Google by plain HTTP, as its own tests make them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from lecoder_cgpu.testing.colab import CLIENT, FakeColab
from lecoder_cgpu.testing.state import SCOPES

XSSI = b")]}'\n"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body.removeprefix(XSSI))


def call(
    method: str,
    url: str,
    headers: dict[str, str] | None = None,
    data: bytes | None = None,
    timeout: float = 120,
    **query: Any,
) -> Answer:
    """One request by plain HTTP; a refusal is an answer too."""
    if query:
        url += "?" + urlencode(query)
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with OPENER.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.read(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), dict(error.headers))


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


class User:
    """Somebody with an access token."""

    def __init__(self, colab: FakeColab, scopes: tuple[str, ...] = SCOPES, **login: Any) -> None:
        self.colab = colab
        client, secret = CLIENT
        answer = call(
            "POST",
            colab.urls["oauth"] + "/token",
            None,
            form(
                grant_type="refresh_token",
                refresh_token=colab.login(scopes, **login),
                client_id=client,
                client_secret=secret,
            ),
        )
        self.token: str = answer.json["access_token"]

    def __call__(
        self,
        method: str,
        path: str,
        role: str = "tunnel",
        data: bytes | None = None,
        timeout: float = 120,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self.token}"}
        if role == "tunnel":
            sent["X-Colab-Client-Agent"] = "tests"
            query = {"authuser": 0, **query}
        return call(method, self.colab.urls[role] + path, sent | (headers or {}), data, timeout, **query)

    def assign(self, nbh: str | None = None, **query: Any) -> Answer:
        """GET and, when there is nothing yet, POST."""
        query = {"nbh": nbh or new_nbh(), **query}
        first = self("GET", "/tun/m/assign", **query)
        if first.status != 200 or "token" not in first.json:
            return first
        return self("POST", "/tun/m/assign", data=b"", headers={"X-Goog-Colab-Token": first.json["token"]}, **query)


def new_nbh() -> str:
    return str(uuid.uuid4()).replace("-", "_").ljust(44, ".")
