"""What all of Google's hosts share: log, faults, bearer tokens, JSON with or without a prefix."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tornado.web import Finish, HTTPError, RequestHandler

from .faults import NONE, Fault, Request
from .state import COLAB, COLAB_READONLY, EMAIL, Account, Grant

if TYPE_CHECKING:
    from .world import World

MISSING: Any = object()


class Handler(RequestHandler):
    """A route. `role` names its host."""

    role = ""
    world: World
    fault: Fault = NONE
    log: Request

    def initialize(self, world: World) -> None:
        self.world = world

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def prepare(self) -> None:
        query = {key: values[-1].decode("utf-8", "replace") for key, values in self.request.query_arguments.items()}
        self.log = self.world.note(
            self.request.method or "",
            self.role,
            self.request.path,
            query,
            dict(self.request.headers.get_all()),
            self.path_kwargs.get("endpoint") or query.get("endpoint"),
        )
        self.fault = self.world.faults.take(self.log)
        if self.fault.delay:
            await asyncio.sleep(self.fault.delay)
        if self.fault.hang:
            await self.world.silence(self.request.connection)
        if self.fault.drop or self.fault.hang:
            self.vanish()
        if self.fault.status is not None:
            self.set_status(self.fault.status)
            for name, value in self.fault.headers.items():
                self.set_header(name, value)
            self.log.status = self.fault.status
            raise Finish(self.fault.body)
        self.check()

    def check(self) -> None:
        """Hook: what a host refuses before it looks at the route."""

    def vanish(self) -> None:
        """Close the connection without an answer."""
        connection: Any = self.request.connection
        connection.stream.close()
        raise Finish

    def finish(self, chunk: Any = None) -> Any:
        if self.fault.lose and not self._finished:
            connection: Any = self.request.connection
            connection.stream.close()
            return super().finish()
        if self.fault.raw is not None and isinstance(chunk, bytes) and self.fault.status is None:
            chunk = self.fault.raw(chunk)
        if not (self.fault.drop or self.fault.hang):
            self.log.status = self.get_status()  # before the client can see the answer and then look at the log
        return super().finish(chunk)

    def document(self, content: Any, status: int = 200, *, prefix: str = MISSING) -> None:
        """Answer with JSON in the host's form."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        switches = self.world.switches
        if prefix is MISSING:
            prefix = switches.xssi if self.role == "tunnel" else switches.xssi_elsewhere
        self.finish(prefix.encode() + json.dumps(self.fault.changed(content)).encode())

    def nothing(self, status: int = 200) -> None:
        """Answer with an empty body."""
        self.set_status(status)
        self.clear_header("Content-Type")
        self.finish(b"" if status != 204 else None)

    def page(self, status: int, text: str) -> None:
        """Answer with a web page, as a front end does."""
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(f"<!DOCTYPE html><html><title>{text}</title><p>{text}</html>".encode())

    def grant(self) -> Grant | None:
        """The access token of the request, if it is valid."""
        scheme, _, value = self.request.headers.get("Authorization", "").partition(" ")
        return self.world.tokens.valid(value.strip()) if scheme.lower() == "bearer" else None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.page(status_code, f"Error {status_code}")

    def form(self, name: str) -> str | None:
        return self.get_body_argument(name, None)

    def arg(self, name: str) -> str | None:
        return self.get_query_argument(name, None)

    def payload(self) -> Any:
        """The JSON of the request's body."""
        try:
            return json.loads(self.request.body or b"{}")
        except ValueError:
            raise HTTPError(400) from None


class Unknown(Handler):
    """Answers 404."""

    def check(self) -> None:
        self.page(404, "Error 404 (Not Found)")


class ApiHandler(Handler):
    """A route of a Google API that speaks google.rpc.Status."""

    account: Account
    scopes: tuple[str, ...] = (COLAB,)
    read_scopes: tuple[str, ...] = (COLAB_READONLY,)
    service = ""

    def check(self) -> None:
        grant = self.grant()
        if grant is None:
            self.error(
                401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", "ACCESS_TOKEN_EXPIRED"
            )
            raise Finish
        if not self.enabled():
            self.error(
                403,
                "PERMISSION_DENIED",
                f"{self.service} has not been used in this project or it is disabled.",
                "SERVICE_DISABLED",
            )
            raise Finish
        allowed = self.scopes + (self.read_scopes if self.request.method == "GET" else ())
        if not grant.scopes & set(allowed):
            self.error(
                403,
                "PERMISSION_DENIED",
                "Request had insufficient authentication scopes.",
                "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            )
            raise Finish
        self.account = grant.account

    def enabled(self) -> bool:
        return True

    def error(self, code: int, status: str, message: str, reason: str | None = None) -> None:
        """google.rpc.Status as JSON, with an ErrorInfo if there is a reason."""
        content: dict[str, Any] = {"code": code, "message": message, "status": status}
        if reason:
            content["details"] = [error_info(reason, self.service)]
        self.document({"error": content}, code)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.error(
            status_code, "NOT_FOUND" if status_code == 404 else "INVALID_ARGUMENT", "Requested entity not found."
        )


def error_info(reason: str, domain: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": domain, "metadata": {}}


class TunnelHandler(Handler):
    """A route of the research host."""

    role = "tunnel"
    account: Account

    def check(self) -> None:
        switches = self.world.switches
        grant = self.grant()
        if grant is None or EMAIL not in grant.scopes:
            self.page(401, "Error 401 (Unauthorized)")
            raise Finish
        agent = self.request.headers.get("X-Colab-Client-Agent")
        if (agent is None and switches.agent_required) or (switches.agents and agent not in switches.agents):
            self.page(400, "Error 400: no client agent")
            raise Finish
        if switches.authuser_required and self.arg("authuser") is None:
            self.page(400, "Error 400: no authuser")
            raise Finish
        self.account = grant.account

    def needs_tunnel_header(self) -> None:
        if self.request.headers.get("X-Colab-Tunnel") != "Google":
            self.page(400, "Error 400: no tunnel")
            raise Finish

    def give_xsrf(self) -> str:
        return self.world.tokens.new_xsrf(self._purpose())

    def needs_xsrf(self) -> None:
        """Check the XSRF token that a GET of the same address gave to the same user."""
        token = self.request.headers.get("X-Goog-Colab-Token", "")
        if not self.world.tokens.use_xsrf(token, self._purpose()):
            self.page(self.world.switches.xsrf_refused, "Error: bad token")
            raise Finish
        if self.request.headers.get("Content-Length") is None:
            self.page(411, "Error 411 (Length Required)")
            raise Finish

    def _purpose(self) -> str:
        """The path and the `nbh`; other parameters and their order do not matter."""
        return f"{self.account.email} {self.request.path} {self.arg('nbh') or ''}"
