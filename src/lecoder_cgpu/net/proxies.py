"""Proxies of the environment: which one a connection goes through, what is wrong with it, and whose failure it was."""

from __future__ import annotations

import contextlib
import errno
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from .. import config, errors

if TYPE_CHECKING:
    import httpx2

SOCKS_HINT = "pip install 'lecoder-cgpu[socks]', or give an HTTP proxy in HTTPS_PROXY"
_SECURE = ("https", "wss")
# What the libraries for SOCKS say of a proxy that wants a login, or does not know the one that it was given.
_SOCKS_LOGIN = re.compile(r"(?i)no acceptable (?:auth|methods)|username.{1,5}password|authentication fail")
# What proxies put into answers of their own. (Via is in passed-on answers as well, so it tells nothing.)
_OWN_HEADERS = ("proxy-agent", "proxy-authenticate", "x-squid-error", "x-proxy-error", "x-bluecoat-error")
_PROGRAMS = re.compile(
    r"(?i)squid|tinyproxy|privoxy|polipo|3proxy|ccproxy|wingate|mitmproxy|zscaler|blue ?coat|proxysg|web ?gateway"
    r"|websense|forcepoint|fortigate|fortiproxy|ironport|cisco.?wsa|sophos|netskope|trafficserver|kerio"
)
_SCHEMES = ("", "http", "https", "socks4", "socks4a", "socks5", "socks5h", "socks")


class UsedProxy(NamedTuple):
    """A proxy, and the variable that names it. `address` has neither user nor password."""

    address: str
    variable: str

    @property
    def place(self) -> tuple[str, int]:
        """Its host and port."""
        parts = urlsplit(self.address if "://" in self.address else f"http://{self.address}")
        usual = {"https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080, "socks": 1080}
        return parts.hostname or "", parts.port or usual.get(parts.scheme, 80)

    @property
    def is_socks(self) -> bool:
        return self.address.lower().startswith("socks")

    @property
    def pattern(self) -> str:
        """Its variable with an address of its kind, as hints have it."""
        scheme = self.address.partition("://")[0] if self.is_socks else "http"
        return f"{self.variable}={scheme}://HOST:PORT"

    @property
    def shown(self) -> str:
        return f"the proxy {self.address} ({self.variable})"


def used_for(url: str) -> UsedProxy | None:
    """The proxy through which a connection to an address goes; None if it goes there directly.

    Loopback addresses never go through one.
    """
    found = _found(url)
    return None if found is None else UsedProxy(shown(found[0]), found[1])


def whole_address(url: str) -> str | None:
    """The address of that proxy with its user and password, as libraries take it: nothing to be shown."""
    found = _found(url)
    if found is None:
        return None
    value = found[0] if "://" in found[0] else f"http://{found[0]}"
    return re.sub("^socks://", "socks5h://", value)


def go_direct(url: str) -> bool:
    """Whether a WebSocket goes to an address without a proxy; False also where only a library can tell."""
    if _found(url) is not None:
        return False
    host = urlsplit(url).hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return True
    system = sys.platform in ("darwin", "win32")  # they may know proxies that no variable names
    return not system and not any(config.environment(name) for name in ("ws_proxy", "wss_proxy", "socks_proxy"))


def respelled(url: str) -> str | None:
    """The whole address of that proxy if the client for HTTP does not know its scheme as it stands (socks://)."""
    found = _found(url)
    return whole_address(url) if found is not None and found[0].startswith("socks://") else None


def _found(url: str) -> tuple[str, str] | None:
    """What a variable says of the proxy for an address, and which one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return None
    kind = "HTTPS_PROXY" if parts.scheme in _SECURE else "HTTP_PROXY"
    for name in (kind, "ALL_PROXY"):
        for variable in (name.lower(), name):
            if value := (config.environment(variable) or "").strip():
                from urllib.request import proxy_bypass

                return None if proxy_bypass(host) else (value, variable)
    return None


def shown(value: str) -> str:
    """A proxy's address as it may be shown: without user and password, whatever is in them."""
    scheme, mark, rest = value.rpartition("://")
    return scheme + mark + re.split(r"[?#]", rest.rpartition("@")[2])[0].rstrip("/")


def check(url: str) -> None:
    """Refuse what no client of ours can use.

    Raises:
        errors.ConfigError: the proxy is a file that chooses proxies (PAC), or no address.
    """
    used = used_for(url)
    if used is None:
        return
    if used.address.lower().startswith("pac+") or re.search(r"(?i)\.(pac|dat)(\?|$)|/wpad", used.address):
        raise errors.ConfigError(
            f"{used.variable} names a file that chooses proxies (PAC): {used.address}",
            name="ProxyIsPac",
            hint=f"open that file, and give the proxy in it: export {used.variable}=http://HOST:PORT",
        )
    try:
        parts = urlsplit(used.address if "://" in used.address else f"//{used.address}")
        usable = bool(parts.hostname) and (parts.port or 1) > 0 and parts.scheme in _SCHEMES
    except ValueError:
        usable = False
    if usable and not _is_escaped(whole_address(url) or "", used.address):
        raise errors.ConfigError(
            f"{used.variable} has characters in its user or password that an address cannot have there",
            name="BadProxy",
            hint=f"write / as %2F, # as %23, ? as %3F, @ as %40: export {used.variable}=http://USER:PASSWORD@HOST:PORT",
        )
    if not usable:
        raise errors.ConfigError(
            f"{used.variable} is no address of a proxy: {used.address!r}",
            name="BadProxy",
            hint=f"export {used.variable}=http://HOST:PORT",
        )


def _is_escaped(whole: str, shown: str) -> bool:
    """Whether an address with user and password names the same host as without them."""
    try:
        parts, known = urlsplit(whole), urlsplit(shown if "://" in shown else f"//{shown}")
        return (parts.hostname, parts.port) == (known.hostname, known.port)
    except ValueError:
        return False


def missing_package(url: str, error: ImportError) -> errors.Error:
    """The error for a package that is not installed: one that a SOCKS proxy needs, or one of our own."""
    used = used_for(url)
    if used is None or not used.is_socks:
        return errors.MissingExtra(
            f"a package that connections need cannot be imported: {error}",
            hint="pip install --force-reinstall lecoder-cgpu",
        )
    return errors.ConfigError(
        f"{used.shown} is a SOCKS proxy, and the packages that speak to such are not installed",
        name="NoSocks",
        hint=SOCKS_HINT,
    )


def unusable(url: str, error: ValueError) -> errors.Error:
    """The error for a proxy whose address a client refuses."""
    used = used_for(url)
    return errors.ConfigError(
        f"{used.shown if used else 'a proxy of the environment'} cannot be used: {error}",
        name="BadProxy",
        hint=f"export {used.variable if used else 'HTTPS_PROXY'}="
        + ("socks5://HOST:PORT" if used is not None and used.is_socks else "http://HOST:PORT"),
    )


class Way:
    """How far a request came on its way through a proxy, as its connection tells (the extension `trace`)."""

    def __init__(self, *, tunnels: bool) -> None:
        self.passed = False  # the proxy has done its part: what fails now, fails behind it
        self._tunnels = tunnels

    def __call__(self, name: str, info: dict[str, Any]) -> None:
        beyond = getattr(info.get("request"), "method", b"CONNECT") != b"CONNECT"
        if name in ("proxy.start_tls.started", "socks.start_tls.started") or (self._tunnels and beyond):
            self.passed = True


def follow(request: httpx2.Request) -> None:
    """Note on a request how far it comes, if it goes through a proxy."""
    url = str(request.url)
    if (used := used_for(url)) is not None:
        request.extensions["trace"] = Way(tunnels=urlsplit(url).scheme in _SECURE or used.is_socks)


def way(request: object) -> Way | None:
    """How far a request came; None if it went through no proxy."""
    found = getattr(request, "extensions", {}).get("trace")
    return found if isinstance(found, Way) else None


@contextlib.contextmanager
def speaking() -> Iterator[None]:
    """Raise what the SOCKS library says of a proxy's odd words as the client's error, which it is not by itself.

    Raises:
        httpx2.ProxyError
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "socksio":
            raise
        import httpx2

        raise httpx2.ProxyError("it does not speak SOCKS:") from error


def silent(request: httpx2.Request) -> errors.ConnectionFailed | None:
    """The error for a request that a proxy has not passed on in time; None if it has, or there is none."""
    url, found = str(request.url), way(request)
    if found is None or found.passed or (used := used_for(url)) is None:
        return None
    return errors.ConnectionTimeout(
        f"{used.shown} did not connect to {urlsplit(url).hostname} in time", name="ProxySilent", hint=correction(used)
    )


def failure(url: str, error: BaseException, cause: BaseException | None) -> errors.ConnectionFailed | None:
    """The error for a connection that failed at its proxy; None if it goes through none, or failed behind it."""
    import socket

    used = used_for(url)
    if used is None:
        return None
    said = _said(error, cause)
    status = re.search(r"\b([45]\d\d)\b", said) if "roxy" in type(error).__name__ or "CONNECT" in said else None
    response = getattr(error, "response", None)
    number = int(status[1]) if status else getattr(response, "status_code", 0)
    if number == 407 or (used.is_socks and _SOCKS_LOGIN.search(said)):
        return needs_login(url, used)
    if number == 403:
        return _refuses(url, used)
    if getattr(cause, "errno", None) == errno.ECONNREFUSED:
        return errors.ConnectionRefused(
            f"{used.shown} refused the connection: no proxy answers there", name="ProxyRefused", hint=correction(used)
        )
    if isinstance(cause, socket.gaierror):
        return errors.NameResolution(
            f"{used.shown}: there is no host of that name", name="ProxyUnknown", hint=correction(used)
        )
    plain = used.address.startswith("https:") and "WRONG_VERSION" in said
    if plain:
        said = "it speaks no TLS, which https:// in its address demands"
    request = getattr(error, "_request", None)
    found = way(request)
    if found is not None and not found.passed and "Timeout" in type(error).__name__:
        return silent(request)  # type: ignore[arg-type]
    if number or plain or "roxy" in type(error).__name__ or (found is not None and not found.passed):
        return errors.ConnectionFailed(
            f"{used.shown} did not connect to {urlsplit(url).hostname}: {said[:200]}",
            name="ProxyRefused",
            hint=correction(used),
        )
    return None


def answered(url: str, status: int, headers: Mapping[str, str], body: bytes) -> errors.ConnectionFailed | None:
    """The error for an answer without TLS that is a proxy's own, or may be one; None for what the server answered.

    Such a request goes to the proxy itself, and the answer comes in the server's name, whoever refuses.
    """
    used = used_for(url) if status >= 400 else None
    if used is None or used.is_socks:
        return None
    if status == 407:
        return needs_login(url, used)
    if urlsplit(url).scheme in _SECURE:
        return None
    host, its_own = urlsplit(url).hostname, _is_its_own(headers)
    if its_own and status == 403:
        return _refuses(url, used)
    if its_own and status >= 500:
        return errors.ConnectionFailed(
            f"{used.shown} did not connect to {host}: HTTP {status}", name="ProxyRefused", hint=correction(used)
        )
    if status == 403 and not _is_json(body):
        return errors.ConnectionFailed(
            f"{host}, or {used.shown} in its name, refused the request (HTTP 403): the answer does not tell which",
            name="ProxyOrServer",
            retryable=False,
            hint=f"ask whoever runs the proxy whether it allows {host}; to go there without it: export NO_PROXY={host}",
        )
    return None


def _is_its_own(headers: Mapping[str, str]) -> bool:
    """Whether the headers of an answer say that a proxy made it."""
    made = any(name in headers for name in _OWN_HEADERS)
    return made or "error=" in headers.get("proxy-status", "") or bool(_PROGRAMS.search(headers.get("server", "")))


def _is_json(body: bytes) -> bool:
    """Whether a refusal has the form that services give theirs; a proxy's are pages, or empty."""
    import json

    try:
        return isinstance(json.loads(body), (dict, list))
    except ValueError:
        return False


def _said(error: BaseException, cause: BaseException | None) -> str:
    """What an error and its causes say, each once, in one line that a terminal may show."""
    texts = (" ".join(str(item or "").split()) for item in (error, error.__cause__, cause))
    texts = (re.sub(r"\bbyte(?:s|array)\(b(['\"])(.*?)\1\)", r"\1\2\1", text) for text in texts)
    said = " ".join(dict.fromkeys(filter(None, texts))) or type(error).__name__
    return "".join(sign if sign.isprintable() else "?" for sign in said)


def _refuses(url: str, used: UsedProxy) -> errors.ConnectionFailed:
    """The error for a proxy that works, and does not let anybody connect to a host (403)."""
    host = urlsplit(url).hostname
    return errors.ConnectionFailed(
        f"{used.shown} refuses to connect to {host} (HTTP 403)",
        name="ProxyRefused",
        retryable=False,
        hint=f"ask whoever runs the proxy to allow {host}; to go there without it: export NO_PROXY={host}",
    )


def needs_login(url: str, used: UsedProxy) -> errors.ConnectionFailed:
    """The error for a proxy that asks who we are (407; SOCKS has its own words), or does not know the user and password
    that it was given."""
    whole = whole_address(url)
    pattern, how = used.pattern.replace("://", "://USER:PASSWORD@"), "" if used.is_socks else " (HTTP 407)"
    if whole is not None and "@" in whole.rpartition("://")[2]:
        return errors.ConnectionFailed(
            f"{used.shown} refused the user and the password that {used.variable} gives{how}",
            name="ProxyLogin",
            retryable=False,
            hint=f"correct them (/ is %2F there, @ is %40): export {pattern}",
        )
    return errors.ConnectionFailed(
        f"{used.shown} demands a user and a password{how}",
        name="ProxyLogin",
        retryable=False,
        hint=f"export {pattern}",
    )


def correction(used: UsedProxy) -> str:
    """What to do about a proxy that does not work."""
    return (
        f"start the proxy, or correct its scheme, host or port: export {used.pattern}; "
        f"to go without one: unset {used.variable}"
    )
