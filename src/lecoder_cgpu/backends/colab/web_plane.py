"""The control plane that Colab's web page uses: `/tun/m/…` on the research host.

Every request carries `authuser` (protocol C3).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ... import errors
from ...net import retry
from ...net.addresses import segment
from ...net.retry import persist, transient
from ...system import logs
from . import control, model
from .calls import Google, Tokens, listed
from .control import Ask, Grant, Propagation
from .model import Account, Assignment, ProxyInfo

UNASSIGN_ATTEMPTS = 3
ASSIGN_PAUSE = 10.0  # seconds, the usual value of the setting `assignPause`
ASSIGN_PAUSES = (1.0, 2.0, 4.0)  # between the requests for a runtime that failed, in units of `assignPause`

if TYPE_CHECKING:
    from ...config import Config

ASSIGN_TIMEOUT = 240.0  # seconds; Colab itself gives up after 180 (protocol C7)
PING_TIMEOUT = 10.0  # seconds; a runtime rarely answers the ping, and need not (protocol C19)
TUNNEL = {"X-Colab-Tunnel": "Google"}


class WebPlane:
    """The tunnel's routes, and the private API where the tunnel no longer says what an account has."""

    def __init__(self, config: Config, tokens: Tokens) -> None:
        self._config = config
        self._tokens = tokens
        self._google = self._origin("colabApiDomain")

    def _origin(self, key: str) -> Google:
        return Google(self._config.get(key).value or "", self._tokens, self._config.client_agent)

    def close(self) -> None:
        self._google.close()

    def assign(self, ask: Ask, sending: Callable[[bool], None]) -> Assignment:
        """The probe (GET) tells of an assignment under this key, or gives the XSRF token for the POST (protocol C6).

        A POST without an answer is repeated up to three times, after longer and longer pauses. Before each, the probe
        tells whether the one before had an effect (protocol C58).
        """
        params = _assign_params(ask)
        stale, pauses, pause = True, list(ASSIGN_PAUSES), 0.0
        while True:
            try:
                probe = self._object("GET", "tun/m/assign", params=params)
            except errors.ConnectionFailed as error:
                raise self._refusal(ask, error, prompted=False) from error
            found = _assignment(probe)
            if found is not None:
                return found
            if pause:
                time.sleep(pause)
                pause = 0.0
                continue
            token = _xsrf(probe)
            sending(True)
            try:
                answer = self._object(
                    "POST", "tun/m/assign", params=params, headers={"X-Goog-Colab-Token": token}, timeout=ASSIGN_TIMEOUT
                )
            except errors.Error as error:
                if 400 <= (error.http_status or 0) < 500 and error.http_status != 408:  # no answer leaves a doubt
                    sending(False)
                if stale and _is_stale(error):
                    stale = False
                    logs.current().warn("COLAB", f"assign: {error.message}; asking for another token")
                    continue
                if pauses and _may_have_worked(error):
                    pause = pauses.pop(0) * self._assign_pause
                    self._tell_again(error, pause)
                    continue
                raise self._refusal(ask, error, prompted=bool(probe.get("p"))) from error
            return self._granted(ask, answer, prompted=bool(probe.get("p")))

    @property
    def _assign_pause(self) -> float:
        with contextlib.suppress(ValueError):
            return max(float(self._config.get("assignPause").value or ""), 0.0)
        return ASSIGN_PAUSE

    @staticmethod
    def _tell_again(error: errors.Error, pause: float) -> None:
        logs.current().warn("COLAB", f"assign: {error.message}; looking whether it had an effect")
        if retry.tell is not None and pause:
            retry.tell(f"{error.message}; if it had no effect, Colab is asked again in {pause:.0f} s")

    def _granted(self, ask: Ask, answer: dict[str, Any], *, prompted: bool) -> Assignment:
        """The assignment in the POST's answer; its `outcome` is looked at first (protocol C8)."""
        outcome = str(answer.get("outcome", 0))
        if outcome == "5":
            raise control.blocked()
        if outcome == "1":
            raise control.quota_denied(ask)
        if outcome in ("2", "3"):
            raise control.quota_exceeded()
        found = _assignment(answer)
        if found is not None:
            return found
        error = control.refused(ask, f"outcome {outcome}")
        raise _explained(error) if prompted else error

    def _refusal(self, ask: Ask, error: errors.Error, *, prompted: bool) -> errors.Error:
        """What a refused POST means (protocol C9, C10)."""
        if error.http_status == 400 and ask.accelerator is not None:
            return control.not_entitled(ask)
        if error.http_status == 400 and ask.high_memory:
            return control.not_entitled(ask, "high RAM needs a paid plan")
        if error.http_status == 412:
            return control.too_many(self.assignments())
        if error.http_status == 503:
            return control.no_capacity(ask, error.retry_after)
        if not prompted or isinstance(error, errors.RateLimited):
            return error
        refused = 400 <= (error.http_status or 0) < 500
        return _explained(error) if refused or not isinstance(error, errors.ConnectionFailed) else error

    def find(self, ask: Ask) -> Assignment | None:
        return _assignment(self._object("GET", "tun/m/assign", params=_assign_params(ask)))

    def assignments(self) -> list[Assignment]:
        rows = listed(self._object("GET", "tun/m/assignments", params={"authuser": "0"}), "assignments")
        found = [_assignment(row, listed=True) for row in rows]
        return [item for item in found if item is not None]

    def proxy(self, endpoint: str, port: int = model.SERVER_PORT) -> ProxyInfo:
        answer = self._object(
            "GET",
            "tun/m/runtime-proxy-token",
            headers=TUNNEL,
            params={"endpoint": endpoint, "port": str(port), "authuser": "0"},
        )
        found = model.proxy(answer)
        if found is None:
            raise errors.NoProxy(
                f"Colab gives no address for the runtime {endpoint}",
                hint="repeat the same command in a minute",
            )
        return found

    def unassign(self, endpoint: str) -> bool:
        # protocol C17
        path = f"tun/m/unassign/{segment(endpoint)}"
        sent = False  # an order whose answer was lost may have been carried out

        def once() -> bool:
            nonlocal sent
            earlier = sent
            try:
                token = _xsrf(self._object("GET", path, params={"authuser": "0"}))
                sent = True
                self._google.raw("POST", path, params={"authuser": "0"}, headers={"X-Goog-Colab-Token": token})
            except errors.NotFoundError:
                return earlier
            return True

        def again(error: errors.Error) -> bool | float:
            # The XSRF token may have been too old (protocol C17). Telling Colab twice does no harm.
            stale = isinstance(error, (errors.Forbidden, errors.Unauthorized)) or error.http_status == 400
            return stale or transient(error)

        return persist(once, again=again, attempts=UNASSIGN_ATTEMPTS)

    def account(self) -> Account:
        """`ccu-info`; where that is gone, `user-info` of the private API; else unknown (protocol C22)."""
        try:
            answer = self._object("GET", "tun/m/ccu-info", params={"authuser": "0"})
        except errors.Forbidden:
            return self._user_info() or Account()
        except (errors.NotFoundError, errors.ConnectionFailed) as error:
            logs.current().info("COLAB", f"ccu-info: {error.message}")
            if isinstance(error, errors.ConnectionFailed) and error.retryable:
                raise
            found = self._user_info()
            if found is None and isinstance(error, errors.ConnectionFailed):
                raise  # nothing is known, and this is why
            return found or Account()
        return model.account_from_ccu(answer)

    def tier(self) -> str | None:
        found = self._user_info()
        return found.tier if found is not None else None

    def _user_info(self) -> Account | None:
        """The private API's view of the account, which has its tier; None where our login may not ask it."""
        try:
            answer = self._origin("colabGapiDomain").call(
                "GET", "v1/user-info", params={"get_ccu_consumption_info": "true"}, repeat=False, timeout=10.0
            )
        except errors.Error as error:
            logs.current().info("COLAB", f"user-info: {error.message}")
            return None
        return model.account_from_user_info(answer) if isinstance(answer, dict) else None

    def keep_alive(self, assignment: Assignment) -> bool:
        """The tunnel notes the moment at which the ping arrives; that the runtime does not answer means nothing."""
        path = f"tun/m/{segment(assignment.address or assignment.endpoint)}/keep-alive/"
        with contextlib.suppress(errors.ReadTimeout, errors.UnexpectedAnswer):
            self._google.raw("GET", path, params={"authuser": "0"}, headers=TUNNEL, timeout=PING_TIMEOUT, repeat=False)
        return True

    def propagate(self, endpoint: str, grant: Grant, *, dry_run: bool) -> Propagation:
        path = f"tun/m/credentials-propagation/{segment(endpoint)}"
        params = {
            "authuser": "0",
            "authtype": grant,
            "version": "2",
            "dryrun": str(dry_run).lower(),
            "propagate": "true",
            "record": "false",
        }
        token = _xsrf(self._object("GET", path, params=params))
        answer = self._object("POST", path, params=params, headers={"X-Goog-Colab-Token": token})
        url = answer.get("unauthorized_redirect_uri") or answer.get("unauthorizedRedirectUri")
        return Propagation(success=answer.get("success") is True, consent_url=str(url) if url else None)

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._google.call(method, path, **options)
        if not isinstance(answer, dict):
            raise errors.UnexpectedAnswer(
                f"{method} {path}: Colab's answer is {'empty' if answer is None else 'no object'}",
                hint="lecoder-cgpu debug tail shows the requests",
            )
        return answer


def notebook_hash(key: str) -> str:
    """The `nbh` of a key: its dashes underlined, padded with dots to the length of a hash (protocol C5)."""
    return key.replace("-", "_").ljust(44, ".")


def _assign_params(ask: Ask) -> dict[str, str]:
    params = {"nbh": notebook_hash(ask.key), "authuser": "0"}
    if ask.variant != "DEFAULT":
        params["variant"] = ask.variant
    if ask.accelerator is not None:
        params["accelerator"] = ask.accelerator
    if ask.shaped:
        params["shape"] = "hm"
    return params


def _assignment(answer: dict[str, Any], *, listed: bool = False) -> Assignment | None:
    """The assignment in an answer, None when it holds none. A listing may leave the proxy out (protocol C14)."""
    endpoint, proxy = answer.get("endpoint"), model.proxy(answer.get("runtimeProxyInfo"))
    if not endpoint or (proxy is None and not listed):
        return None
    accelerator = model.accelerator(answer.get("accelerator"))
    return Assignment(
        endpoint=str(endpoint),
        variant=model.variant(answer.get("variant"), accelerator),
        accelerator=accelerator,
        high_memory=model.high_memory(answer.get("machineShape")),
        proxy=proxy,
        tier=model.tier(answer.get("subTier")),
    )


def _xsrf(answer: dict[str, Any]) -> str:
    token = answer.get("token") or answer.get("xsrfToken")
    if not token:
        raise errors.UnexpectedAnswer(
            "Colab's answer has no token for the next request",
            hint="lecoder-cgpu debug tail shows the requests",
        )
    return str(token)


def _is_stale(error: errors.Error) -> bool:
    """Whether a POST may have failed for a token that was too old."""
    return isinstance(error, (errors.Forbidden, errors.Unauthorized)) or error.http_status == 400


def _may_have_worked(error: errors.Error) -> bool:
    """Whether a POST may have had an effect although it failed. 503 is an answer (protocol C9)."""
    if error.http_status == 503 or isinstance(error, errors.RateLimited):
        return False
    return isinstance(error, errors.ConnectionFailed) and error.retryable


def _explained(error: errors.Error) -> errors.Error:
    # protocol C23
    error.hint = (
        "Colab may want to see a person: open https://colab.research.google.com in a browser with the same account, "
        "run a cell there, then repeat the same command"
    )
    return error
