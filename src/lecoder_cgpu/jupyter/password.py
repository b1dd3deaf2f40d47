"""Logs in to a Jupyter server with a password, as its login page does, and returns what has to go with each request."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode

from .. import errors
from ..net.failures import not_jupyter
from ..net.http import Reply, exchange

LOGIN_TIMEOUT = 30.0  # seconds
_XSRF = "_xsrf"


def log_in(url: str, password: str, ca: str | None = None) -> dict[str, str]:
    """The headers of a login: the cookies, and the token against forged requests that writing requests need
    (protocol J39).

    Args:
        url: the server's base address, with its final slash. ca: see `net.http.Http`.

    Raises:
        errors.AuthError: the server refuses the password. errors.ConnectionFailed: it has no such login page.
    """
    page = exchange("GET", url + "login", timeout=LOGIN_TIMEOUT, ca=ca)
    cookies = _cookies(page)
    if page.status != 200:
        raise not_jupyter(f"GET {url}login", f"it has no login page: HTTP {page.status}")
    form = {"password": password, **({_XSRF: cookies[_XSRF]} if _XSRF in cookies else {})}
    headers = {"Cookie": _joined(cookies), "Content-Type": "application/x-www-form-urlencoded"}
    answer = exchange(
        "POST", url + "login", content=urlencode(form).encode(), headers=headers, timeout=LOGIN_TIMEOUT, ca=ca
    )
    given = _cookies(answer)
    if answer.status not in (200, 302, 303) or not set(given) - {_XSRF}:
        raise errors.AuthError(
            f"{url}login: the server refused the password: HTTP {answer.status}",
            name="PasswordRefused",
            hint="check the password; a server that shows a token when it starts wants --token-stdin instead",
        )
    cookies |= given
    return {"Cookie": _joined(cookies), **({"X-XSRFToken": cookies[_XSRF]} if _XSRF in cookies else {})}


def _cookies(reply: Reply) -> dict[str, str]:
    """The cookies that an answer sets, as they have to be sent back."""
    found: dict[str, str] = {}
    for line in reply.cookies:
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(line)
        except CookieError:
            continue  # one that we could not send back
        found |= {name: morsel.coded_value for name, morsel in jar.items() if morsel.value}
    return found


def _joined(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
