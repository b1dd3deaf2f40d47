"""`doctor`: looks at everything that has to work, from the interpreter to the helper on each runtime.

Every check yields findings, in the order in which one would look. What is wrong comes with the command or the step that
mends it. No finding ever holds a secret: addresses lose their credentials, settings that are secret lose their value.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from .. import __version__, config, errors, profiles
from ..auth import credentials
from ..backends import registry
from ..models.base import UNKNOWN_ACCOUNT, ErrorInfo, readable
from ..models.reference import Doctor, Finding
from ..net import http, proxies, tls
from ..sessions import keeper_process
from ..sessions.manager import SessionManager
from ..store.session_store import Record
from ..warm import control, likeness
from . import installation

PROBE_TIMEOUT = 10.0  # seconds for one server
SKEW = 60.0  # seconds that our clock may differ from a server's
LITTLE_DISK = 200 << 20  # bytes
MIN_PYTHON = (3, 11)

Level = Literal["ok", "warning", "problem"]


def examine(client: SessionManager) -> Doctor:
    """Run every check. A check that fails itself is a finding, and the others still run."""
    findings: list[Finding] = []
    checks: tuple[Callable[[SessionManager], Iterator[Finding]], ...] = (
        _python,
        _settings,
        _state,
        _environment,
        _proxies,
        _login,
        _servers,
        _keeper,
        _prepared,
        _sessions,
    )
    for check in checks:
        name = check.__name__.strip("_")
        try:
            findings += check(client)
        except errors.Error as error:
            if all(item.message != error.message for item in findings):  # what hinders all checks is said once
                findings.append(_finding(name, "problem", error.message, error.hint))
        except OSError as error:
            findings.append(_finding(name, "problem", str(error)))
    document = Doctor(findings=findings)
    with contextlib.suppress(errors.Error):
        document.profile = client.config.profile.name
        if client.login.is_logged_in():
            account = client.login.account()
            document.account = UNKNOWN_ACCOUNT if account is None else account.id
    worst = next((item for item in findings if item.level == "problem"), None)
    if worst is not None:
        hint = worst.fix if isinstance(worst.fix, str) else None
        found = errors.ConfigError(f"{worst.check}: {worst.message}", name="ProblemsFound", hint=hint)
        document.status, document.error_code, document.exit_code = "error", found.code, found.exit_status
        document.error = ErrorInfo.of(found)
    return document


NETWORK = "check the network of this machine; HTTPS_PROXY names a proxy where one is needed"


def _finding(check: str, level: Level, message: str, fix: str | None = None) -> Finding:
    finding = Finding(check=check, level=level, message=message)
    if fix:  # never "ask the doctor"
        finding.fix = NETWORK if "lecoder-cgpu doctor" in fix else fix
    return finding


# --- this machine ---


def _python(client: SessionManager) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < MIN_PYTHON:
        yield _finding("python", "problem", f"Python {version} is too old", "install Python 3.11 or newer")
    how, origin = installation.kind()
    where = f" from {origin}" if origin else ""
    yield _finding("python", "ok", f"lecoder-cgpu {__version__}, installed by {how}{where}, on Python {version}")
    extras = installation.extras()
    there = ", ".join(name for name, installed in extras.items() if installed) or "none"
    yield _finding("extras", "ok", f"installed: {there}")


def _settings(client: SessionManager) -> Iterator[Finding]:
    settings = client.config
    profile = settings.profile
    if not profile.alone or profile.source != "default":
        shares = f", with the login and sessions of {profile.login!r}" if profile.login != profile.name else ""
        yield _finding("profile", "ok", f"{profile.name} (from {profile.source}){shares}")
    there = "" if settings.path.exists() else " (there is none; that is fine)"
    yield _finding("config", "ok", f"{settings.path}{there}")
    for setting in config.SETTINGS:
        value = settings.get(setting.key)
        if value.source != "default" and value.value is not None:
            shown = "***" if setting.secret else _without_credentials(value.value)
            yield _finding("config", "ok", f"{setting.key} = {shown} (from {value.source})")
    chosen = registry.chosen(settings)
    if chosen.source == "default":
        yield _finding("config", "ok", f"backend = {chosen.value} (from default)")
    yield from _extra(client, chosen.value or "", installation.extras())


def _extra(client: SessionManager, name: str, extras: dict[str, bool]) -> Iterator[Finding]:
    """Whether what the chosen backend needs is installed."""
    chosen = client.backend(name) if registry.is_known(name) else None
    if chosen is not None and chosen.extra is not None and not extras[chosen.extra]:
        yield _finding(
            "extras",
            "problem",
            f"the {chosen.name} backend is chosen, and its extra is missing",
            f'pip install "lecoder-cgpu[{chosen.extra}]"',
        )


def _state(client: SessionManager) -> Iterator[Finding]:
    folder = client.state_dir
    if not folder.exists():
        yield _finding("state", "ok", f"{folder} is made when it is needed")
        return
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        yield _finding(
            "state",
            "problem",
            f"{folder} belongs to another user",
            "set LECODER_CGPU_CONFIG_DIR to a folder of your own",
        )
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield _finding("state", "problem", f"{folder} cannot be written", f"chmod u+rwx {folder}")
    free = shutil.disk_usage(folder).free
    if free < LITTLE_DISK:
        yield _finding(
            "disk",
            "warning",
            f"{readable(free)} free at {folder}",
            "free some space, or set LECODER_CGPU_CONFIG_DIR",
        )
    else:
        yield _finding("disk", "ok", f"{readable(free)} free at {folder}")
    for path in _readable_by_others(folder, client.config.path, config.config_dir() / profiles.FILE):
        yield _finding("state", "problem", f"{path} can be read by others", f"chmod 600 {path}")
    for path in sorted(folder.glob("*.damaged-*")):
        yield _finding("state", "warning", f"a damaged file was set aside: {path}", f"look at it, then: rm {path}")
    client.store.records()
    if client.store.damaged:
        yield _finding(
            "state",
            "warning",
            f"{client.store.path}: {len(client.store.damaged)} record(s) cannot be read",
            f"repair {client.store.path}",
        )


def _readable_by_others(folder: Path, *settings: Path) -> list[Path]:
    if os.name != "posix":
        return []
    files = [*settings, *(folder / name for name in ("session.json", "sessions.json", "token.json"))]
    return [path for path in files if path.exists() and path.stat().st_mode & 0o077]


def _environment(client: SessionManager) -> Iterator[Finding]:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"):
        if value := config.environment(name):
            yield _finding("proxy", "ok", f"{name} = {proxies.shown(value)}")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        value = config.environment(name)
        if value and not Path(value).exists():
            yield _finding("tls", "problem", f"{name} names {value}, which is not there", f"unset {name}")
        elif value:
            yield _finding("tls", "ok", f"{name} = {value}")
    authorities = len(tls.context().get_ca_certs())
    if not authorities and not config.environment("SSL_CERT_DIR"):
        yield _finding(
            "tls",
            "warning",
            "the system has no certificate authorities in one file",
            "install ca-certificates, or set SSL_CERT_FILE",
        )


def _without_credentials(text: str) -> str:
    """An address without user, password and query; anything else as it is."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return text if "@" not in text else "an address that makes no sense"
    if not parts.scheme or not parts.netloc:
        return text
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


# --- Google ---


def _login(client: SessionManager) -> Iterator[Finding]:
    login = client.login
    if not login.is_logged_in():
        missing = _wants_account(client) and not client.lender().has_account()
        level: Level = "problem" if missing else "ok"
        yield _finding("login", level, "not logged in to Google", credentials.login_steps(client.config))
        return
    account = login.account()
    named = account is not None and account.id != UNKNOWN_ACCOUNT
    yield _finding(
        "login", "ok", f"logged in as {account.id}" if account and named else "logged in; the account is not known"
    )
    known = login.known_token()
    try:  # a token that is kept says nothing of Google
        login.token(rejected=None if known is None else known.access_token)
    except (errors.ConnectionFailed, errors.ConfigError) as error:
        why = f"whether Google takes the login is not known: {error.message}"
        yield _finding("login", "problem", why, error.hint)
    else:
        yield _finding("login", "ok", "Google gives access tokens for it")
    granted = login.scopes()
    for scope, what in WANTED_SCOPES.items():
        if granted is not None and scope not in granted:
            yield _finding(
                "login", "warning", f"the permission {scope} is missing: {what}", "lecoder-cgpu auth login --force"
            )


WANTED_SCOPES = {
    "https://www.googleapis.com/auth/colaboratory": "Colab cannot be used",
    "https://www.googleapis.com/auth/drive.file": "notebooks on Drive cannot be used",
}


def _wants_account(client: SessionManager) -> bool:
    """Whether plain commands would use runtimes of an account: they were chosen, or there is nothing else."""
    chosen = registry.chosen(client.config).source != "default" or not client.store.records()
    return chosen and client.leased(client.chosen) is not None


def _origins(client: SessionManager) -> list[str]:
    """The addresses of the lender's services, if sessions may use them."""
    lender = client.lender()
    return list(lender.services()) if lender.has_account() or _wants_account(client) else []


def _proxies(client: SessionManager) -> Iterator[Finding]:
    """The proxies on the way to these services and to sessions: whether they can be used, and take connections."""
    told = set()
    known = [item.runtime.proxy.url for item in client.store.records() if item.runtime.proxy is not None]
    for origin in [*_origins(client), *known]:
        used = proxies.used_for(origin)
        if used is None or used in told:
            continue
        told.add(used)
        refusal = _refusal(origin)
        if refusal is None:
            yield from _hop(used)
        else:
            yield _finding("proxy", "problem", refusal.message, refusal.hint)


def _refusal(origin: str) -> errors.ConfigError | None:
    """Why no client of ours can use the proxy for an address; None if there is none, or it can be used."""
    try:
        proxies.check(origin)
    except errors.ConfigError as error:
        return error
    return None


def _servers(client: SessionManager) -> Iterator[Finding]:
    """The services: whether they can be reached, and what their clock says. What hinders all of them is said once."""
    told = set()
    origins = [origin for origin in _origins(client) if _refusal(origin) is None]
    for findings in client.each(lambda origin: list(_probe(origin)), origins):
        for found in findings:
            if found.message not in told:
                yield found
            told.add(found.message)


def _probe(origin: str) -> Iterator[Finding]:
    where = urlsplit(origin).netloc
    began = time.time()
    try:
        answer = http.exchange("HEAD", origin.rstrip("/") + "/", timeout=PROBE_TIMEOUT)
    except errors.Error as error:
        yield _finding("network", "problem", error.message, error.hint)
        return
    ended = time.time()
    yield _finding("network", "ok", f"{where} answers in {1000 * (ended - began):.0f} ms{_way(origin)}")
    try:
        skew = parsedate_to_datetime(answer.headers.get("date", "")).timestamp() - (began + ended) / 2
    except (ValueError, OverflowError):  # there is no date, or none that can be read
        return
    if abs(skew) > SKEW:
        ahead = "behind" if skew > 0 else "ahead of"
        yield _finding(
            "clock", "warning", f"this clock is {abs(skew):.0f} s {ahead} that of {where}", "set the clock (NTP)"
        )


def _way(address: str) -> str:
    """The proxy on the way to an address, in words."""
    used = proxies.used_for(address)
    return f", through {used.shown}" if used is not None else ""


def _hop(used: proxies.UsedProxy) -> Iterator[Finding]:
    """Whether something listens where a proxy should be."""
    import socket

    try:
        socket.create_connection(used.place, timeout=PROBE_TIMEOUT).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        yield _finding("proxy", "problem", f"{used.shown}: nothing answers there: {why}", proxies.correction(used))
        return
    yield _finding("proxy", "ok", f"{used.shown} takes connections")


# --- runtimes ---


def _keeper(client: SessionManager) -> Iterator[Finding]:
    """The process that keeps Colab's runtimes alive, and gives them back."""
    held = any(
        record.allocation is not None and record.allocation.state == "ready" for record in client.store.records()
    )
    found = keeper_process.read(client.state_dir)
    if keeper_process.is_alive(found):
        assert found is not None
        yield _finding("keeper", "ok", f"it runs (process {found.pid})")
        for item in found.sessions:
            if isinstance(item.problem, str):
                yield _finding("keeper", "warning", f"{item.session}: {item.problem}", "lecoder-cgpu keeper status")
    elif held:
        yield _finding("keeper", "warning", "runtimes are held, and it does not run", "lecoder-cgpu status")
    else:
        yield _finding("keeper", "ok", "it is not needed now")


def _prepared(client: SessionManager) -> Iterator[Finding]:
    """The processes that do commands quickly, where they are switched on."""
    if likeness.is_switched_on():
        found = control.ask("counts")
        for said in found:
            yield _finding("prepared process", "ok", f"process {said}")
        if not found:
            why = likeness.reason_against(["run"], streams=False) or "the next command of its kind starts one"
            yield _finding("prepared process", "ok", f"there is none: {why}")
        for said in control.ask("counts", kept=True):
            yield _finding("kept connections", "ok", f"process {said}")


def _sessions(client: SessionManager) -> Iterator[Finding]:
    records = client.store.records()
    if not records:
        yield _finding("sessions", "ok", "there are none")
    yield from (
        found for findings in client.each(lambda item: list(_session(client, item)), records) for found in findings
    )


def _session(client: SessionManager, record: Record) -> Iterator[Finding]:
    """Each step of the way in turn: the server over HTTP, the kernel channels over WebSocket, the helper."""
    check = f"session {record.name}"
    with client.hold(record) as session:
        try:
            if session.is_lost():
                yield _finding(check, "warning", "its runtime is gone", "lecoder-cgpu sessions clean")
                return
            version = session.server.version()
            way = _way(record.runtime.proxy.url) if record.runtime.proxy is not None else ""
            yield _finding(check, "ok", f"its Jupyter server ({version}) answers over HTTP{way}")
            session.server.check_websockets()
            helper = session.connect_helper()
            try:
                hello = helper.hello()
            finally:
                helper.close()
            yield _finding(check, "ok", f"its helper answers over WebSocket, on Python {hello.python}{way}")
        except errors.Error as error:
            yield _finding(check, "problem", error.message, error.hint)
