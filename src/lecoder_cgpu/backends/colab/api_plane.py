"""The control plane that Google documents: the Colab API (v1beta), for accounts whose own Google Cloud project has it.

A runtime's name is chosen by us from the key, and the request id is the key, so that creating it twice is creating it
once (protocol C25). What this API lacks (protocol C26) is asked of the tunnel, where the runtime's address
there is known: from the answer, or from the audience of its proxy token.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ... import errors
from ...net.addresses import segment, segments
from ...net.retry import persist
from ...system import logs
from . import control, model
from .calls import Google, Tokens, detail_reason, listed
from .control import Ask, Grant, Propagation
from .model import Account, Assignment, ProxyInfo
from .web_plane import WebPlane

if TYPE_CHECKING:
    from ...config import Config

CREATE_LIMIT = 300.0  # seconds that a runtime may take to be created
WAIT = 200  # seconds that the server is asked to wait in one request; it may answer earlier
POLL = 1.0  # seconds between two such requests, when it does so at once
PREFIX = "lecoder-"
PREFERRED = ("T4", "L4", "V5E1", "V6E1")  # of a variant of which any will do: the cheapest first

_ALREADY_EXISTS = 6
_FAILED_PRECONDITION = 9
_UNAVAILABLE = 14
_EXHAUSTED = 8


class ApiPlane:
    """The runtimes collection of the Colab API."""

    def __init__(self, config: Config, tokens: Tokens) -> None:
        self._google = Google(config.get("colabPublicApiDomain").value or "", tokens, config.client_agent)
        self._tunnel = WebPlane(config, tokens)

    def close(self) -> None:
        self._google.close()
        self._tunnel.close()

    def assign(self, ask: Ask, sending: Callable[[bool], None]) -> Assignment:
        spec = self._spec(ask)
        params = {"requestId": ask.key, "runtimeId": runtime_id(ask.key)}
        sending(True)
        for last in (False, True):
            try:
                operation = self._object("POST", "v1beta/runtimes", params=params, json={"runtimeSpec": spec})
            except errors.ConnectionFailed as error:
                if last or not error.retryable or isinstance(error, errors.RateLimited):
                    raise
                logs.current().warn("COLAB", f"create: {error.message}; asking again under the same request id")
                continue
            return self._finished(ask, operation)
        raise AssertionError("the second try returns or raises")

    def _spec(self, ask: Ask) -> dict[str, str]:
        """What the API is asked for: one of the specifications that it lists. It knows no "any of the variant", and
        some accelerators come in one shape only.

        Raises:
            errors.QuotaError: the account may use none that fits.
        """
        variant = "VARIANT_CPU" if ask.variant == "DEFAULT" else f"VARIANT_{ask.variant}"
        wanted = "SHAPE_HIGHMEM" if ask.high_memory else "SHAPE_STANDARD"
        fitting = [
            key
            for key, eligible in self._specs()
            if eligible and key.get("variant") == variant and ask.accelerator in (None, key.get("accelerator", "NONE"))
        ]
        if ask.shaped:
            fitting = [key for key in fitting if key.get("shape") == wanted]
        if not fitting:
            raise control.not_entitled(ask)

        def rank(key: dict[str, str]) -> tuple[bool, int]:
            name = key.get("accelerator", "")
            order = PREFERRED.index(name) if name in PREFERRED else len(PREFERRED)
            return key.get("shape") != wanted, order

        return min(fitting, key=rank)

    def _specs(self) -> list[tuple[dict[str, str], bool]]:
        """Every specification that there is, and whether the account may use it."""
        rows = self._object("GET", "v1beta/runtimespecs").get("runtimeSpecs") or []
        return [(_object(row.get("key")), row.get("eligible") is True) for row in _rows(rows)]

    def _finished(self, ask: Ask, operation: dict[str, Any]) -> Assignment:
        """Wait for a long-running operation; the server may answer before it is done."""
        deadline = time.monotonic() + CREATE_LIMIT
        while not operation.get("done"):
            if time.monotonic() > deadline:
                raise errors.ConnectionFailed(
                    "Colab has not finished creating the runtime in time",
                    name="CreateTimeout",
                    hint="lecoder-cgpu sessions list shows whether it came; repeat the same command to ask again",
                )
            begun = time.monotonic()
            path = f"v1/{segments(str(operation.get('name', '')))}:wait"
            operation = self._object("GET", path, params={"timeout": f"{WAIT}s"}, timeout=WAIT + 30.0)
            if not operation.get("done"):
                time.sleep(max(POLL - (time.monotonic() - begun), 0))
        error = operation.get("error")
        if isinstance(error, dict) and error:
            if error.get("code") == _ALREADY_EXISTS:
                return self._get(runtime_id(ask.key))
            raise self._refusal(ask, error)
        found = _runtime(operation.get("response"))
        return found if found is not None and found.proxy is not None else self._get(runtime_id(ask.key))

    def _refusal(self, ask: Ask, error: dict[str, Any]) -> errors.Error:
        reason, code = detail_reason(error), error.get("code")
        if reason == "TOO_MANY_ACTIVE_RUNTIMES":
            return control.too_many(self.assignments())
        if reason == "DENYLISTED":
            return control.blocked()
        if reason == "QUOTA_EXCEEDED_USAGE_TIME":
            return control.quota_exceeded()
        if (code == _FAILED_PRECONDITION and ask.accelerator is not None) or code in (_UNAVAILABLE, _EXHAUSTED):
            return control.no_capacity(ask)
        return control.refused(ask, reason or str(error.get("message") or code))

    def _get(self, name: str) -> Assignment:
        found = _runtime(self._object("GET", f"v1beta/runtimes/{segment(name)}"))
        if found is None:
            raise errors.UnexpectedAnswer(
                f"Colab's answer about the runtime {name} names none",
                hint="lecoder-cgpu debug tail shows the requests",
            )
        return found

    def find(self, ask: Ask) -> Assignment | None:
        try:
            return self._get(runtime_id(ask.key))
        except errors.NotFoundError:
            return None

    def assignments(self) -> list[Assignment]:
        rows = listed(self._call("GET", "v1beta/runtimes"), "runtimes")
        found = [_runtime(row) for row in rows]
        return [item for item in found if item is not None]

    def proxy(self, endpoint: str, port: int = model.SERVER_PORT) -> ProxyInfo:
        if port != model.SERVER_PORT:
            return self._tunnel.proxy(self._address(endpoint), port)
        found = self._get(endpoint).proxy
        if found is None:
            raise errors.NoProxy(
                f"Colab gives no address for the runtime {endpoint}",
                hint="repeat the same command in a minute",
            )
        return found

    def unassign(self, endpoint: str) -> bool:
        sent = False  # an order whose answer was lost may have been carried out

        def once() -> bool:
            nonlocal sent
            earlier, sent = sent, True
            try:
                self._google.raw("DELETE", f"v1beta/runtimes/{segment(endpoint)}", repeat=False)
            except errors.NotFoundError:
                return earlier
            return True

        return persist(once)

    def account(self) -> Account:
        """What may be asked for and the tier, from this API; the units from the tunnel, where it tells."""
        try:
            found = self._tunnel.account()
        except errors.Error as error:
            logs.current().info("COLAB", f"units: {error.message}")
            found = Account()
        specs = self._specs()
        found.gpus, found.refused_gpus = _names(specs, "GPU")
        found.tpus, found.refused_tpus = _names(specs, "TPU")
        found.tier = self.tier() or found.tier
        return found

    def tier(self) -> str | None:
        return model.tier(self._object("GET", "v1beta/subscription").get("tier"))

    def keep_alive(self, assignment: Assignment) -> bool:
        return assignment.address is not None and self._tunnel.keep_alive(assignment)

    def propagate(self, endpoint: str, grant: Grant, *, dry_run: bool) -> Propagation:
        return self._tunnel.propagate(self._address(endpoint), grant, dry_run=dry_run)

    def _address(self, endpoint: str) -> str:
        """A runtime's address on the tunnel, for what this API lacks.

        Raises:
            errors.UsageError: it is not known.
        """
        address = next((item.address for item in self.assignments() if item.endpoint == endpoint), None)
        if address is None:
            raise errors.UsageError(
                "the public API does not do this, and the runtime's address on the tunnel is not known",
                name="NotSupported",
                hint="use the other control plane: LECODER_CGPU_COLAB_API=tunnel",
            )
        return address

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._call(method, path, **options)
        return answer if isinstance(answer, dict) else {}

    def _call(self, method: str, path: str, **options: Any) -> Any:
        """Ask the API.

        Raises:
            errors.ApiClosed: it is not open to this login.
        """
        try:
            return self._google.call(method, path, **options)
        except errors.ScopeMissing:
            raise
        except errors.AuthError as error:
            if error.http_status != 403:
                raise
            raise errors.ApiClosed(
                f"the Colab API is not open to this login: {error.message}",
                name=error.name,
                http_status=403,
                hint=f"{error.hint}; every account may use the other control plane: LECODER_CGPU_COLAB_API=tunnel",
            ) from error


def runtime_id(key: str) -> str:
    """The name of the runtime of a key: an RFC 1034 label of at most 63 characters."""
    return PREFIX + key.replace("-", "").lower()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _runtime(value: Any) -> Assignment | None:
    """A Runtime of the API; None when the answer is something else."""
    if not isinstance(value, dict) or not value.get("name"):
        return None
    spec, connection = _object(value.get("runtimeSpec")), _object(value.get("connectionInfo"))
    accelerator = model.accelerator(spec.get("accelerator"))
    proxy = model.proxy(connection)
    return Assignment(
        endpoint=str(value["name"]).rpartition("/")[2],
        variant=model.variant(spec.get("variant"), accelerator),
        accelerator=accelerator,
        high_memory=model.high_memory(spec.get("shape")),
        proxy=proxy,
        address=str(connection.get("endpoint") or "") or (_audience(proxy.token) if proxy is not None else None),
    )


def _names(specs: list[tuple[dict[str, str], bool]], variant: str) -> tuple[list[str], list[str]]:
    """The accelerators of a variant that the account may use, and those that it may not."""
    allowed: list[str] = []
    refused: list[str] = []
    for key, eligible in specs:
        name = model.accelerator(key.get("accelerator"))
        names = allowed if eligible else refused
        if model.variant(key.get("variant"), name) == variant and name not in names:
            names.append(name)
    return allowed, [name for name in refused if name not in allowed]


def _audience(token: str) -> str | None:
    """The runtime's address on the tunnel, which the proxy token names where it is a JWT: a hint (protocol C31)."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, msgspec.DecodeError):
        return None
    audience = payload.get("aud") if isinstance(payload, dict) else None
    return audience if isinstance(audience, str) and audience else None
