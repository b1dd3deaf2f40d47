"""Backend `hub`: servers of a JupyterHub, started when they are needed and stopped when their session is closed.

The user's default server is their own, with their notebooks: it is started only when that was asked for, and stopped
only if we started it. A named server is started with its session, and removed with it. A warm command asks the Hub
nothing: the record says that the server runs, and its refusal makes us ask (`refresh_endpoint`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ... import config, errors
from ...jupyter.endpoint import Endpoint
from ...net.addresses import segment
from ...store.session_store import HubServer, Proxy, Record, Store, new_record
from .. import protocol
from ..protocol import AcquireOptions, Released, RuntimeRequest, ServerRequest
from .api import Hub, ServerModel, User, address

START_LIMIT = 600.0  # seconds; machines with GPUs are often made for the purpose
STOP_LIMIT = 120.0  # seconds
POLL = 1.0  # seconds
SOON = 24 * 3600.0  # seconds before its end at which a token is spoken of

Tell = Callable[[str], None]


class Backend(protocol.Backend):
    """Servers of JupyterHubs, from the stored session or from the settings `hubUrl` and `hubToken`."""

    name = "hub"
    label = "JupyterHub"
    takes_server_options = True
    kernels_apart = True  # a user's server may start its kernels through a gateway

    def __init__(self, settings: config.Config, state_dir: Path) -> None:
        self._settings = settings
        self._store = Store(state_dir)

    # --- records ---

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        """A record for a named server of its own, on the Hub of the settings.

        Raises:
            errors.UsageError: they name none. errors.Error: the Hub could not be asked, or refuses the token.
        """
        url, token = self._settings.get("hubUrl").value, self._settings.get("hubToken").value
        if not url or not token:
            raise errors.UsageError(
                "no JupyterHub is known",
                name="NoServer",
                hint="give --hub URL, with the token in LECODER_CGPU_HUB_TOKEN; "
                "or add one: lecoder-cgpu sessions add NAME --hub URL --token-stdin",
            )
        server = f"lecoder-{uuid.uuid4().hex[:8]}"
        return self.attach(
            name, ServerRequest(url=url, token=token, server_name=server, server_options=wants.server_options)
        )

    def attach(self, name: str, server: ServerRequest) -> Record:
        found = address(server.url)
        if not server.token:
            raise errors.UsageError(
                "a JupyterHub wants a token", hint=f"make one at {found.url}hub/token, and pipe it in: --token-stdin"
            )
        with self._hub(found.url, server.token, server.ca) as hub:
            hub.version()
            user = hub.who()
            self._check_user(found.user, user)
            chosen = (server.server_name if server.server_name is not None else found.server) or ""
            running = hub.servers(user.name).get(chosen)
        here = HubServer(
            url=found.url, user=user.name, name=chosen, options=server.server_options, keep_awake=server.keep_awake
        )
        here.ready = running is not None and running.ready
        asked = bool(chosen or server.start or server.server_options)
        if running is None and not asked:
            raise errors.UsageError(
                f"the server of {user.name} does not run, and it is started only when you ask for that",
                name="ServerNotRunning",
                hint="add --start; or use one beside it, which is removed with the session: --server NAME",
            )
        if running is not None:
            _check_options(here, running)
        here.ours = running is None
        where = f"{found.url}user/{segment(user.name)}/" + (f"{segment(chosen)}/" if chosen else "")
        label = f"JupyterHub {urlsplit(found.url).netloc} {user.name}" + (f"/{chosen}" if chosen else "")
        record = new_record(name, self.name, label, where, Proxy(url=where, token=server.token, ca=server.ca))
        record.hub = here
        return record

    @staticmethod
    def _check_user(wanted: str | None, user: User) -> None:
        if wanted is not None and wanted != user.name:
            raise errors.UsageError(
                f"that server belongs to {wanted}, and the token is one of {user.name}",
                name="ForeignServer",
                hint=f"--token-stdin with a token of {wanted}; or give the address without /user/{wanted}",
            )

    def serves(self, record: Record, wants: RuntimeRequest) -> bool:
        has = _of(record).options
        same = all(has.get(name) == value for name, value in wants.server_options.items())
        return same and super().serves(record, msgspec.structs.replace(wants, server_options={}))

    def is_chosen(self, record: Record) -> bool:
        """Whether it is on the Hub of the settings, where this command or its environment names one."""
        url = self._settings.get("hubUrl")
        return not url.value or url.source not in ("environment", "option") or _of(record).url == address(url.value).url

    def owns(self, record: Record) -> bool:
        return _of(record).ours

    def keeps_awake(self, record: Record) -> bool:
        return _of(record).keep_awake

    # --- finding and starting ---

    def find(self, record: Record) -> Endpoint | None:
        return self._endpoint(record) if _of(record).ready else None

    def known_gone(self, record: Record) -> bool:
        return not _of(record).ready

    def is_gone(self, record: Record) -> bool:
        here = _of(record)
        if not here.ready:
            return True
        with self._hub_of(record) as hub:
            found = hub.servers(here.user).get(here.name)
        self._note(record, ready=found is not None and found.ready)
        return found is None or not (found.ready or found.pending)

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        here = _of(record)
        with self._hub_of(record) as hub:
            _tell_end(hub, terms.tell)
            found = hub.servers(here.user).get(here.name)
            if found is not None and found.ready:
                self._note(record, ready=True)
                return self._endpoint(record), False
            if found is None and not here.ours:
                raise errors.LostError(
                    f"the Hub has stopped the server of {record.name!r}, which is {here.user}'s own",
                    name="ServerStopped",
                    hint=f"start it on {here.url}hub/home, or: lecoder-cgpu sessions add {record.name} "
                    f"--hub {here.url} --start --token-stdin --force",
                )
            try:
                if found is None or found.pending == "stop":
                    self._await_stopped(hub, here)
                    hub.start(here.user, here.name, here.options)
                found = self._await_ready(hub, record, terms)
            except KeyboardInterrupt:
                if here.ours:
                    self._take_back(hub, record, terms.tell)
                raise
            try:
                _check_options(here, found)
            except errors.UsageError:
                if here.ours:
                    hub.stop(here.user, here.name)
                raise
        self._note(record, ready=True)
        return self._endpoint(record), True

    def _await_ready(self, hub: Hub, record: Record, terms: AcquireOptions) -> ServerModel:
        """Wait until the server runs, and pass on what the Hub says meanwhile.

        Raises:
            errors.CapacityError: the Hub could not start it. errors.TimeLimit: it is still starting.
        """
        here = _of(record)
        deadline = time.monotonic() + (terms.patience or START_LIMIT)
        said = ""
        while True:
            left = deadline - time.monotonic()
            said = _follow(hub, here, max(left, 1.0), terms.tell, said)
            found = hub.servers(here.user).get(here.name)
            if found is not None and found.ready:
                return found
            if found is None or found.pending is None:
                raise errors.CapacityError(
                    f"the Hub could not start the server: {said or 'it does not say why'}",
                    name="SpawnFailed",
                    hint="profiles and options: --server-profile, --server-option; "
                    f"the Hub's own page shows what there is: {here.url}hub/spawn",
                )
            if time.monotonic() > deadline:
                raise errors.TimeLimit(
                    f"the server has been starting for {terms.patience or START_LIMIT:.0f} s, and goes on: {said}",
                    name="StillStarting",
                    exit_status=errors.EXIT_STOPPED_WAITING,
                    hint=f"wait for it with the next command: lecoder-cgpu run --session {record.name} true; "
                    f"give it up: lecoder-cgpu sessions close {record.name}",
                )
            time.sleep(POLL)

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        here = _of(record)
        with self._hub_of(record) as hub:
            found = hub.servers(here.user).get(here.name)
        if found is not None and found.ready:
            if isinstance(error, errors.TokenRefused):
                what = f"access:servers!server={here.user}/{here.name}"
                error.message = f"the Hub accepts the token, which may not use the server itself ({what} is missing)"
                error.hint = f"make a token with that scope at {here.url}hub/token, and add it with --force"
            return None
        self._note(record, ready=False)
        raise errors.LostError(
            f"the Hub has stopped the server of session {record.name!r}; what ran in it is gone",
            name="ServerStopped",
            hint=f"lecoder-cgpu run without --session starts it again, if it is not {here.user}'s own; "
            f"forget it: lecoder-cgpu sessions close {record.name}",
        ) from error

    # --- giving back ---

    def release(self, record: Record) -> Released:
        here = _of(record)
        with self._hub_of(record) as hub:
            there = here.name in hub.servers(here.user)
            self._stop(hub, here, STOP_LIMIT)
        return "server" if there else "nothing"

    def _stop(self, hub: Hub, here: HubServer, limit: float) -> None:
        """Stop the server, and wait until the Hub says that it is gone. One that starts cannot be stopped before it
        has started (protocol J43)."""
        deadline = time.monotonic() + limit
        while True:
            found = hub.servers(here.user).get(here.name)
            if found is None or found.pending != "spawn":
                hub.stop(here.user, here.name)
            if found is None:
                return
            if time.monotonic() > deadline:
                raise errors.ConnectionFailed(
                    f"the Hub was told to stop the server, and it is still {found.pending or 'running'}",
                    name="StillStopping",
                    hint="repeat the same command in a minute",
                )
            time.sleep(POLL / 4)

    def _await_stopped(self, hub: Hub, here: HubServer) -> None:
        """Wait for the end of a server that is being stopped: until then, the Hub starts no other."""
        deadline = time.monotonic() + STOP_LIMIT
        while here.name in hub.servers(here.user) and time.monotonic() < deadline:
            time.sleep(POLL / 4)

    def _take_back(self, hub: Hub, record: Record, tell: Tell) -> None:
        """After Ctrl-C: stop the server that is being started, and say what is held. A second Ctrl-C ends the wait."""
        here = _of(record)
        tell("the start was interrupted: the server is being stopped …")
        try:
            self._stop(hub, here, START_LIMIT)
        except (errors.Error, KeyboardInterrupt) as error:
            why = error.message if isinstance(error, errors.Error) else "interrupted again"
            tell(f"the server may be held: {why}; look at {here.url}hub/home")
        else:
            tell("nothing is held")

    # --- helpers ---

    @contextmanager
    def _hub(self, url: str, token: str | None, ca: str | None) -> Iterator[Hub]:
        hub = Hub(url, token, ca)
        try:
            yield hub
        finally:
            hub.close()

    @contextmanager
    def _hub_of(self, record: Record) -> Iterator[Hub]:
        assert record.runtime.proxy is not None
        with self._hub(_of(record).url, record.runtime.proxy.token, record.runtime.proxy.ca) as hub:
            yield hub

    def _note(self, record: Record, *, ready: bool) -> None:
        def change(stored: Record) -> None:
            if stored.hub is not None:
                stored.hub.ready = ready

        if _of(record).ready != ready:
            change(record)
            self._store.change(record.id, change)

    def _endpoint(self, record: Record) -> Endpoint:
        proxy = record.runtime.proxy
        assert proxy is not None
        return Endpoint(url=proxy.url, token=proxy.token, ca=proxy.ca)


def _of(record: Record) -> HubServer:
    if record.hub is None:
        raise errors.ConfigError(
            f"the session {record.name!r} names no server of a JupyterHub",
            hint=f"lecoder-cgpu sessions close {record.name} --force",
        )
    return record.hub


def _follow(hub: Hub, here: HubServer, limit: float, tell: Tell, said: str) -> str:
    """Pass on the events of a start until it has ended, and return the last one."""
    try:
        for event in hub.progress(here.user, here.name, limit):
            text = " ".join(event.message.split())
            if text and text != said:
                said = text
                tell(f"{here.name or here.user}: {said}")
            if event.ready or event.failed:
                break
    except errors.ConnectionFailed:
        pass  # the server's own state, which is asked for next, tells as much
    return said


def _check_options(here: HubServer, found: ServerModel) -> None:
    """See that the server has the options that were asked for, where the Hub tells.

    Raises:
        errors.UsageError: it has others.
    """
    if found.user_options is None:
        return
    there = found.user_options
    other = {name: there.get(name) for name, value in here.options.items() if str(there.get(name)) != str(value)}
    if other:
        raise errors.UsageError(
            f"the server runs with other options: {', '.join(f'{name}={value}' for name, value in other.items())}",
            name="OtherOptions",
            hint="choose another --server NAME, or stop that one first",
        )


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


def _tell_end(hub: Hub, tell: Tell) -> None:
    """Say it when the token ends soon."""
    ends = hub.expires(hub.who())
    at = None if ends is None else _moment(ends)
    if at is not None and at - time.time() < SOON:
        tell(f"the Hub's token ends in {max(at - time.time(), 0) / 3600:.1f} hours; make another at {hub.url}hub/token")
