"""A session's Jupyter server on this machine, under a token of its own, for every other Jupyter client.

The reverse proxy of `http_proxy.py`, in front of the session's own endpoint: the runtime's address and credentials stay
here, and are renewed while clients go on with the ones that they were given.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from ssl import SSLContext
from urllib.parse import unquote, unquote_plus

from .. import errors
from ..backends.protocol import Upstream
from ..jupyter.endpoint import Endpoint
from ..net import tls
from ..sessions.session import Session
from .http_proxy import PortProxy
from .proxy_heads import Answer, Fields, Refused, Request, named

XSRF = "_xsrf"  # the cookie with which pages and VS Code show that they have read an answer
SERVER = 0  # what stands for the Jupyter server where others name a port


class ServedRuntime(PortProxy):
    """The session's Jupyter server on a port of this machine.

    Args:
        session: its runtime is where requests lead.
        notify: told what a person should know meanwhile.
        token: what clients have to show: as `Authorization: token …`, as `?token=…`, or as the first part of the path,
            for programs that show none when they open a WebSocket, as nbclient on a gateway.

    Raises:
        errors.LostError: the runtime is gone. errors.AuthError, errors.ConnectionFailed: see `net.http.Http.request`.
    """

    def __init__(self, session: Session, notify: Callable[[str], None], token: str) -> None:
        self._token = token.encode()
        self._asked = False
        super().__init__(session, notify, f"lecoder-cgpu status --session {session.record.name}")

    def _finder(self, session: Session, hint: str) -> Callable[[int], Upstream]:
        return lambda port: self._upstream()

    def _upstream(self) -> Upstream:
        """Where the runtime's server is, and what it wants to be shown; asked for again when that was refused."""
        session = self._session
        record = session.store.get(session.record.id) or session.record
        endpoint: Endpoint | None = session.endpoint
        if self._asked:
            refused = errors.TokenRefused("the runtime refused a request", hint="lecoder-cgpu status")
            endpoint = session.backend.refresh_endpoint(record, refused) or session.backend.find(record)
        self._asked = True
        if endpoint is None:
            raise self._lost()
        (header, token), *more = [*endpoint.headers.items()] or [("", "")]
        allocation = record.allocation
        ends = None if allocation is None else allocation.expires
        return Upstream(endpoint.url.rstrip("/"), header, token, math.inf if ends is None else ends, dict(more))

    def _admit(self, request: Request) -> Request:
        if any(value.lower() != f"http://{request.host}".lower() for value in named(request.fields, "origin")):
            raise Refused(403, "pages of other addresses are not served")
        path, mark, query = request.target.partition("?")
        first, _, rest = path[1:].partition("/")
        if self._is_token(unquote(first)):
            return replace(request, target=f"/{rest}{mark}{query}", fields=_kept(request.fields))
        offered = [value.rpartition(" ")[2] for value in named(request.fields, "authorization")]
        kept = []
        for part in query.split("&"):
            name, _, value = part.partition("=")
            if name == "token":
                offered.append(unquote_plus(value))
            else:
                kept.append(part)
        if not any(map(self._is_token, offered)):
            raise Refused(403, "the token is missing or wrong; lecoder-cgpu serve has printed it")
        target = f"{path}{mark if any(kept) else ''}{'&'.join(kept)}"
        return replace(request, target=target, fields=_kept(request.fields))

    def _is_token(self, offered: str) -> bool:
        return hmac.compare_digest(offered.encode("utf-8", "replace"), self._token)

    def _returned(self, answer: Answer) -> Answer:
        """Without the cookies by which the runtime's server would know the client again: they are its credentials."""
        fields = [
            (name, value)
            for name, value in answer.fields
            if name.lower() != "set-cookie" or value.startswith(f"{XSRF}=")
        ]
        return replace(answer, fields=fields)

    @cached_property
    def _tls(self) -> SSLContext:
        return tls.context(self._session.endpoint.ca)

    def _lost(self) -> errors.Error:
        return self._session.loss("its server was served here", "lecoder-cgpu sessions list")


def _kept(fields: Fields) -> Fields:
    """A client's fields without its credentials here, and without cookies of other servers of this machine."""
    kept: Fields = []
    for name, value in fields:
        if name.lower() == "cookie":
            value = "; ".join(part for part in value.split("; ") if part.startswith(f"{XSRF}="))
        if value and name.lower() != "authorization":
            kept.append((name, value))
    return kept
