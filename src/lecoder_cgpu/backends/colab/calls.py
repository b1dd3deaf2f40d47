"""Requests to Google's services with the user's access token, and the wording of what they refuse.

One `Google` is one origin. It takes the XSSI guard off every answer, refreshes a token that was refused once, follows
no redirect, and finds the reason in each of the forms in which Google gives one.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Protocol

from ... import errors
from ...net import answers
from ...net.failures import Refusal
from ...net.http import Http

READ_TIMEOUT = 30.0  # seconds
PAUSE = 0.5  # seconds before an idempotent request is repeated
_CONSENT = re.compile(r"(?:https?://[^/?#\s]*)?/o/oauth2")  # the path of the consent page
LOGIN_HINT = "lecoder-cgpu auth login"


class Tokens(Protocol):
    """Who has access tokens; `auth.Login`."""

    def access_token(self, *, rejected: str | None = None) -> str: ...


class Google:
    """One of Google's origins, as this user.

    Args:
        origin: without a path.
        tokens: who has access tokens.
        agent: our name in `X-Colab-Client-Agent`.
    """

    def __init__(self, origin: str, tokens: Tokens, agent: str) -> None:
        self._tokens = tokens
        self._http = Http(origin.rstrip("/") + "/", {"X-Colab-Client-Agent": agent}, explain=google_error, pause=PAUSE)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        timeout: float = READ_TIMEOUT,
        repeat: bool = True,
    ) -> Any:
        """Send a request and return the decoded answer, None when it has no body.

        Raises:
            errors.Error: see `google_error`. errors.ConnectionFailed: no answer, or one that makes no sense.
        """
        return decode(
            self.raw(method, path, params=params, headers=headers, json=json, timeout=timeout, repeat=repeat),
            f"{method} {self._http.base_url}{path}",
        )

    def raw(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> bytes:
        """The same, with the body as it came."""
        token = self._tokens.access_token()
        try:
            return self._send(method, path, token, headers, options)
        except errors.Unauthorized:
            pass
        token = self._tokens.access_token(rejected=token)
        return self._send(method, path, token, headers, options)

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, token: str, headers: dict[str, str] | None, options: Any) -> bytes:
        return self._http.request(
            method, path, headers={"Authorization": f"Bearer {token}", **(headers or {})}, **options
        )


def decode(body: bytes, what: str) -> Any:
    """The JSON of an answer without the guard `)]}'` (protocol C2). None when it is empty.

    Raises:
        errors.ConnectionFailed: it is not JSON.
    """
    text = answers.whole_characters(body.decode("utf-8-sig", "replace")).strip()
    if text.startswith(")]}'"):
        text = text[4:].removeprefix(",").lstrip("\r\n")
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=_number, parse_float=_number)
    except ValueError:
        raise errors.UnexpectedAnswer(
            f"{what}: the answer is not what Colab sends: {text[:200]!r}",
            hint="is the address of Colab set by hand? lecoder-cgpu debug tail shows the requests",
        ) from None


def listed(answer: Any, key: str) -> list[dict[str, Any]]:
    """The rows of a listing; none where the key is absent.

    Raises:
        errors.UnexpectedAnswer: it is no listing, from which nothing follows: least of all that a runtime is not in it.
    """
    rows = answer.get(key, []) if isinstance(answer, dict) else answer
    if not isinstance(answer, dict) or not isinstance(rows, list):
        raise errors.UnexpectedAnswer(
            f"Colab's listing of {key} is not a list: {str(rows)[:80]!r}",
            hint="lecoder-cgpu debug tail shows the requests",
        )
    return [row for row in rows if isinstance(row, dict)]


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number")
    return number


def google_error(refusal: Refusal) -> errors.Error:
    """What a refusal of Google's means. A call that knows more about its own (an assignment's 412, say) looks at
    `http_status`."""
    error = _google_error(refusal)
    error.http_status, error.retry_after = refusal.status, refusal.retry_after
    return error


def _google_error(refusal: Refusal) -> errors.Error:
    what, status = refusal.what, refusal.status
    message, reason = google_reason(refusal.body)
    said = f"HTTP {status}" + (f" ({message})" if message else "")
    if refusal.location is not None or (refusal.page and status < 400):
        return _elsewhere(refusal)
    if status == 401:
        return errors.Unauthorized(f"{what}: Google does not accept the login: {said}", hint=f"{LOGIN_HINT} --force")
    if status == 403:
        return _forbidden(what, said, message, reason)
    if status == 404:
        return errors.NotFoundError(f"{what}: {said}", name="NotFound", hint="lecoder-cgpu sessions list")
    if status == 429:
        pause = "a minute" if refusal.retry_after is None else f"{refusal.retry_after:.0f} s"
        return errors.RateLimited(
            f"{what}: Colab wants fewer requests: {said}", hint=f"repeat the same command in {pause}"
        )
    if status >= 500:
        return errors.ConnectionFailed(
            f"{what}: Colab failed with {said}", name=f"Http{status}", hint="repeat the same command in a minute"
        )
    return errors.ConnectionFailed(
        f"{what}: Colab refused the request with {said}",
        name=f"Http{status}",
        retryable=False,
        hint="lecoder-cgpu debug tail shows the requests",
    )


def _elsewhere(refusal: Refusal) -> errors.Error:
    """A web page or a redirect where an answer should be: Google's accounts ask for a login (protocol C27)."""
    where = refusal.location or refusal.body
    if "accounts.google" in where or "ServiceLogin" in where or _CONSENT.match(where):
        return errors.Unauthorized(
            f"{refusal.what}: Google asks for a login (HTTP {refusal.status})",
            hint=f"{LOGIN_HINT} --force",
        )
    saw = f"it redirects to {refusal.location}" if refusal.location is not None else "it sent a web page"
    return errors.UnexpectedAnswer(
        f"{refusal.what}: that is not where Colab's control plane is: {saw} (HTTP {refusal.status})",
        hint="lecoder-cgpu doctor shows colabApiDomain and checks the network: "
        "a captive portal or a proxy answers like this",
    )


def _forbidden(what: str, said: str, message: str, reason: str) -> errors.Error:
    text = f"{message} {reason}".lower()
    if "scope" in text:
        return errors.ScopeMissing(
            f"{what}: the login lacks a permission: {said}",
            hint=f"log in again and leave all boxes ticked: {LOGIN_HINT} --force",
        )
    if reason in ("SERVICE_DISABLED", "accessNotConfigured"):
        return errors.AuthError(
            f"{what}: the API is not enabled in the Google Cloud project of your OAuth client: {said}",
            name="ServiceDisabled",
            hint="enable it at https://console.cloud.google.com/apis/library, and wait some minutes",
        )
    if reason == "USER_PROJECT_DENIED":
        return errors.AuthError(
            f"{what}: the quota project of the credentials cannot be used: {said}",
            name="ProjectDenied",
            hint="gcloud auth application-default set-quota-project PROJECT",
        )
    return errors.Forbidden(
        f"{what}: Google refused: {said}", hint="lecoder-cgpu auth check tells what the login allows"
    )


def google_reason(body: str) -> tuple[str, str]:
    """The message and the machine-readable reason in an error's body; "" for what is not there.

    Google sends an object (`{"error": {"message", "status", "details": [{"reason"}]}}`), an array that begins with a
    code and the message, or a web page (protocol C28).
    """
    text = body.strip()
    if not text or text.startswith("<"):
        return "", ""
    try:
        content = json.loads(answers.whole_characters(text.removeprefix(")]}'")))
    except ValueError:
        return " ".join(text.split())[:200], ""
    if isinstance(content, list):
        return next((item for item in content if isinstance(item, str)), "")[:300], ""
    error = content.get("error", content) if isinstance(content, dict) else {}
    if not isinstance(error, dict):
        return str(error)[:200], ""
    return str(error.get("message") or "")[:300], detail_reason(error) or str(error.get("status") or "")


def detail_reason(error: dict[str, Any]) -> str:
    """The `reason` of a google.rpc.ErrorInfo among an error's details."""
    details = error.get("details") or error.get("errors") or ()
    return next((str(item["reason"]) for item in details if isinstance(item, dict) and item.get("reason")), "")
