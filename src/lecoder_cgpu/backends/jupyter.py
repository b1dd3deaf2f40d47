"""Backend `jupyter`: any Jupyter server by its address, with a token or a password.

The server is not ours: it is never started or stopped. Closing a session ends only the kernels that we started there
(see `sessions.session.Session.close_kernels`).
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from .. import config, errors
from ..jupyter.endpoint import Endpoint
from ..store.session_store import Proxy, Record, new_record
from . import protocol
from .protocol import AcquireOptions, Released, RuntimeRequest, ServerRequest


def checked(url: str) -> SplitResult:
    """The parts of an address of a server.

    Raises:
        errors.UsageError: it is no http or https address, or holds a password.
    """
    try:
        parts = urlsplit(url.strip())
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != -1
    except ValueError:  # of brackets that do not match, or of the port
        sound = False
    if not sound:
        secret = "@" in url or "?" in url  # a password, or a token
        raise errors.UsageError(
            f"{'this' if secret else repr(url)} is not the address of a server",
            hint="http://HOST:PORT/ or https://HOST/BASE/",
        )
    if parts.username or parts.password:
        raise errors.UsageError("the address must not hold a password", hint="give the token with --token-stdin")
    return parts


def normalise(url: str) -> tuple[str, str | None]:
    """A server's base address with its final slash, and the token if the address carried one (`?token=`).

    People paste what the browser shows, so a trailing /lab, /tree or /notebooks/… is taken off.

    Raises:
        errors.UsageError: it is no http or https address.
    """
    from urllib.parse import parse_qs

    parts = checked(url)
    path = parts.path
    for page in ("/lab", "/tree", "/notebooks", "/login", "/api"):
        head, found, tail = path.partition(page)
        if found and (not tail or tail.startswith("/")):
            path = head
    token = parse_qs(parts.query).get("token", [None])[0]
    return urlunsplit((parts.scheme, parts.netloc, path.rstrip("/") + "/", "", "")), token


class Backend(protocol.Backend):
    """Jupyter servers, from the stored session or from the settings `jupyterUrl` and `jupyterToken`."""

    name = "jupyter"
    label = "Jupyter"
    owns_runtime = False
    kernels_apart = True  # it may be a gateway, or start its kernels through one

    def __init__(self, settings: config.Config, state_dir: Path) -> None:
        self._settings = settings

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        """A record for the server that the settings name. Its token stays in the settings.

        Raises:
            errors.UsageError: they name none.
        """
        found = self._settings.get("jupyterUrl").value
        if not found:
            raise errors.UsageError(
                "no Jupyter server is known",
                name="NoServer",
                hint="add one: lecoder-cgpu sessions add NAME --url URL --token-stdin "
                "(or set LECODER_CGPU_JUPYTER_URL and LECODER_CGPU_JUPYTER_TOKEN)",
            )
        return self.attach(name, ServerRequest(url=found))

    def attach(self, name: str, server: ServerRequest) -> Record:
        address, attached = normalise(server.url)
        proxy = Proxy(url=address, token=server.token or attached, ca=server.ca)
        if server.password is not None:
            from ..jupyter.password import log_in

            proxy.headers = log_in(address, server.password, server.ca)
        return new_record(name, "jupyter", f"Jupyter {urlsplit(address).netloc}", address, proxy)

    def is_chosen(self, record: Record) -> bool:
        """Whether it is the server of the settings, where this command or its environment names one."""
        url = self._settings.get("jupyterUrl")
        if url.value and url.source in ("environment", "option"):
            return record.runtime.endpoint == normalise(url.value)[0]
        return True

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        return self._endpoint(record), False

    def find(self, record: Record) -> Endpoint | None:
        return self._endpoint(record)

    def known_gone(self, record: Record) -> bool:
        return False

    def is_gone(self, record: Record) -> bool:
        return False

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        """There is no other address; but only here it is known how the server was to be opened."""
        if isinstance(error, errors.NotFoundError) and "/hub/" in record.runtime.endpoint:
            error.hint = f"a JupyterHub is added with lecoder-cgpu sessions add {record.name} --hub URL --token-stdin"
        if isinstance(error, errors.TokenRefused):
            again = f"lecoder-cgpu sessions add {record.name} --url {record.runtime.endpoint}"
            proxy = record.runtime.proxy
            if proxy is not None and proxy.headers:
                error.message = error.message.replace("refused the token", "refused the login")
                error.hint = (
                    f"the login has ended, or the server was restarted; again: {again} --password-stdin --force"
                )
            elif self._endpoint(record).token is None:
                error.message = error.message.replace("refused the token", "wants a token or a password")
                error.hint = f"{again} --token-stdin; where people log in with a password: --password-stdin"
            else:
                error.hint = (
                    "the token is wrong, or the server was restarted; on its machine `jupyter server list` shows it; "
                    f"then: {again} --token-stdin --force < token.txt"
                )
        return None

    def release(self, record: Record) -> Released:
        return "nothing"

    def can_start_new(self) -> bool:
        return False

    def _endpoint(self, record: Record) -> Endpoint:
        proxy = record.runtime.proxy
        if proxy is None:
            raise errors.ConfigError(
                f"the session {record.name!r} has no address", hint=f"lecoder-cgpu sessions close {record.name}"
            )
        token = proxy.token
        if token is None:
            url = self._settings.get("jupyterUrl").value
            # A token from the settings belongs to the server that they name, and is sent to no other.
            if url is None or normalise(url)[0] == proxy.url:
                token = self._settings.get("jupyterToken").value or (normalise(url)[1] if url else None)
        if proxy.headers:
            return Endpoint(url=proxy.url, extra=proxy.headers, ca=proxy.ca)
        return Endpoint(url=proxy.url, token=token, ca=proxy.ca)
